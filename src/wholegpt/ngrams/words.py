"""The normal form of section 4: lower-cased alphanumeric words with a single space between them.

A letter or digit is what `str.isalnum` says of the lower-cased text, by the Unicode of the Python that runs.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
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
        kind = np.int64 if types.is_large_string(column.type) else np.int32
        bounds = np.frombuffer(offsets, kind)[column.offset : column.offset + len(column) + 1].astype(np.int64)
        data = np.zeros(int(bounds[-1] - bounds[0]) + compiled.PADDING_BYTES, np.uint8)
        if content is not None:
            data[: bounds[-1] - bounds[0]] = np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]]
        return cls(data, bounds - bounds[0])._with_special_lowered()

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, index: int) -> str:
        return self.data[self.bounds[index] : self.bounds[index + 1]].tobytes().decode(errors="replace")

    @classmethod
    def _of_bytes(cls, texts: Sequence[bytes]) -> "Texts":
        data = np.frombuffer(b"".join([*texts, bytes(compiled.PADDING_BYTES)]), np.uint8)
        bounds = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=bounds[1:])
        return cls(data, bounds)._with_special_lowered()

    def _with_special_lowered(self) -> "Texts":
        """The same with the texts in lower case that hold a letter of `SPECIAL`."""
        content = self.data.tobytes()
        special = [letter.encode() for letter in SPECIAL]
        if not any(letter in content for letter in special):
            return self
        texts = [content[start:end] for start, end in zip(self.bounds[:-1], self.bounds[1:], strict=True)]
        return Texts._of_bytes(
            [
                text.decode(errors="replace").lower().encode() if any(letter in text for letter in special) else text
                for text in texts
            ]
        )


@functools.cache
def lowered_table() -> NDArray[np.uint32]:
    """The lower case of each code point as its bytes in UTF-8, the first lowest; 0 for what is in no word [2**21]."""
    # Alone, a special letter would depend on its neighbours here.
    points = [chr(point) if not 0xD800 <= point < 0xE000 else " " for point in range(CODE_POINTS)]
    for letter in SPECIAL:
        points[ord(letter)] = letter.lower()[0]
    text = "".join(points).lower()
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
