"""Token shards: documents as ids on disk, in the format of llm.c, read back as one memory-mapped sequence.

    train_000000.bin    256 x int32 header (magic, version, number of tokens), then the tokens
    val_000000.bin      the held-out part in the same format
    vocab.json, merges.txt

uint16 tokens have the magic 20240520 and version 1; vocabularies of more than 65,535 entries take uint32, magic
20240801 and version 7. `<|endoftext|>` stands before each document.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from wholegpt import documents
from wholegpt.artifact import Artifact
from wholegpt.documents import HELD_OUT, TRAIN
from wholegpt.errors import WholeGPTError
from wholegpt.progress import bar, say
from wholegpt.tokenizer import Tokenizer

HEADER_INTS = 256
HEADER_BYTES = 4 * HEADER_INTS
# (magic, version) -> type of a token
FORMATS: dict[tuple[int, int], type[np.generic]] = {(20240520, 1): np.uint16, (20240801, 7): np.uint32}
LARGEST_UINT16_VOCABULARY = 65_535
# The names of the two parts in llm.c's files.
VAL = "val"
SHARD_TOKENS = 100_000_000


@dataclass(frozen=True)
class ShardsOptions:
    """Turn a corpus into token files that training reads (section 2)."""

    corpus: tyro.conf.Positional[Path]
    """A corpus with its two parts, from `wholegpt corpus build`."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    tokenizer: str = "gpt2"
    """A directory with a tokenizer, or gpt2."""
    overwrite: bool = False
    """Replace shards made otherwise."""


def build(options: ShardsOptions) -> Artifact:
    """Write the shards of both parts; the manifest counts documents, tokens, bytes and words of each."""
    inputs = [options.corpus, *([Path(options.tokenizer)] if Path(options.tokenizer).exists() else [])]
    artifact = Artifact(options.output, "shards", options, inputs, options.overwrite)
    if artifact.exists():
        say(f"{options.output} is there already")
        return artifact
    tokenizer = Tokenizer.load(options.tokenizer)
    with artifact.write() as folder:
        for name, part in ((TRAIN, TRAIN), (VAL, HELD_OUT)):
            artifact.counts[name] = _write_part(folder, name, documents.read(options.corpus, part), tokenizer)
        tokenizer.save(folder)
    return artifact


def _write_part(folder: Path, name: str, texts: Iterator[documents.Document], tokenizer: Tokenizer) -> dict[str, int]:
    counts = {"documents": 0, "tokens": 0, "bytes": 0, "words": 0}
    pending: list[NDArray[Any]] = []
    held = files = 0
    dtype = np.uint16 if tokenizer.vocab_size <= LARGEST_UINT16_VOCABULARY else np.uint32
    with bar(f"tokens of {name}", None, "tokens") as progress:
        for document in texts:
            ids = np.array([tokenizer.eot, *tokenizer.encode_ordinary(document.text)], dtype=dtype)
            pending.append(ids)
            held += len(ids)
            counts["documents"] += 1
            counts["tokens"] += len(ids)
            counts["bytes"] += len(document.text.encode())
            counts["words"] += len(document.text.split())
            progress.advance(len(ids))
            while held >= SHARD_TOKENS:
                joined = np.concatenate(pending)
                write_shard(folder / f"{name}_{files:06d}.bin", joined[:SHARD_TOKENS])
                pending, held, files = [joined[SHARD_TOKENS:]], held - SHARD_TOKENS, files + 1
        if held or not files:
            write_shard(folder / f"{name}_{files:06d}.bin", np.concatenate(pending) if pending else np.empty(0, dtype))
    return counts


def write_shard(path: Path, tokens: NDArray[Any]) -> None:
    """Write one file of tokens (uint16 or uint32) with llm.c's header."""
    magic, version = next(key for key, dtype in FORMATS.items() if dtype == tokens.dtype)
    header = np.zeros(HEADER_INTS, dtype="<i4")
    header[:3] = magic, version, len(tokens)
    with path.open("wb") as stream:
        stream.write(header.tobytes())
        stream.write(tokens.astype(tokens.dtype.newbyteorder("<")).tobytes())


def read_shard(path: Path, vocab_size: int) -> NDArray[Any]:
    """The tokens of one file, memory-mapped; the header is checked against the file's size, the tokens against the
    vocabulary."""
    size = path.stat().st_size
    if size < HEADER_BYTES:
        raise WholeGPTError(f"{path} is too short for a shard: {size} bytes, the header alone takes {HEADER_BYTES}")
    magic, version, tokens = (int(number) for number in np.fromfile(path, dtype="<i4", count=3))
    dtype = FORMATS.get((magic, version))
    if dtype is None:
        raise WholeGPTError(f"{path} is no token shard: magic {magic}, version {version}; expected {list(FORMATS)}")
    expected = HEADER_BYTES + tokens * np.dtype(dtype).itemsize
    if tokens < 0 or size != expected:
        raise WholeGPTError(f"{path} has {size} bytes, its header ({tokens} tokens) says {expected}")
    if not tokens:
        return np.empty(0, dtype)
    mapped = np.memmap(path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r", offset=HEADER_BYTES)
    largest = int(mapped.max())
    if largest >= vocab_size:
        raise WholeGPTError(f"{path} holds token {largest}, outside the vocabulary of {vocab_size}")
    return mapped


class Tokens:
    """The shards of one part as one sequence of ids."""

    def __init__(self, folder: Path, part: str, vocab_size: int) -> None:
        paths = sorted(folder.glob(f"{part}_*.bin"))
        if not paths:
            raise WholeGPTError(f"{folder} holds no shards of the part {part} ({part}_000000.bin)")
        self._files = [read_shard(path, vocab_size) for path in paths]
        self._ends = np.cumsum([len(file) for file in self._files])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, start: int, length: int) -> NDArray[np.int64]:
        """Ids start to start + length."""
        if not 0 <= start <= start + length <= len(self):
            raise IndexError(f"tokens {start} to {start + length} of {len(self)}")
        pieces = []
        while length:
            index = int(np.searchsorted(self._ends, start, side="right"))
            offset = start - (int(self._ends[index - 1]) if index else 0)
            piece = self._files[index][offset : offset + length]
            pieces.append(piece)
            start, length = start + len(piece), length - len(piece)
        return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, np.int64)

    def documents(self, eot: int) -> Iterator[list[int]]:
        """The ids of each document, without `<|endoftext|>`."""
        rest: list[int] = []
        for file in self._files:
            marks = np.flatnonzero(file == eot)
            start = 0
            for mark in marks:
                rest += file[start:mark].tolist()
                if rest:
                    yield rest
                rest, start = [], int(mark) + 1
            rest += file[start:].tolist()
        if rest:
            yield rest

    def counts(self, vocab_size: int) -> NDArray[np.int64]:
        """How often each id occurs [vocab_size]."""
        total = np.zeros(vocab_size, np.int64)
        for file in self._files:
            for start in range(0, len(file), 2**24):  # bincount would copy a whole file as int64
                total += np.bincount(file[start : start + 2**24], minlength=vocab_size)
        return total
