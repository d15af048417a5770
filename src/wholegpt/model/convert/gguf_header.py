"""The header of a GGUF file (versions 2 and 3): metadata and the places of the tensors, every claim checked.

magic "GGUF", version, number of tensors, number of metadata entries
metadata            key, type, value
tensors             name, dimensions (the fastest first), type, offset
padding, then the tensors, each on a multiple of the alignment

Every count and length is compared with what is left of the file before anything is read or allocated for it. Left out:
big-endian files, and arrays of arrays, which no model uses.
"""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from wholegpt.errors import WholeGPTError

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = "general.alignment"
# GGUF's number of a metadata type: how struct reads it.
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
# GGUF's number of a tensor's type: its name, values in a block, bytes of a block.
_KINDS = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 8: ("Q8_0", 32, 34), 30: ("BF16", 1, 2)}
_MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: first byte and bytes in the file; its shape with the fastest dimension last."""

    kind: str
    shape: tuple[int, ...]
    start: int
    length: int


@dataclass(frozen=True)
class Header:
    """Metadata by key (numbers, strings, lists of strings, NumPy arrays of numbers); tensors by name."""

    metadata: dict[str, Any]
    tensors: dict[str, Place]


def read(path: Path) -> Header:
    """The header of a file, its tensors known to lie inside the file; WholeGPTError otherwise."""
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise WholeGPTError(f"{path} is not a GGUF file: it does not begin with {MAGIC.decode()}")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Cursor(path, content).header()


class _Cursor:
    """A place in the file that moves forward, never beyond the end."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path, self.content, self.position = path, content, len(MAGIC)

    def header(self) -> Header:
        version = self.number("<I")
        if version not in _VERSIONS:
            raise WholeGPTError(f"{self.path} is a GGUF file of version {version}, expected 2 or 3 (little-endian)")
        tensors, entries = self.number("<Q"), self.number("<Q")
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = self.string()
            if key in metadata:
                raise WholeGPTError(f"{self.path} gives the key {key!r} twice")
            metadata[key] = self.value(self.number("<I"))
        places: dict[str, Place] = {}
        for _ in range(tensors):
            name = self.string()
            if name in places:
                raise WholeGPTError(f"{self.path} holds the tensor {name!r} twice")
            places[name] = self.place(name)
        return Header(metadata, self.placed(places, metadata.get(_ALIGNMENT, 32)))

    def take(self, length: int) -> bytes:
        """The next bytes; the length may be any claim."""
        if length > len(self.content) - self.position:
            raise WholeGPTError(
                f"{self.path} claims {length} bytes at byte {self.position} of {len(self.content)}: cut short or broken"
            )
        self.position += length
        return self.content[self.position - length : self.position]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self) -> str:
        length = self.number("<Q")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise WholeGPTError(f"{self.path} holds a string that is not UTF-8 before byte {self.position}") from None

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array(self.number("<I"), self.number("<Q"))
        return self.number(self.form(kind))

    def array(self, kind: int, length: int) -> Any:
        if kind == _STRING:
            return [self.string() for _ in range(length)]
        form = self.form(kind)
        return np.frombuffer(self.take(length * struct.calcsize(form)), np.dtype(form))

    def form(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise WholeGPTError(f"{self.path} holds metadata of the unknown type {kind} before byte {self.position}")
        return _NUMBERS[kind]

    def place(self, name: str) -> Place:
        """What stands of a tensor; its start is still counted from where the tensors begin."""
        dimensions = self.number("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise WholeGPTError(f"{self.path}: {name!r} has {dimensions} dimensions, expected at most 4")
        shape = tuple(self.number("<Q") for _ in range(dimensions))[::-1]
        number, start = self.number("<I"), self.number("<Q")
        if number not in _KINDS:
            known = ", ".join(kind for kind, *_ in _KINDS.values())
            raise WholeGPTError(f"{self.path}: {name!r} is of the tensor type {number}, which is none of {known}")
        kind, values, block = _KINDS[number]
        if (shape[-1] if shape else 1) % values:
            raise WholeGPTError(f"{self.path}: rows of {name!r} are no multiple of {kind}'s {values} values")
        return Place(kind, shape, start, prod(shape) // values * block)

    def placed(self, places: dict[str, Place], alignment: Any) -> dict[str, Place]:
        """The tensors with their starts counted from the beginning of the file, all of them inside it."""
        if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
            raise WholeGPTError(f"{self.path}: {_ALIGNMENT} is not a power of two from 8 on")
        base = -(-self.position // alignment) * alignment
        end = len(self.content)
        result = {}
        for name, place in places.items():
            start = base + place.start
            if place.start % alignment or start + place.length > end:
                raise WholeGPTError(f"{self.path}: {name!r} does not lie inside the {end} bytes of the file")
            result[name] = Place(place.kind, place.shape, start, place.length)
        # Quantised tensors that share bytes would let a small file grow without bound.
        if sum(place.length for place in result.values()) > end:
            raise WholeGPTError(f"{self.path} claims larger tensors than the file can hold: refused")
        return result
