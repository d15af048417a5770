"""Files of tokens: those of llm.c and modded-nanogpt, which begin with a header, and those of nanoGPT, which have none.

    train_000000.bin    256 x int32 header (magic, version, number of tokens), then the tokens; `<|endoftext|>` first
    train.bin           nanoGPT's: uint16 tokens and nothing else; `<|endoftext|>` after each document

uint16 tokens have the magic 20240520 and version 1; vocabularies of more than 65,535 entries take uint32, magic
20240801 and version 7. What begins with a magic has a header: as two ids of GPT-2 a magic would stand for 56,456 or
56,737, which that vocabulary has not. What begins otherwise is nanoGPT's, if it is called train.bin or val.bin.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from wholegpt.documents import TRAIN
from wholegpt.errors import WholeGPTError

HEADER_INTS = 256
HEADER_BYTES = 4 * HEADER_INTS
# magic -> version, type of a token
HEADERS: dict[int, tuple[int, np.dtype[Any]]] = {
    20240520: (1, np.dtype("<u2")),
    20240801: (7, np.dtype("<u4")),
}
LARGEST_UINT16_VOCABULARY = 65_535
# The name of the held-out part in the files of llm.c and nanoGPT.
VAL = "val"
FormatName = Literal["llm.c", "nanogpt"]
# The number of tokens stands in an int32.
LARGEST_SHARD_TOKENS = 2**31 - 1


@dataclass(frozen=True)
class Layout:
    """What a file says of itself: format, type and number of its tokens. Its size may say otherwise."""

    format: FormatName
    dtype: np.dtype[Any]
    tokens: int

    @property
    def start(self) -> int:
        """Where the tokens begin [bytes]."""
        return HEADER_BYTES if self.format == "llm.c" else 0


def layout(path: Path) -> Layout | None:
    """How a file of tokens is laid out; None for other files, WholeGPTError for an unknown version of the header."""
    if not path.is_file():
        return None
    magic, version, tokens = (*np.fromfile(path, "<i4", count=3).tolist(), 0, 0, 0)[:3]
    if magic in HEADERS:
        known, dtype = HEADERS[magic]
        if version != known:
            raise WholeGPTError(f"{path} has version {version} of the header {magic}, expected {known}")
        return Layout("llm.c", dtype, tokens)
    if path.name in (f"{TRAIN}.bin", f"{VAL}.bin"):
        return Layout("nanogpt", np.dtype("<u2"), path.stat().st_size // 2)
    return None


def read(path: Path, vocab_size: int) -> NDArray[Any]:
    """The tokens of one file, memory-mapped; what the file says is checked against its size, the tokens against the
    vocabulary."""
    found = layout(path)
    if found is None:
        magics = " or ".join(map(str, HEADERS))
        raise WholeGPTError(f"{path} is no token shard: expected the magic {magics} in {HEADER_BYTES} bytes of header")
    size, expected = path.stat().st_size, found.start + found.tokens * found.dtype.itemsize
    if found.format == "nanogpt" and size != expected:
        raise WholeGPTError(f"{path} has {size} bytes, an odd number: nanoGPT's files hold two bytes a token")
    if found.tokens < 0 or size != expected:
        raise WholeGPTError(f"{path} has {size} bytes, its header ({found.tokens} tokens) says {expected}")
    if not found.tokens:
        return np.empty(0, found.dtype)
    mapped = np.memmap(path, dtype=found.dtype, mode="r", offset=found.start)
    largest = int(mapped.max())
    if largest >= vocab_size:
        raise WholeGPTError(f"{path} holds token {largest}, outside the vocabulary of {vocab_size}")
    return mapped


def find(folder: Path, part: str) -> list[Path]:
    """The files of one part ("train" or "val") of a data set, in order; an error if there are none, or several sets.

    Names are ours, or those of other software: train_000000.bin, fineweb_train_000001.bin, tiny_shakespeare_val.bin,
    train.bin.
    """
    pattern = re.compile(rf"(?:(.+)_)?{part}(?:_(\d+))?\.bin")
    names = {path: match for path in folder.glob("*.bin") if (match := pattern.fullmatch(path.name))}
    sets = sorted({(match[1] or "", match[2] is None) for match in names.values()})
    if not sets:
        raise WholeGPTError(f"{folder} holds no shards of the part {part} ({part}_000000.bin, or nanoGPT's {part}.bin)")
    if len(sets) > 1:
        found = sorted(path.name for path in names)
        raise WholeGPTError(
            f"{folder} holds shards of several data sets ({found[0]}, {found[-1]}): keep each in a folder of its own"
        )
    return sorted(names, key=lambda path: (int(names[path][2] or 0), path.name))


def write(path: Path, tokens: NDArray[Any]) -> None:
    """Write one file of tokens (uint16 or uint32) with llm.c's header."""
    with path.open("wb") as stream:
        stream.write(header(len(tokens), tokens.dtype))
        stream.write(tokens.astype(tokens.dtype.newbyteorder("<")).tobytes())


