"""Short answers beside accepted ones: exact match and F1 of words, as the scripts of SQuAD, CoQA and NQ-open have them.

Two answers are compared after `normalized`; what is accepted is a list of which the best counts, in CoQA the mean of
the best of every list without one of its answers, so that a model is measured like a person (section 3.5).
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
Measure = Callable[[str, str], float]


def normalized(answer: str) -> str:
    """In small letters, without ASCII punctuation, articles and spare white space.

    >>> normalized("The U.S.A., an  Ally")
    'usa ally'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact(prediction: str, answer: str) -> float:
    """1 if both are the same when normalized, else 0."""
    return float(normalized(prediction) == normalized(answer))


def f1(prediction: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the words; with no words on a side, 1 if there are none on both.

    >>> f1("in the old barn", "in a barn")  # 2 words of 3, and 2 of 2
    0.8
    """
    given, wanted = normalized(prediction).split(), normalized(answer).split()
    if not given or not wanted:
        return float(given == wanted)
    same = sum((Counter(given) & Counter(wanted)).values())
    return 2 * same / (len(given) + len(wanted))


def best(measure: Measure, prediction: str, answers: Sequence[str]) -> float:
    """The score against the nearest of the accepted answers."""
    return max(measure(prediction, answer) for answer in answers)


def leave_one_out(measure: Measure, prediction: str, answers: Sequence[str]) -> float:
    """The mean of `best` over all lists of accepted answers that lack one; of a single answer, its own score."""
    if len(answers) == 1:
        return measure(prediction, answers[0])
    scores = [measure(prediction, answer) for answer in answers]
    return sum(max(scores[:index] + scores[index + 1 :]) for index in range(len(scores))) / len(scores)
