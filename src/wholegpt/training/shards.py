"""`wholegpt shards`: documents to token files (formats: `shard_files`), a part of them held out.

    train_000000.bin, train_000001.bin, ...
    val_000000.bin      the held-out part
    tokenizer.json, ... the tokenizer
    state/              only while unfinished: how far the work is

A corpus of `wholegpt corpus build` has its two parts; of other documents each is held out or not by its text and the
seed alone, as there. The tokens are those of the documents in the order of the files and in them, whoever does the
work: the same bytes by any number of threads, and after any number of interruptions.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from wholegpt import artifact, compiled, documents
from wholegpt.artifact import MANIFEST, PLAN, STATE, Artifact
from wholegpt.documents import FILES_OF, HELD_OUT, TRAIN
from wholegpt.errors import Interrupted, UsageError, WholeGPTError
from wholegpt.progress import bar, say
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.encoder import BATCH_CHARACTERS
from wholegpt.training.shard_files import (
    LARGEST_SHARD_TOKENS,
    LARGEST_UINT16_VOCABULARY,
    VAL,
    FormatName,
    ShardWriter,
)

PARTS = (TRAIN, VAL)
# What a kill may cost [seconds of work], beside reading the begun input file again.
SECONDS_BETWEEN_SAVES = 2.0
DEFAULT_HELD_OUT, DEFAULT_SEED = 0.05, 0


@dataclass(frozen=True)
class ShardsOptions:
    """Turn documents into token files that training reads (section 2)."""

    documents: tyro.conf.Positional[Path]
    """A corpus with its two parts, or a file or folder of .txt, .jsonl(.gz/.zst), .parquet."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write; an interrupted work in it is resumed."""
    tokenizer: str = "gpt2"
    """A directory with a tokenizer, or gpt2."""
    held_out: float = DEFAULT_HELD_OUT
    """Fraction of the documents to hold out (the paper: 5 %), where they are no corpus with two parts."""
    seed: int = DEFAULT_SEED
    """Decides which documents are held out."""
    format: FormatName = "llm.c"
    """llm.c: files with a header, modded-nanogpt reads them too; nanogpt: train.bin and val.bin without one."""
    shard_tokens: int = 100_000_000
    """Tokens of a file; nanogpt has one file a part."""
    overwrite: bool = False
    """Replace shards made otherwise."""

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UsageError(f"--held-out is {self.held_out}, expected a fraction between 0 and 1")
        if not 0 < self.shard_tokens <= LARGEST_SHARD_TOKENS:
            raise UsageError(f"--shard-tokens is {self.shard_tokens}, expected 1 to {LARGEST_SHARD_TOKENS}")


@dataclass(frozen=True)
class Source:
    """A file of documents, and the part that all of them belong to, "" where each decides for itself."""

    path: Path
    part: str = ""


@dataclass
class Position:
    """How far the work is: documents done of one input file, all files before it; counts and files of each part."""

    source: int = 0
    documents: int = 0
    counts: dict[str, dict[str, int]] = field(
        default_factory=lambda: {part: dict.fromkeys(("documents", "tokens", "bytes", "words"), 0) for part in PARTS}
    )
    files: dict[str, tuple[int, int]] = field(default_factory=lambda: dict.fromkeys(PARTS, (0, 0)))

    @classmethod
    def load(cls, folder: Path) -> "Position":
        """Where the work in the folder stopped; the beginning if nothing was saved."""
        path = folder / STATE / "position.json"
        if not path.is_file():
            return cls()
        kept = artifact.read_json(path)
        kept["files"] = {part: (full, held) for part, (full, held) in kept["files"].items()}
        return cls(**kept)

    def save(self, folder: Path) -> None:
        (folder / STATE).mkdir(exist_ok=True)
        artifact.write_json(folder / STATE / "position.json", asdict(self))


Counts = dict[str, int]


@dataclass(frozen=True)
class _Batch:
    """Some documents, each with the part of its source, and how far the input is read with them."""

    texts: list[tuple[str, str]]
    source: int
    documents: int


@dataclass(frozen=True)
class _Encoded:
    """The tokens and the counts of a batch, of the parts that it has."""

    ids: dict[str, NDArray[Any]]
    counts: dict[str, Counts]
    batch: _Batch


def build(options: ShardsOptions) -> Artifact:
    """Write the shards of both parts; the manifest counts documents, tokens, bytes and words of each.

    Killed at any moment, the same command goes on where it was.
    """
    inputs = [options.documents, *([Path(options.tokenizer)] if Path(options.tokenizer).exists() else [])]
    shards = Artifact(options.output, "shards", options, inputs, options.overwrite)
    if shards.exists():
        say(f"{options.output} is there already")
        return shards
    found = sources(options)
    tokenizer = Tokenizer.load(options.tokenizer)
    try:
        with shards.write(resume=True) as folder:
            shards.counts = write(folder, found, tokenizer, options)
            _check_parts(folder, shards.counts, options)
            tokenizer.save(folder)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command goes on where it was") from None
    return shards