def header(tokens: int, dtype: np.dtype[Any]) -> bytes:
    """llm.c's header of a file of so many tokens."""
    magic, version = next((magic, version) for magic, (version, kind) in HEADERS.items() if kind == dtype)
    content = np.zeros(HEADER_INTS, "<i4")
    content[:3] = magic, version, tokens
    return content.tobytes()


class ShardWriter:
    """Writes the tokens of one part as they come: to files of `shard_tokens` each, or to nanoGPT's one file.

    `position` is how many files are full and how many tokens the next one has; given to a new writer, that one goes on
    there and drops what was written later.
    """

    def __init__(
        self,
        folder: Path,
        part: str,
        layout_name: FormatName,
        dtype: np.dtype[Any],
        shard_tokens: int,
        position: tuple[int, int] = (0, 0),
    ) -> None:
        self._folder, self._part, self._format, self._dtype = folder, part, layout_name, dtype
        self._shard_tokens = shard_tokens
        self.position = position
        self._stream = self._open_again() if any(position) else self._open()
        later = position[0] + 1
        while layout_name == "llm.c" and self._path(later).exists():
            self._path(later).unlink()
            later += 1

    def write(self, tokens: NDArray[Any]) -> None:
        while len(tokens):
            files, held = self.position
            if held == self._shard_tokens and self._format == "llm.c":
                self._finish()
                files, held = self.position = files + 1, 0
                self._stream = self._open()
            room = self._shard_tokens - held if self._format == "llm.c" else len(tokens)
            part, tokens = np.split(tokens, [room])
            self._stream.write(part.astype(self._dtype, copy=False).data)
            self.position = files, held + len(part)

    def sync(self) -> None:
        """Wait until all that was written is on the disk."""
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _path(self, number: int) -> Path:
        name = f"{self._part}.bin" if self._format == "nanogpt" else f"{self._part}_{number:06d}.bin"
        return self._folder / name

    def _open(self) -> BinaryIO:
        """Begin a file; its header comes last, when the number of tokens is known."""
        stream = self._path(self.position[0]).open("wb")
        if self._format == "llm.c":
            stream.write(bytes(HEADER_BYTES))
        return stream

    def _open_again(self) -> BinaryIO:
        files, held = self.position
        path = self._path(files)
        size = held * self._dtype.itemsize + (HEADER_BYTES if self._format == "llm.c" else 0)
        if not path.is_file() or path.stat().st_size < size:
            raise WholeGPTError(f"{path} lost what was written before; remove {self._folder} to start anew")
        stream = path.open("r+b")
        stream.truncate(size)
        stream.seek(size)
        return stream

    def _finish(self) -> None:
        with self._stream as stream:
            if self._format == "llm.c":
                stream.seek(0)
                stream.write(header(self.position[1], self._dtype))
            self.sync()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._finish()
        else:
            self._stream.close()
