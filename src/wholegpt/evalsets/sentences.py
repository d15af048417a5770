"""One sentence a line: the Penn Treebank of Mikolov (PTB) and the held-out shard of the One Billion Word Benchmark.

PTB has a space at both ends of a line and is lower case, with `<unk>` for rare words and N for numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wholegpt.evalsets.stored import Stored


@dataclass(frozen=True)
class Sentence:
    """A sentence with its line end; the texts of all joined are the file, byte by byte."""

    text: str

    @property
    def words(self) -> int:
        """Tokens between spaces, the line end not counted; the literature's perplexity counts it as one more."""
        return sum(1 for word in self.text.removesuffix("\n").split(" ") if word)

    def counts(self) -> dict[str, int]:
        """What the set is known by."""
        return {
            "bytes": len(self.text.encode()),
            "words": self.words,
            "unknown": self.text.split(" ").count("<unk>"),
        }


def read(stored: Stored) -> Iterator[Sentence]:
    """The sentences in order."""
    *whole, last = stored.text().split("\n")
    for line in whole:
        yield Sentence(line + "\n")
    if last:
        yield Sentence(last)
