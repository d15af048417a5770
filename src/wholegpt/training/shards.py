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
from typing import Annotated, Any, BinaryIO

import numpy as np
import tyro
from numpy.typing import NDArray

from wholegpt import compiled, documents
from wholegpt.artifact import MANIFEST, Artifact
from wholegpt.documents import HELD_OUT, TRAIN
from wholegpt.errors import WholeGPTError
from wholegpt.progress import bar, say
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.encoder import batches

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
    if not (options.corpus / MANIFEST).is_file():  # its two parts would be the same text
        raise WholeGPTError(f"{options.corpus} has no held-out part; first make a corpus of it: wholegpt corpus build")
    inputs = [options.corpus, *([Path(options.tokenizer)] if Path(options.tokenizer).exists() else [])]
    artifact = Artifact(options.output, "shards", options, inputs, options.overwrite)
    if artifact.exists():
        say(f"{options.output} is there already")
        return artifact
    tokenizer = Tokenizer.load(options.tokenizer)
    with artifact.write() as folder:
        for name, part in ((TRAIN, TRAIN), (VAL, HELD_OUT)):
            texts = (document.text for document in documents.read(options.corpus, part))
            artifact.counts[name] = write_part(folder, name, texts, tokenizer)
        tokenizer.save(folder)
    return artifact


def write_part(
    folder: Path, name: str, texts: Iterator[str], tokenizer: Tokenizer, threads: int | None = None
) -> dict[str, int]:
    """Write the shards of one part and count; the same bytes by any number of threads (default: one a core).

    This thread reads and writes, the others encode; a few batches are in memory at once.
    """
    workers = (threads or compiled.threads()) - 1
    counts = {"documents": 0, "tokens": 0, "bytes": 0, "words": 0}
    dtype = np.uint16 if tokenizer.vocab_size <= LARGEST_UINT16_VOCABULARY else np.uint32

    def encode(batch: list[str]) -> tuple[NDArray[Any], dict[str, int]]:
        encoded = [text.encode() for text in batch]
        ids = tokenizer.encode_documents(encoded).astype(dtype)
        words = tokenizer.count_words(encoded)
        size = sum(map(len, encoded))
        return ids, {"documents": len(batch), "tokens": len(ids), "bytes": size, "words": words}

    with bar(f"tokens of {name}", None, "tokens") as progress, _ShardWriter(folder, name, dtype) as writer:
        for ids, added in compiled.spread(encode, batches(texts), workers):
            writer.write(ids)
            counts = {key: counts[key] + added[key] for key in counts}
            progress.advance(len(ids))
    return counts


class _ShardWriter:
    """Writes tokens to files of `SHARD_TOKENS` each, as they come."""

    def __init__(self, folder: Path, name: str, dtype: type[np.generic]) -> None:
        self._folder, self._name, self._dtype = folder, name, np.dtype(dtype)
        self._files = self._tokens = 0
        self._stream: BinaryIO = self._open()

    def write(self, tokens: NDArray[Any]) -> None:
        while len(tokens):
            if self._tokens == SHARD_TOKENS:
                self._close()
                self._stream = self._open()
            part, tokens = np.split(tokens, [SHARD_TOKENS - self._tokens])
            self._stream.write(part.astype(self._dtype.newbyteorder("<"), copy=False).data)
            self._tokens += len(part)

    def _open(self) -> BinaryIO:
        """Begin the next file; its header comes last, when the number of tokens is known."""
        stream = (self._folder / f"{self._name}_{self._files:06d}.bin").open("wb")
        stream.write(bytes(HEADER_BYTES))
        self._files, self._tokens = self._files + 1, 0
        return stream

    def _close(self) -> None:
        with self._stream as stream:
            stream.seek(0)
            stream.write(_header(self._tokens, self._dtype))

    def __enter__(self) -> "_ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


def write_shard(path: Path, tokens: NDArray[Any]) -> None:
    """Write one file of tokens (uint16 or uint32) with llm.c's header."""
    with path.open("wb") as stream:
        stream.write(_header(len(tokens), tokens.dtype))
        stream.write(tokens.astype(tokens.dtype.newbyteorder("<")).tobytes())


def _header(tokens: int, dtype: np.dtype[Any]) -> bytes:
    magic, version = next(key for key, kind in FORMATS.items() if kind == dtype)
    header = np.zeros(HEADER_INTS, dtype="<i4")
    header[:3] = magic, version, tokens
    return header.tobytes()


def header(path: Path) -> tuple[type[np.generic], int] | None:
    """The type and the number of the tokens of a file; None where it is no token shard."""
    if not path.is_file() or path.stat().st_size < HEADER_BYTES:
        return None
    magic, version, tokens = (int(number) for number in np.fromfile(path, dtype="<i4", count=3))
    dtype = FORMATS.get((magic, version))
    return (dtype, tokens) if dtype else None


def read_shard(path: Path, vocab_size: int) -> NDArray[Any]:
    """The tokens of one file, memory-mapped; the header is checked against the file's size, the tokens against the
    vocabulary."""
    found = header(path)
    if found is None:
        raise WholeGPTError(f"{path} is no token shard: expected {HEADER_BYTES} bytes that begin with {list(FORMATS)}")
    dtype, tokens = found
    size = path.stat().st_size
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
