"""Files of submissions (one JSON object a line) or of URLs, read in blocks of whole lines, whatever they are packed in.

    RS_2017-12.zst          zstd, also with the window of 2^31 bytes that the monthly dumps have
    RS_2023-03.zst_blocks   a length (4 bytes, little end first) and a zstd frame, again and again; in each frame the
                            number of rows, their offsets and sizes, the rows
    .xz .bz2 .gz            one stream or many; without any of these: plain
    urls.txt, urls.txt.gz   URLs, one a line

Bytes are cut at line ends before anyone decodes them, so no line is lost where one piece ends and the next begins. A
file that breaks off, or is no archive at all, gives what came before the break; `Dump.broken` then says where.
"""

import bz2
import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from wholegpt.errors import WholeGPTError

# Lines are handed on in blocks of about so many bytes.
BLOCK_BYTES = 2**20
# A longer line is skipped and counted, so that no file fills the memory; Reddit's longest are some 100 kB.
LONGEST_LINE_BYTES = 2**24
# Bytes of an archive given to its decoder at once.
FEED_BYTES = 2**12
SMALLEST_FEED_BYTES = 64
# A zstd frame's header is at most so long.
ZSTD_HEADER_BYTES = 18
ZSTD_WINDOW_BYTES = 2**31
LARGEST_FRAME_BYTES = 2**28
PACKINGS = (".zst", ".zst_blocks", ".xz", ".bz2", ".gz")
CONTENTS = (".json", ".jsonl", ".ndjson", ".txt")
# What the decoders raise at bytes that are no archive, or a broken one.
BREAKS = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zstandard.ZstdError, struct.error)


class Dump:
    """One file. Its blocks can be read once; after the last, `broken` says where the file broke off, if it did."""

    def __init__(self, path: Path, window_bytes: int = ZSTD_WINDOW_BYTES) -> None:
        """`window_bytes`: the memory that a zstd frame may ask for."""
        self.path, self.window_bytes = path, window_bytes
        self.bytes = self.long_lines = 0
        self.broken = ""

    @property
    def holds_urls(self) -> bool:
        """Whether its lines are URLs; JSON otherwise."""
        return ".txt" in self.path.suffixes[-2:]

    def blocks(self) -> Iterator[bytes]:
        """Its lines in order, in blocks of whole ones, each with its newline (the last may lack one)."""
        parts: list[bytes] = []
        size = 0
        skipping = False  # within a line that is too long
        for piece in self._pieces():
            self.bytes += len(piece)
            if skipping:
                cut = piece.find(b"\n") + 1
                skipping, piece = not cut, piece[cut:] if cut else b""
            size += len(piece)
            cut = piece.rfind(b"\n") + 1 if size >= BLOCK_BYTES else 0
            if cut:
                yield b"".join([*parts, memoryview(piece)[:cut]])
                parts, size = [], len(piece) - cut
            parts.append(piece[cut:])
            if size > LONGEST_LINE_BYTES:
                self.long_lines += 1
                skipping, parts, size = True, [], 0
        if last := b"".join(parts):
            yield last

    def _pieces(self) -> Iterator[bytes]:
        """The unpacked bytes, up to the end or the break."""
        try:
            with self.path.open("rb") as stream:
                try:
                    yield from _unpack(stream, self.path.suffix, self.window_bytes)
                except BREAKS as error:
                    reason = str(error).strip() or type(error).__name__
                    self.broken = f"{self.path} is broken near byte {stream.tell():,}: {reason}"
        except OSError as error:
            self.broken = f"{self.path} cannot be read: {error.strerror}"


def files(path: Path) -> list[Path]:
    """The dumps that `path` stands for: itself, or the files in the folder that are named like one."""
    if not path.exists():
        raise WholeGPTError(f"{path} does not exist")
    if path.is_file():
        return [path]
    found = sorted(file for file in path.iterdir() if file.is_file() and file.suffix in PACKINGS + CONTENTS)
    if not found:
        raise WholeGPTError(f"{path} holds no dumps: no file ends in {', '.join(PACKINGS + CONTENTS)}")
    return found


def window(path: Path) -> int:
    """The memory that the first zstd frame of a file asks for [bytes]; 0 where there is none."""
    if path.suffix not in (".zst", ".zst_blocks"):
        return 0
    with path.open("rb") as stream:
        header = stream.read(4 + ZSTD_HEADER_BYTES)[4 if path.suffix == ".zst_blocks" else 0 :]
    try:
        return int(zstandard.get_frame_parameters(header).window_size)
    except zstandard.ZstdError:
        return 0


