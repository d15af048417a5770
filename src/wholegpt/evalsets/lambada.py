"""LAMBADA (section 3.3), OpenAI's own de-tokenized file: a JSON object a line, its `text` ends in the word to guess."""

from collections.abc import Iterator
from dataclasses import dataclass

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.stored import Stored, strings


@dataclass(frozen=True)
class Passage:
    """A passage whose last word is to be predicted."""

    text: str

    @property
    def context(self) -> str:
        """All before the space of the last word."""
        return self.text[: self.text.rindex(" ")]

    @property
    def target(self) -> str:
        """The last word with the space before it.

        >>> Passage("He opened the door").target
        ' door'
        """
        return self.text[self.text.rindex(" ") :]


def read(stored: Stored) -> Iterator[Passage]:
    """The passages in order."""
    for place, record in stored.records():
        (text,) = strings(record, place, "text")
        before, space, word = text.rpartition(" ")
        if not (before.strip() and space and word.strip()):
            raise WholeGPTError(f"{place}: the text does not end in a space and a word to predict")
        yield Passage(text)
