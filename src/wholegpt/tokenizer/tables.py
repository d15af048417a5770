"""The tables of a vocabulary, checked once and then kept in the cache folder in a form that loads at once."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholegpt import sources
from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer.bpe import Pair

# Counts up when the content of the cached files changes.
FORMAT = 1


@dataclass(frozen=True)
class Tables:
    """The bytes of each id; special tokens; ids of the 256 bytes; merges as rows (left id, right id, new id)."""

    vocabulary: list[bytes]
    special: dict[str, int]
    pattern: str
    byte_ids: NDArray[np.int64]
    merges: NDArray[np.int64]

    @classmethod
    def build(
        cls, vocabulary: Sequence[bytes], merges: Sequence[Pair], special: Mapping[str, int], pattern: str
    ) -> "Tables":
        """Check that the parts fit together; the id of a merge is that of its bytes, unless that is a special token."""
        marks = set(special.values())
        ids = {token: index for index, token in enumerate(vocabulary) if index not in marks}
        missing = [byte for byte in range(256) if bytes([byte]) not in ids]
        if missing:
            raise WholeGPTError(f"not a byte-level vocabulary: it has no entry for byte 0x{missing[0]:02x}")
        rows = np.empty((len(merges), 3), np.int64)
        for rank, (left, right) in enumerate(merges):
            new = ids.get(vocabulary[left] + vocabulary[right])
            if new is None:
                raise WholeGPTError(f"merge {rank + 1} gives a token that is not in the vocabulary")
            rows[rank] = left, right, new
        byte_ids = np.array([ids[bytes([byte])] for byte in range(256)], np.int64)
        return cls(list(vocabulary), dict(special), pattern, byte_ids, rows)

    def save(self, path: Path) -> None:
        """Write a .npz file in one step."""
        text = np.frombuffer(b"".join(self.vocabulary), np.uint8)
        ends = np.cumsum([len(token) for token in self.vocabulary])
        words = np.frombuffer(json.dumps([self.special, self.pattern]).encode(), np.uint8)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
        with temporary.open("wb") as stream:
            np.savez(stream, text=text, ends=ends, words=words, byte_ids=self.byte_ids, merges=self.merges)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Tables":
        with path.open("rb") as stream, np.load(stream) as content:
            text, ends = content["text"].tobytes(), content["ends"].tolist()
            special, pattern = json.loads(content["words"].tobytes())
            byte_ids, merges = content["byte_ids"], content["merges"]
        vocabulary = [text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return cls(vocabulary, special, pattern, byte_ids, merges)


def cached(files: Sequence[Path], build: Callable[[], Tables]) -> Tables:
    """The tables that `build` makes of some files, from the cache if these files have been read before."""
    digest = hashlib.sha256(f"format {FORMAT}\n".encode())
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.suffix} {len(content)}\n".encode() + content)
    path = sources.home() / "tokenizers" / f"{digest.hexdigest()[:32]}.npz"
    try:
        return Tables.load(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or broken: made anew
        tables = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tables.save(path)
    except OSError:  # a cache that cannot be written is only slower
        pass
    return tables
