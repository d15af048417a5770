"""Each rule drops what it is for and spares articles."""

import pytest

from wholegpt.corpus.pages import language, quality
from wholegpt.errors import UsageError

from .known_pages import extracting

PROSE = """
The mill stands where the valley narrows, and for two hundred years nobody thought of giving it a name. Grain came up
the road on wagons in September; flour went down again before the first snow. Between the two lay eight weeks in which
the family slept in turns, because a wheel that turns at night must be watched as closely as a kettle.

My grandmother kept the books. She wrote with a steel pen, in a hand so small that the tax officer bought himself a
magnifying glass, and she knew each farmer by the moisture of his wheat. "Wet again," she would say, rubbing three
kernels between her fingers, and the price dropped by a penny without any further argument.

Then the dam was built. The river that had filled our pond all summer became a thread among stones, and an electric
motor arrived in a crate marked with Swedish words. It hummed where the old machinery had thundered. Visitors found this
disappointing, but the baker in town swore that his bread had never been more even, and orders doubled within a year.

Today a cousin of mine runs the place with one helper and a telephone. Schoolchildren come on Thursdays to see how their
breakfast begins. They prefer the cat. When they have gone home he walks through the rooms, listens to bearings, and
marks the day's weight on a slate beside the door, exactly where she used to hang her coat after coming in from church.
"""

DROPPED = {
    "javascript": "Please enable JavaScript in your browser to use this site. It will not work otherwise.",
    "captcha": "Before we go on, please make sure you’re\nnot a robot. Press and hold the button.",
    "cookies": "We use cookies to make this site better for you. Accept all or manage your choices below.",
    "parked": "a.example - This domain is parked free of charge. Buy this domain today!",
    "soft-404": "Oops! The page you are looking for has moved or never was. Try a search instead.",
    "short": "Nice picture of a river.",
    "symbols": "#one #two #three #four river " * 20,
    "odd-words": "supercalifragilisticexpialidocious incomprehensibilities " * 40,
    "repeated-lines": "\n".join(
        f"Home and garden, sports and {'news' * (number % 3)}, about us all" for number in range(60)
    ),
    "repeated-words": "buy cheap shoes online " * 30,
}


@pytest.mark.parametrize("rule", quality.RULES)
def test_each_rule_drops_what_it_is_for(rule):
    assert quality.RULES[rule](DROPPED[rule])
    assert not quality.RULES[rule](PROSE)


def test_the_reason_is_the_first_rule_in_order():
    assert quality.reason(PROSE) == ""
    for rule in quality.NOTICES:
        assert quality.reason(DROPPED[rule]) == rule
    assert quality.reason("") == "short"


@pytest.mark.parametrize("rule", quality.RULES)
def test_each_rule_can_be_switched_off(rule):
    assert quality.reason(DROPPED[rule], [rule]) != rule


@pytest.mark.parametrize("name", quality.NOTICES)
def test_a_long_text_may_speak_of_notices(name):
    assert quality.reason(f"{PROSE}{DROPPED[name]}") == ""


def test_thresholds_by_hand():
    assert quality.is_short("word " * 49) and not quality.is_short("word " * 50)
    # 8 of 10 words have letters; 1 symbol in 10 words.
    assert not quality.is_symbols("a b c d e f g h 1 2")
    assert quality.is_symbols("a b c d e f g 1 2 3")
    assert not quality.is_symbols("a# b c d e f g h i j")
    assert quality.is_symbols("a# b# c d e f g h i j")
    assert not quality.has_odd_words("one two") and quality.has_odd_words("on to")
    # 3 of 10 equal lines came before; then 4.
    lines = [f"line {number}" for number in range(10)]
    assert not quality.repeats_lines("\n".join(lines[:7] + lines[:3]))
    assert quality.repeats_lines("\n".join(lines[:6] + lines[:4]))


def test_an_unknown_rule_is_an_error():
    quality.check(quality.RULES)
    with pytest.raises(UsageError, match="--without-rules shortness names no rule; there are javascript, captcha"):
        quality.check(["shortness"])


def test_real_articles_are_spared(shared):
    """Of 161 English articles two go: a table of meals, and basketball results."""
    texts = [article.text for article in extracting.articles(shared)]
    english = [text for text in texts if language.identify(text)[0] == "en"]
    assert len(english) == 161
    assert sum(map(bool, map(quality.reason, english))) == 2
    for name in quality.NOTICES:
        assert not any(map(quality.RULES[name], texts))
