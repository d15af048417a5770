"""WikiText-2 and -103 (section 3.1): articles of one file, as tokens (rare words are `<unk>`) or raw.

A line is ` token token ... ` with a space at both ends; an empty one is a single space. An article begins at the blank
line before its heading ` = Title = `.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wholegpt.evalsets.stored import Stored

_HEADING = re.compile(r" = [^=].* = ")
_BLANK = " "


@dataclass(frozen=True)
class Article:
    """An article; the texts of all articles joined are the file, byte by byte."""

    text: str

    @property
    def words(self) -> int:
        """Tokens between spaces, line ends not counted."""
        return sum(1 for line in self.text.split("\n") for word in line.split(" ") if word)

    @property
    def lines(self) -> int:
        """Line ends, each of which counts as a word in the literature's perplexity."""
        return self.text.count("\n")

    def counts(self) -> dict[str, int]:
        """What the set is known by."""
        return {
            "bytes": len(self.text.encode()),
            "lines": self.lines,
            "words": self.words,
            "unknown": self.text.split(" ").count("<unk>"),
        }


def read(stored: Stored) -> Iterator[Article]:
    """The articles in order; a file without a heading is one article."""
    lines = _lines(stored.text())
    start = 0
    for number in range(1, len(lines) - 1):
        # An equation that happens to begin and end with = has no blank lines around it.
        surrounded = lines[number - 1] == lines[number + 1] == _BLANK + "\n"
        if surrounded and number - 1 > start and _HEADING.fullmatch(lines[number].removesuffix("\n")):
            yield Article("".join(lines[start : number - 1]))
            start = number - 1
    if lines:
        yield Article("".join(lines[start:]))


def _lines(text: str) -> list[str]:
    """Lines with their ends; str.splitlines would also cut at other characters."""
    *whole, last = text.split("\n")
    return [line + "\n" for line in whole] + ([last] if last else [])
