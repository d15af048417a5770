"""The normal form of section 4: lower-cased alphanumeric words with a single space between them.

A letter or digit is what `str.isalnum` says of the lower-cased text, by the Unicode of the Python that runs.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholegpt import compiled

# `\w` is isalnum() or "_".
_WORDS = re.compile(r"[^\W_]+")
CODE_POINTS = 0x110000
# What four bytes of broken UTF-8 can spell at most; the table goes that far, so that no input reads outside it.
TABLE_SIZE = 2**21
# Letters whose lower case is no single letter or depends on those around it: left to `str.lower`.
SPECIAL = ("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "\N{GREEK CAPITAL LETTER SIGMA}")


def words(text: str) -> list[str]:
    """The words of a text.

    >>> words("It's LATE: we'll go at 10.30!")
    ['it', 's', 'late', 'we', 'll', 'go', 'at', '10', '30']
    """
    return _WORDS.findall(text.lower())


_SPARE = bytes(compiled.PADDING_BYTES)


@dataclass(frozen=True)
class Texts:
    """Texts in UTF-8 one after another, with the spare bytes that kernels need behind, and where each begins."""

    data: NDArray[np.uint8]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Texts":
        """Of strings; lone surrogates, which are no letters, become question marks."""
        return cls._of_bytes([text.encode(errors="replace") for text in texts])

    @classmethod
    def of_arrow(cls, column: Any) -> "Texts":
        """Of a pyarrow array of strings without nulls, whose bytes are not decoded."""
        from pyarrow import types

        _, offsets, content = column.buffers()
        if not len(column) or content is None:
            return cls._of_bytes([b""] * len(column))
        kind = np.int64 if types.is_large_string(column.type) else np.int32
        bounds = np.frombuffer(offsets, kind)[column.offset : column.offset + len(column) + 1].astype(np.int64)
        return cls._of_content(b"".join([memoryview(content)[bounds[0] : bounds[-1]], _SPARE]), bounds - bounds[0])

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, index: int) -> str:
        return self.data[self.bounds[index] : self.bounds[index + 1]].tobytes().decode(errors="replace")

    @classmethod
    def _of_bytes(cls, texts: Sequence[bytes]) -> "Texts":
        bounds = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=bounds[1:])
        return cls._of_content(b"".join([*texts, _SPARE]), bounds)

    @classmethod
    def _of_content(cls, content: bytes, bounds: NDArray[np.int64]) -> "Texts":
        """Of bytes with spare ones behind; texts that hold a letter of `SPECIAL` are put into lower case."""
        letters = [letter.encode() for letter in SPECIAL]
        # The first byte alone is looked for at once, many times faster; it is rare.
        if not any(letter[:1] in content and letter in content for letter in letters):
            return cls(np.frombuffer(content, np.uint8), bounds)
        texts = [content[start:end] for start, end in pairwise(bounds)]
        for index, text in enumerate(texts):
            if any(letter in text for letter in letters):
                texts[index] = text.decode(errors="replace").lower().encode()
        return cls._of_bytes(texts)


@functools.cache
def lowered_table() -> NDArray[np.uint32]:
    """The lower case of each code point as its bytes in UTF-8, the first lowest; 0 for what is in no word [2**21]."""
    # Alone, a special letter would depend on its neighbours here.
    points = np.arange(CODE_POINTS, dtype="<u4")
    points[0xD800:0xE000] = ord(" ")  # surrogates are no characters of a text
    for letter in SPECIAL:
        points[ord(letter)] = ord(letter.lower()[0])
    text = points.tobytes().decode("utf-32-le").lower()
    table = np.zeros(TABLE_SIZE, np.uint32)
    for found in _WORDS.finditer(text):
        letters = np.frombuffer(found.group().encode("utf-32-le"), np.uint32)
        table[found.start() : found.end()] = _utf8(letters)
    return table


def _utf8(points: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Code points as their bytes in UTF-8, the first byte lowest."""
    last, third, second = (0x80 | points >> shift & 63 for shift in (0, 6, 12))
    two = 0xC0 | points >> 6 | last << 8
    three = 0xE0 | points >> 12 | third << 8 | last << 16
    four = 0xF0 | points >> 18 | second << 8 | third << 16 | last << 24
    return np.select([points < 0x80, points < 0x800, points < 0x10000], [points, two, three], four).astype(np.uint32)
