"""The class of every code point: letter (`\\p{L}`), number (`\\p{N}`), white space (`\\s`) or other.

The splitting kernel looks classes up in a table; `classes.txt` beside this file holds its runs, so that ids depend on
one Unicode version and not on what is installed. It is version 16, as in tiktoken 0.14 and tokenizers 0.23. The file
comes from `classes.write()`, under a release of the module `regex` that knows that version.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import regex
from numpy.typing import NDArray

from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import bpe

OTHER, LETTER, NUMBER, SPACE = range(4)
PATTERNS = {LETTER: r"\p{L}+", NUMBER: r"\p{N}+", SPACE: r"\s+"}
CODE_POINTS = 0x110000
# What four bytes of broken UTF-8 can spell at most; the table goes that far, so that no input reads outside it.
TABLE_SIZE = 2**21
FILE = Path(__file__).with_name("classes.txt")

Run = tuple[int, int, int]  # first code point, the one after the last, class


def table() -> NDArray[np.uint8]:
    """The class of each code point [2**21], from the file."""
    classes = np.zeros(TABLE_SIZE, np.uint8)
    for line in FILE.read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            kind, start, length = line.split()
            classes[int(start, 16) : int(start, 16) + int(length)] = int(kind)
    return classes


def version() -> str:
    """The version of `regex` that the file was made with."""
    return FILE.read_text(encoding="ascii").split("\n", 1)[0].rsplit(" ", 1)[1]


def runs() -> Iterator[Run]:
    """The runs of code points of one class, other than `OTHER`, by the installed module `regex`."""
    # Surrogates are no characters of a text; U+FFFE, of no class either, keeps the positions right.
    text = "".join(chr(point) if not 0xD800 <= point < 0xE000 else "\ufffe" for point in range(CODE_POINTS))
    for kind, pattern in PATTERNS.items():
        for found in regex.finditer(pattern, text):
            yield found.start(), found.end(), kind


def split(text: str, pattern: "regex.Pattern[str]") -> list[str]:
    """`bpe.split`, for GPT-2's pattern by the classes of the table whatever the installed `regex` knows.

    Raises WholeGPTError where another pattern leaves out a part of the text, which could never be decoded again.
    """
    if pattern.pattern != bpe.PATTERN:
        pieces = bpe.split(text, pattern)
        if "".join(pieces) != text:
            raise WholeGPTError(f"the pattern {pattern.pattern} leaves out a part of the text; end it with |(?s:.)")
        return pieces
    if text.isascii():
        return bpe.split(text, pattern)
    pieces = []
    start = 0
    for piece in bpe.split(text.translate(_stand_ins()), pattern):
        pieces.append(text[start : start + len(piece)])
        start += len(piece)
    return pieces


@functools.cache
def _stand_ins() -> dict[int, int]:
    """For each code point of another class in the installed `regex`, one that is of the table's class in both."""
    ours, theirs = table(), np.zeros(TABLE_SIZE, np.uint8)
    for start, end, kind in runs():
        theirs[start:end] = kind
    same_class = {OTHER: ord("!"), LETTER: ord("a"), NUMBER: ord("1"), SPACE: ord("\t")}
    return {int(point): same_class[int(ours[point])] for point in np.flatnonzero(ours != theirs)}


def write() -> None:
    """Write `classes.txt` from the installed module `regex`."""
    from importlib.metadata import version

    lines = [f"# class (1 letter, 2 number, 3 space), first code point, length; by regex {version('regex')}"]
    lines += [f"{kind} {start:x} {end - start}" for start, end, kind in sorted(runs())]
    FILE.write_text("\n".join(lines) + "\n", encoding="ascii")
