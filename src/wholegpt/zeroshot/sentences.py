"""Where sentences end, for summaries of three sentences (section 3.6).

Unstated in the paper: the splitter. Here a sentence ends

- at ., ! or ?, together with quotation marks and brackets that close right after it, before white space or the end;
- at the end of a line.

It does not end at the period of an abbreviation (`ABBREVIATIONS`) or of initials (U.S., J.) that stands right after the
word, nor at an ellipsis. Where punctuation has spaces around it, a period that stands alone is always an end, and a
quotation mark after it begins the next sentence (which ROUGE does not see). What has no letter or digit is no sentence
by itself, but a part of the next.
"""

import re

_ABBREVIATIONS = """
adm apr assn ave bros capt cmdr co col corp dept dr etc feb fig ft gen gov hon inc jr lt ltd maj messrs mr mrs ms mt
pres prof rep reps rev sen sens sept sgt sr st supt vs
"""
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
_END = re.compile(r"""(?:(?<![!?])[!?]++|(?<!\.)\.(?!\.))["'”’)\]]*+(?=\s|$)|\n""")
_WORD_BEFORE = re.compile(r"([\w.]+)$")
_INITIALS = re.compile(r"[^\W\d_](\.[^\W\d_])*")


def sentences(text: str) -> list[str]:
    """The sentences of a text without the white space around them; what follows the last end is one too.

    >>> sentences('Dr. Li left the U.S. again. "Why?" she asked ... Nobody knew')
    ['Dr. Li left the U.S. again.', '"Why?"', 'she asked ... Nobody knew']
    >>> sentences("it is cold in the u.s. , he said . and dr . may agreed .")
    ['it is cold in the u.s. , he said .', 'and dr .', 'may agreed .']
    """
    found = []
    start = 0
    for match in _END.finditer(text):
        sentence = text[start : match.end()]
        if re.search(r"\w", sentence) and not _abbreviates(text, match):
            found.append(sentence.strip())
            start = match.end()
    return [*found, rest] if re.search(r"\w", rest := text[start:].strip()) else found


def _abbreviates(text: str, end: re.Match[str]) -> bool:
    """Whether the period of an end belongs to the word right before it."""
    before = _WORD_BEFORE.search(text, max(0, end.start() - 20), end.start())
    if end[0] != "." or not before:
        return False
    return before[1].lower() in ABBREVIATIONS or _INITIALS.fullmatch(before[1]) is not None
