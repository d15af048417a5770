"""English function words: what LAMBADA's stop-word filter keeps a model from predicting (section 3.3).

Unstated in the paper: the list. These are articles, pronouns, prepositions, conjunctions, auxiliary verbs and adverbs
of degree and place that cannot well be the last word of a passage.
"""

_DETERMINERS = """
a an the this that these those each every any some no such both all few many more most other own same
"""
_PRONOUNS = """
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself
it its itself they them their theirs themselves who whom whose which what
"""
_PREPOSITIONS = """
of at by for with about against between into through during before after above below to from up down in out on off over
under upon without within toward towards
"""
_CONJUNCTIONS = (
    "and but if or nor because as until while than so though although when where why how whether since unless"
)
_AUXILIARIES = """
am is are was were be been being have has had having do does did doing will would shall should can could may might must
"""
_ADVERBS = "again further then once here there not only very too just now also even still"

STOP_WORDS = frozenset(
    " ".join((_DETERMINERS, _PRONOUNS, _PREPOSITIONS, _CONJUNCTIONS, _AUXILIARIES, _ADVERBS)).split()
)
