"""Natural Questions (section 3.8) as NQ-open: a JSON object a line, `question` and a list of accepted `answer`s.

Unstated in the paper: which questions of Natural Questions. NQ-open (those with an answer of five tokens at most) was
split off later in 2019; the full development set has 7,830 questions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.stored import Stored, strings


@dataclass(frozen=True)
class Question:
    """A question in lower case without its question mark, and the answers that count as right."""

    question: str
    answers: tuple[str, ...]


def read(stored: Stored) -> Iterator[Question]:
    """The questions in order."""
    for place, record in stored.records():
        (question,) = strings(record, place, "question")
        answers = record.get("answer")
        if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
            raise WholeGPTError(f"{place}: expected a list of strings as `answer`")
        yield Question(question, tuple(answers))
