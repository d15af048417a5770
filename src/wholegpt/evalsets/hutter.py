"""enwik8 and text8 (section 3.1): the last 5,000,000 of 100,000,000 bytes.

Unstated in the paper: which part is tested. The results it compares with (Dai et al., 2019) use the last 5,000,000.
enwik8 is a piece of Wikipedia's XML, and its test part may begin or end inside a UTF-8 character, which stays so.
text8 has a-z and the space only, one byte a character.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.stored import Stored

TEST_BYTES = 5_000_000
_TEXT8 = b"abcdefghijklmnopqrstuvwxyz "


@dataclass(frozen=True)
class Tail:
    """The end of a file."""

    data: bytes
    start: int
    """Where it begins in the file [bytes]."""

    def counts(self) -> dict[str, int]:
        """What the set is known by."""
        other = len(self.data.translate(None, _TEXT8))
        return {"bytes": len(self.data), "file_bytes": self.start + len(self.data), "outside_a_to_z": other}


def read(stored: Stored) -> Iterator[Tail]:
    """One example: the last 5,000,000 bytes, or all of a shorter file."""
    kept, size = bytearray(), 0
    for chunk in stored.chunks():
        kept += chunk
        size += len(chunk)
        if len(kept) > 2 * TEST_BYTES:
            del kept[:-TEST_BYTES]
    del kept[:-TEST_BYTES]
    if not kept:
        raise WholeGPTError(f"{stored} is empty, expected 100,000,000 bytes of which the last 5,000,000 are the test")
    yield Tail(bytes(kept), size - len(kept))
