"""WMT14's newstest2014, English and French (section 3.7), as two SGM files or two aligned files of plain lines."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.stored import Stored

_DOCUMENT = re.compile(r"""<doc\s[^>]*docid\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_SEGMENT = re.compile(r"""<seg\s+id\s*=\s*["']?([^"'\s>]+)["']?\s*>(.*?)</seg>""", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(f"{_DOCUMENT.pattern}|{_SEGMENT.pattern}", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Pair:
    """A sentence in both languages."""

    english: str
    french: str


def read(english: Stored, french: Stored) -> Iterator[Pair]:
    """The pairs in order; WholeGPTError where the files do not belong to each other."""
    left, right = _segments(english), _segments(french)
    if [key for key, _ in left] != [key for key, _ in right]:
        raise WholeGPTError(
            f"{english} and {french} do not belong to each other: {len(left)} and {len(right)} segments, or other ids"
        )
    for (_, one), (_, other) in zip(left, right, strict=True):
        yield Pair(one, other)


def _segments(stored: Stored) -> list[tuple[str, str]]:
    """Key and text of each segment; the key of a plain line is its number."""
    if not stored.name.endswith((".sgm", ".sgml")):
        return [(str(number), " ".join(line.split())) for number, (_, line) in enumerate(stored.lines())]
    document, found = "", []
    for match in _TAG.finditer(stored.text()):
        named, number, text = match.groups()
        document = named or document
        if number is not None:
            found.append((f"{document} {number}", " ".join(html.unescape(text).split())))
    if not found:
        raise WholeGPTError(f"{stored} has no <seg id=...>, expected the segments of an SGM file")
    return found