def sources(options: ShardsOptions) -> list[Source]:
    """The files to read: a corpus's by part, otherwise all."""
    path = options.documents
    in_parts = (path / MANIFEST).is_file() and any(path.glob(f"{FILES_OF[HELD_OUT]}*"))
    if not in_parts:
        return [Source(file) for file in documents.files(path)]
    if (options.held_out, options.seed) != (DEFAULT_HELD_OUT, DEFAULT_SEED):
        raise UsageError(f"{path} has its held-out part already: leave out --held-out and --seed")
    return [
        Source(file, name) for name, part in ((TRAIN, TRAIN), (VAL, HELD_OUT)) for file in documents.files(path, part)
    ]


def write(
    folder: Path, found: Sequence[Source], tokenizer: Tokenizer, options: ShardsOptions, threads: int | None = None
) -> dict[str, dict[str, int]]:
    """Write the shards of both parts, or go on; returns the counts. The same bytes by any number of threads (default:
    one a core).

    This thread reads and writes, the others encode; a few batches are in memory at once.
    """
    position = Position.load(folder)
    done = sum(counts["tokens"] for counts in position.counts.values())
    if done:
        say(f"going on after {done:,} tokens, in file {min(position.source + 1, len(found))} of {len(found)}")
    dtype = _dtype(tokenizer, options)
    encode = _encoder(tokenizer, dtype, options)
    with bar("tokens", None, "tokens", done) as progress, ExitStack() as stack:
        writers = {
            part: ShardWriter(folder, part, options.format, dtype, options.shard_tokens, position.files[part])
            for part in PARTS
        }
        for writer in writers.values():
            stack.enter_context(writer)
        saved = time.monotonic()
        for encoded in compiled.spread(encode, _batches(found, position), (threads or compiled.threads()) - 1):
            _write_batch(encoded, writers, position)
            if time.monotonic() - saved >= SECONDS_BETWEEN_SAVES:
                _save(folder, writers, position)
                saved = time.monotonic()
            text = f"file {min(position.source + 1, len(found))} of {len(found)}"
            progress.advance(sum(map(len, encoded.ids.values())), text)
        _save(folder, writers, position)
    return position.counts


def _batches(found: Sequence[Source], start: Position) -> Iterator[_Batch]:
    """The documents that are still to do, with enough text in each batch for a thread."""
    texts: list[tuple[str, str]] = []
    characters = 0
    first, skipped = start.source, start.documents
    for index, source in enumerate(found[first:], start=first):
        for number, document in enumerate(documents.read(source.path), start=1):
            if index == first and number <= skipped:
                continue
            texts.append((source.part, document.text))
            characters += len(document.text)
            if characters >= BATCH_CHARACTERS:
                yield _Batch(texts, index, number)
                texts, characters = [], 0
    if texts:
        yield _Batch(texts, len(found), 0)


def _encoder(tokenizer: Tokenizer, dtype: np.dtype[Any], options: ShardsOptions) -> Callable[[_Batch], _Encoded]:
    """The work of a thread: a batch to tokens and counts."""

    def part_of(text: str) -> str:
        return VAL if documents.share(text, options.seed) < options.held_out else TRAIN

    def encode(batch: _Batch) -> _Encoded:
        by_part: dict[str, list[bytes]] = {}
        for source_part, text in batch.texts:
            by_part.setdefault(source_part or part_of(text), []).append(text.encode())
        ids, counts = {}, {}
        for part, texts in by_part.items():
            tokens = tokenizer.encode_documents(texts).astype(dtype)
            # `<|endoftext|>` stands first: moved to the end, it follows each document.
            ids[part] = np.roll(tokens, -1) if options.format == "nanogpt" else tokens
            size, words = sum(map(len, texts)), tokenizer.count_words(texts)
            counts[part] = {"documents": len(texts), "tokens": len(tokens), "bytes": size, "words": words}
        return _Encoded(ids, counts, batch)

    return encode


def _write_batch(encoded: _Encoded, writers: dict[str, ShardWriter], position: Position) -> None:
    for part, ids in encoded.ids.items():
        writers[part].write(ids)
        position.files[part] = writers[part].position
        before, added = position.counts[part], encoded.counts[part]
        position.counts[part] = {key: before[key] + added[key] for key in before}
    position.source, position.documents = encoded.batch.source, encoded.batch.documents


def _save(folder: Path, writers: dict[str, ShardWriter], position: Position) -> None:
    """Record the position, once all that it stands for is on the disk."""
    for writer in writers.values():
        writer.sync()
    position.save(folder)


def _dtype(tokenizer: Tokenizer, options: ShardsOptions) -> np.dtype[Any]:
    """The type of the tokens; WholeGPTError for a vocabulary that the format cannot hold."""
    if options.format == "nanogpt" and tokenizer.vocab_size > 2**16:
        raise WholeGPTError(
            f"{options.tokenizer} has {tokenizer.vocab_size} entries, nanoGPT's files hold 65,536; use --format llm.c"
        )
    small = options.format == "nanogpt" or tokenizer.vocab_size <= LARGEST_UINT16_VOCABULARY
    return np.dtype("<u2" if small else "<u4")


def _check_parts(folder: Path, counts: dict[str, Counts], options: ShardsOptions) -> None:
    for part, of_part in counts.items():
        if not of_part["documents"]:
            (folder / PLAN).unlink()  # so that the next command, with other options, may start anew
            raise WholeGPTError(
                f"no document of {options.documents} fell to the {part} part ({options.held_out:.0%} are held out); "
                "give more of them, another --held-out or --seed, or make a corpus first: wholegpt corpus build"
            )
