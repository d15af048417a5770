"""TensorFlow's checkpoints (format "V2", a tensor bundle), read without TensorFlow.

PREFIX.index                  a table: name of a variable -> where its numbers lie; under the empty name, a header
PREFIX.data-00000-of-00001    the numbers, in any number of such shards

The table is LevelDB's: blocks of records, a block that says where they are, a footer that says where that one is. A
name is given by how many bytes it shares with the one before; values are protocol buffers, whose few fields are read
here. Sources: doc/table_format.md of LevelDB; tensor_bundle.proto and tensor_shape.proto of TensorFlow.

Left out on purpose: compressed blocks, big-endian files, variables stored in slices, strings; writing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import google_crc32c
import torch
from torch import Tensor

from wholegpt.errors import WholeGPTError

MAGIC, FOOTER_BYTES = 0xDB4775248B80FB57, 48
# What a stranger's index can cost at most; the largest released one has some 25 kB.
INDEX_BYTES, NAME_BYTES, AXES = 1 << 20, 1 << 8, 32
CHUNK_BYTES = 1 << 20  # of a tensor, read and checked at a time
DTYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16}


@dataclass(frozen=True)
class Entry:
    """A variable: what it is (dtype None: known but not read), the extent of its shard [bytes] that holds it, and the
    extent's CRC-32C, masked."""

    dtype: torch.dtype | None
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


@dataclass(frozen=True)
class Bundle:
    """A checkpoint whose index was read and agrees with the sizes of its shards; the numbers are still on the disk."""

    index: Path
    entries: dict[str, Entry]
    shards: dict[int, Path]

    def read(self, name: str) -> Tensor:
        """One variable in its own dtype, read straight into the tensor's memory; WholeGPTError where it is damaged."""
        entry = self.entries.get(name)
        if entry is None or entry.dtype is None or not entry.size:
            raise WholeGPTError(f"{self.index} lacks the variable {name!r}, or holds neither floats nor integers in it")
        path, memory, checksum = self.shards[entry.shard], torch.empty(entry.size, dtype=torch.uint8), 0
        with path.open("rb") as stream:
            stream.seek(entry.offset)
            for start in range(0, entry.size, CHUNK_BYTES):
                chunk = memory[start : start + CHUNK_BYTES].numpy()
                if stream.readinto(chunk.data) != len(chunk):
                    raise WholeGPTError(f"{path} ended while it was read")
                checksum = google_crc32c.extend(checksum, chunk.tobytes())
        if _masked(checksum) != entry.checksum:
            raise WholeGPTError(f"{path} is damaged: the checksum of the variable {name!r} is wrong")
        return memory.view(entry.dtype).view(entry.shape)


def open_bundle(prefix: Path) -> Bundle:
    """Read PREFIX.index and compare it with the sizes of the shards; WholeGPTError names the file and the fault."""
    index = prefix.with_name(prefix.name + ".index")
    if not index.is_file():
        raise WholeGPTError(f"{prefix.parent} holds no such TensorFlow checkpoint: it has no {index.name}")
    if index.stat().st_size > INDEX_BYTES:
        raise WholeGPTError(f"{index} has {index.stat().st_size} bytes, expected at most {INDEX_BYTES} of an index")
    try:
        records = _table(index.read_bytes())
        header, _ = _message(records.pop(b"", b""))
        if header.get(2):
            raise ValueError("its numbers are big-endian, expected little-endian ones")
        entries = {key.decode(errors="backslashreplace"): _entry(value) for key, value in records.items()}
    except ValueError as error:
        raise WholeGPTError(f"{index} is no index of a TensorFlow checkpoint that can be read: {error}") from None
    return Bundle(index, entries, _shards(prefix, header.get(1, 0), entries))


def _shards(prefix: Path, count: int, entries: dict[str, Entry]) -> dict[int, Path]:
    """The files that hold the variables. Each lies within its file and outside of every other, so that all of them
    together never need more memory than the files have bytes."""
    found: dict[int, Path] = {}
    file_bytes = end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].shard, item[1].offset, item[1].size)):
        path = prefix.with_name(f"{prefix.name}.data-{entry.shard:05d}-of-{count:05d}")
        if entry.shard not in found:
            if entry.shard >= count or not path.is_file():
                raise WholeGPTError(f"{prefix.parent} lacks {path.name}, the shard with the variable {name!r}")
            found[entry.shard], file_bytes, end = path, path.stat().st_size, 0
        if entry.offset < end:
            raise WholeGPTError(f"{prefix}.index: the variable {name!r} overlaps with the one before it")
        end = entry.offset + entry.size
        if end > file_bytes:
            raise WholeGPTError(f"{path} has {file_bytes} bytes, the variable {name!r} would end at byte {end}")
    return found