def _unpack(stream: BinaryIO, suffix: str, window_bytes: int) -> Iterator[bytes]:
    if suffix == ".zst_blocks":
        yield from _rows_of_blocks(stream, window_bytes)
    elif suffix in PACKINGS:
        new: dict[str, Callable[[bytes], _Decoder]] = {
            ".zst": lambda data: _Zstd(data, window_bytes),
            ".xz": lambda _: lzma.LZMADecompressor(),
            ".bz2": lambda _: bz2.BZ2Decompressor(),
            ".gz": lambda _: _Gzip(),
        }
        yield from _members(stream, new[suffix])
    else:
        while piece := stream.read(BLOCK_BYTES):
            yield piece


class _Decoder(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decoder in the form of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.decompress = lambda data, most: self._inner.decompress(self._inner.unconsumed_tail + data, most)

    eof = property(lambda self: self._inner.eof)
    needs_input = property(lambda self: not self._inner.eof and not self._inner.unconsumed_tail)
    unused_data = property(lambda self: self._inner.unused_data)


class _Zstd:
    """zstandard's decoder in the form of the others; it unpacks all that it is given, so it is given little of what
    expands much."""

    def __init__(self, header: bytes, window_bytes: int) -> None:
        wanted = zstandard.get_frame_parameters(header).window_size
        if wanted > window_bytes:
            raise ValueError(
                f"it needs a window of {wanted:,} bytes, {window_bytes:,} are allowed; "
                f"give --window-bytes {wanted} if each worker has that much memory"
            )
        self._inner = zstandard.ZstdDecompressor(max_window_size=window_bytes).decompressobj()
        self._waiting = b""
        self._step = SMALLEST_FEED_BYTES

    eof = property(lambda self: self._inner.eof)
    needs_input = property(lambda self: not self._inner.eof and not self._waiting)
    unused_data = property(lambda self: self._inner.unused_data + self._waiting)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        data = self._waiting + data
        given, self._waiting = data[: self._step], data[self._step :]
        piece = self._inner.decompress(given)
        if len(piece) > max_length:
            self._step = max(self._step // 4, SMALLEST_FEED_BYTES)
        elif len(piece) < max_length // 16:
            self._step = min(self._step * 2, FEED_BYTES)
        return piece


def _members(stream: BinaryIO, new: Callable[[bytes], _Decoder]) -> Iterator[bytes]:
    """The content of streams that follow each other, zeros between them or not; `new` makes the decoder of the one
    that begins with the given bytes. EOFError where the last breaks off."""
    data = _beginning(stream, b"")
    while data:
        decoder = new(data)
        while not decoder.eof:
            yield decoder.decompress(data, BLOCK_BYTES)
            data = b""
            if decoder.needs_input and not (data := stream.read(FEED_BYTES)):
                raise EOFError("it breaks off")
        data = _beginning(stream, decoder.unused_data)


def _beginning(stream: BinaryIO, rest: bytes) -> bytes:
    """The next bytes that are not padding, enough for a header unless the file ends."""
    rest = rest.lstrip(b"\0")
    while len(rest) < ZSTD_HEADER_BYTES and (more := stream.read(FEED_BYTES)):
        rest = (rest + more).lstrip(b"\0")
    return rest


def _rows_of_blocks(stream: BinaryIO, window_bytes: int) -> Iterator[bytes]:
    while header := stream.read(4):
        size = int.from_bytes(header, "little")
        if size > LARGEST_FRAME_BYTES:
            raise ValueError(f"a block of {size:,} bytes, more than {LARGEST_FRAME_BYTES:,}")
        packed = stream.read(size)
        if len(packed) < size:
            raise EOFError("it breaks off")
        pieces, unpacked = [], 0
        for piece in _members(io.BytesIO(packed), lambda data: _Zstd(data, window_bytes)):
            pieces.append(piece)
            unpacked += len(piece)
            if unpacked > LARGEST_FRAME_BYTES:
                raise ValueError(f"a block unpacks to more than {LARGEST_FRAME_BYTES:,} bytes")
        yield from _rows(b"".join(pieces))


def _rows(block: bytes) -> Iterator[bytes]:
    (count,) = struct.unpack_from("<I", block)
    data = memoryview(block)[4 + 8 * count :]
    places = list(struct.iter_unpack("<II", block[4 : 4 + 8 * count])) if 4 + 8 * count <= len(block) else []
    if len(places) != count or sum(size for _, size in places) > len(data):
        raise ValueError(f"a block of {len(block):,} bytes cannot hold its {count:,} rows")
    for offset, size in places:
        yield bytes(data[offset : offset + size]) + b"\n"
