"""WARC files record by record, up to the place where one breaks off.

Files come as .gz or .zst, one member a record or all in one, or plain. They are read here and not by fastwarc because
that ends without a word where a file is cut or broken.
"""

import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
# A frame of zstd that carries the dictionary of all others.
ZSTD_DICTIONARY = b"\x5d\x2a\x4d\x18"
WARC = b"WARC/"
# Compressed bytes at a time: a bomb makes of them 130 MB at most.
PIECE_BYTES = 1024
LARGEST_HEADER_BYTES = 2**16
LARGEST_DICTIONARY_BYTES = 2**24
# The window that a compressed file may ask for, as elsewhere: a header cannot make us allocate more.
ZSTD_WINDOW_BYTES = 2**27


class Broken(Exception):
    """An archive cannot be read on; what was read before it stands."""


@dataclass(frozen=True)
class Record:
    """One record: its fields by their names in small letters, and its block, None where that is larger than asked."""

    fields: Mapping[str, str]
    block: bytes | None


class Plain(io.RawIOBase):
    """The content of a file, decompressed as it is asked for.

    Where the file is broken the content ends: `broken` then says why, and `member` where in the file the last member
    begins that could be opened.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.broken, self.member = file, "", 0
        self._pieces = self._read()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _read(self) -> Iterator[bytes]:
        try:
            opened = _decoder(self._file)
            if opened is None:
                while piece := self._file.read(2**16):
                    yield piece
                return
            yield from self._members(opened)
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            self.broken = str(error) or type(error).__name__

    def _members(self, opened: Callable[[], Any]) -> Iterator[bytes]:
        decoder, position = None, self._file.tell()
        while piece := self._file.read(PIECE_BYTES):
            position += len(piece)
            while piece := (piece if decoder else piece.lstrip(b"\0")):
                if decoder is None:
                    decoder, self.member = opened(), position - len(piece)
                yield decoder.decompress(piece)
                piece = decoder.unused_data if decoder.eof else b""
                decoder = None if decoder.eof else decoder
        if decoder is not None:
            raise EOFError("it ends inside a compressed member")


def _decoder(file: BinaryIO) -> Callable[[], Any] | None:
    """How members of the file are decompressed, None for a plain one; the file is at their beginning then."""
    beginning = file.read(4)
    file.seek(0)
    if beginning.startswith(GZIP):
        return lambda: zlib.decompressobj(wbits=31)
    if beginning == ZSTD:
        return lambda: zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
    if beginning == ZSTD_DICTIONARY:
        dictionary = zstandard.ZstdCompressionDict(_dictionary(file))
        return lambda: zstandard.ZstdDecompressor(dictionary, max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
    return None


def _dictionary(file: BinaryIO) -> bytes:
    size = int.from_bytes(file.read(8)[4:], "little")
    if size > LARGEST_DICTIONARY_BYTES:
        raise EOFError(f"its dictionary claims {size} bytes")
    content = file.read(size)
    if not content.startswith(ZSTD):
        return content
    return zstandard.ZstdDecompressor().decompress(content, max_output_size=LARGEST_DICTIONARY_BYTES)


def beginning(path: Path, size: int = 512) -> bytes:
    """The first bytes of a file's content, decompressed; fewer where it is broken."""
    with path.open("rb") as file:
        return io.BufferedReader(Plain(file)).read(size)


def records(path: Path, largest_block_bytes: int) -> Iterator[Record]:
    """The records of a WARC file; raises OSError where it cannot be opened, `Broken` where it cannot be read on.

    Of a record in which the file breaks off, what there is comes as well.
    """
    with path.open("rb") as file:
        source = Plain(file)
        stream = cast(BinaryIO, io.BufferedReader(source))
        count = 0
        try:
            while (fields := _fields(stream)) is not None:
                block, missing_bytes = _block(stream, fields, largest_block_bytes)
                count += 1
                yield Record(fields, block)
                if missing_bytes:
                    raise EOFError(f"{missing_bytes} bytes of its last record are missing")
            if source.broken:
                raise EOFError
        except (EOFError, ValueError) as error:
            raise Broken(
                f"{path.name} breaks off in what begins at byte {source.member} "
                f"({source.broken or error}); {count} records were read"
            ) from None


def _fields(stream: BinaryIO) -> dict[str, str] | None:
    """The header of the next record, None after the last."""
    line = stream.readline(LARGEST_HEADER_BYTES)
    while line in (b"\r\n", b"\n"):
        line = stream.readline(LARGEST_HEADER_BYTES)
    if not line:
        return None
    if not line.startswith(WARC):
        raise ValueError("no record of WARC begins there")
    fields: dict[str, str] = {}
    left = LARGEST_HEADER_BYTES
    while (line := stream.readline(left)) not in (b"\r\n", b"\n"):
        left -= len(line)
        if not line.endswith(b"\n") or not left:
            raise EOFError("it ends inside the header of a record")
        name, _, value = line.decode(errors="replace").partition(":")
        fields[name.strip().lower()] = value.strip()
    return fields


def _block(stream: BinaryIO, fields: Mapping[str, str], largest_bytes: int) -> tuple[bytes | None, int]:
    """What follows a header, passed over where it is too large; and how many bytes of it are missing."""
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise ValueError("a record does not say its length")
    block = stream.read(min(int(length), largest_bytes))
    left = int(length) - len(block)
    while left and (piece := stream.read(min(left, 2**20))):
        left -= len(piece)
    return block if int(length) <= largest_bytes else None, left