def _entry(value: bytes) -> Entry:
    numbers, parts = _message(value)
    if 7 in parts:
        raise ValueError("a variable is stored in slices, expected whole ones")
    axes = _message(parts.get(2, [b""])[-1])[1].get(2, [])
    dtype, shape = DTYPES.get(numbers.get(1, 0)), tuple(_message(axis)[0].get(1, 0) for axis in axes)
    size = numbers.get(5, 0)
    if len(axes) > AXES or (dtype and prod(shape) * dtype.itemsize != size):
        raise ValueError(f"a variable of the shape {list(shape[:AXES])} in {dtype} claims {size} bytes")
    return Entry(dtype, shape, numbers.get(3, 0), numbers.get(4, 0), size, numbers.get(6, 0))


def _table(content: bytes) -> dict[bytes, bytes]:
    footer = content[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != MAGIC:
        raise ValueError("it does not end like one")
    # The first two are the place of a block that TensorFlow leaves empty.
    (_, _, offset, size), _ = _varints(footer, 0, 4)
    records, end = dict[bytes, bytes](), 0
    for _, place in _records(_block(content, offset, size)):
        (offset, size), _ = _varints(place, 0, 2)
        if offset < end:
            raise ValueError("its blocks overlap")
        end = offset + size
        records.update(_records(_block(content, offset, size)))
    return records


def _block(content: bytes, offset: int, size: int) -> bytes:
    """A block; after it stand a byte that says how it is compressed, and the checksum of both."""
    end = offset + size
    if end + 5 > len(content) - FOOTER_BYTES:
        raise ValueError("it is shorter than it says")
    if _masked(google_crc32c.value(content[offset : end + 1])) != int.from_bytes(content[end + 1 : end + 5], "little"):
        raise ValueError(f"the checksum of the block at byte {offset} is wrong")
    if content[end]:
        raise ValueError("its blocks are compressed (Snappy), expected uncompressed ones")
    return content[offset:end]


def _records(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    # At the end stand the places of names that share nothing, for those who search, and their number.
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if end < 0:
        raise ValueError("a block is too short")
    key, position = b"", 0
    while position < end:
        (shared, fresh, size), position = _varints(block, position, 3)
        if shared > len(key) or shared + fresh > NAME_BYTES or position + fresh + size > end:
            raise ValueError("a record is longer than it can be")
        key = key[:shared] + block[position : position + fresh]
        position += fresh + size
        yield key, block[position - size : position]


def _message(data: bytes) -> tuple[dict[int, int], dict[int, list[bytes]]]:
    """A protocol buffer: its numbers by field, and its inner messages by field."""
    numbers, parts = dict[int, int](), dict[int, list[bytes]]()
    position = 0
    while position < len(data):
        (tag,), position = _varints(data, position, 1)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            (numbers[field],), position = _varints(data, position, 1)
        elif kind == 5:
            numbers[field], position = int.from_bytes(data[position : position + 4], "little"), position + 4
        elif kind == 2:
            (size,), start = _varints(data, position, 1)
            position = start + size
            parts.setdefault(field, []).append(data[start:position])
        else:
            raise ValueError(f"a value is of the kind {kind}, which none of its fields is")
    if position > len(data):
        raise ValueError("a value is longer than it says")
    return numbers, parts


def _varints(data: bytes, position: int, count: int) -> tuple[list[int], int]:
    """Numbers in groups of seven bits, the lowest first, and the position after them."""
    numbers: list[int] = []
    for _ in range(count):
        start, end = position, min(position + 10, len(data))
        while position < end and data[position] >= 0x80:
            position += 1
        if position >= end:
            raise ValueError("it ends within a number, or a number has more than 64 bits")
        position += 1
        numbers.append(sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data[start:position])))
    return numbers, position


def _masked(checksum: int) -> int:
    """A CRC-32C the way it is stored: rotated by 15 bits, plus a constant."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
