"""`wholegpt tokenizer train|encode|decode`: learn a vocabulary from the training part of a corpus, and use one."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import regex
import tyro

from wholegpt import documents
from wholegpt.artifact import Artifact
from wholegpt.documents import TRAIN
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.progress import bar, say
from wholegpt.tokenizer.bpe import BYTES, END_OF_TEXT, PATTERN, learn, split
from wholegpt.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class TokenizerTrainOptions:
    """Learn a byte-level BPE vocabulary from text (section 2.2)."""

    corpus: tyro.conf.Positional[Path]
    """A corpus (its training part), or documents: .jsonl(.gz/.zst), .parquet, .txt, a folder of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    vocab_size: int = 50257
    """Entries: 256 bytes, the merges, and `<|endoftext|>`."""
    overwrite: bool = False
    """Replace a tokenizer made otherwise."""

    def __post_init__(self) -> None:
        if self.vocab_size <= len(BYTES) + 1:
            raise UsageError(f"--vocab-size is {self.vocab_size}, expected more than {len(BYTES) + 1}")


@dataclass(frozen=True)
class EncodeOptions:
    """Print the ids of a text from standard input (section 2.2)."""

    tokenizer: tyro.conf.Positional[str]
    """A directory with a tokenizer, or gpt2."""
    tokens: bool = False
    """Print each token's text beside its id, one a line."""


@dataclass(frozen=True)
class DecodeOptions:
    """Print the text of ids from standard input, separated by white space (section 2.2)."""

    tokenizer: tyro.conf.Positional[str]
    """A directory with a tokenizer, or gpt2."""


def train(options: TokenizerTrainOptions) -> Artifact:
    """Write vocab.json and merges.txt; the manifest says how well the text was compressed."""
    artifact = Artifact(options.output, "tokenizer train", options, [options.corpus], options.overwrite)
    if artifact.exists():
        say(f"{options.output} is there already")
        return artifact
    with artifact.write() as folder:
        counts = count_pieces(documents.read(options.corpus, TRAIN))
        say(f"learning {options.vocab_size:,} entries from {len(counts):,} distinct pieces")
        vocabulary, merges = learn(counts, options.vocab_size - 1)
        vocabulary.append(END_OF_TEXT.encode())
        tokenizer = Tokenizer(vocabulary, merges, {END_OF_TEXT: len(vocabulary) - 1})
        tokenizer.save(folder)
        size = sum(len(piece) * count for piece, count in counts.items())
        tokens = sum(len(tokenizer.encode_ordinary(piece)) * count for piece, count in _texts(counts))
        artifact.counts = {
            "vocab_size": tokenizer.vocab_size,
            "bytes": size,
            "tokens": tokens,
            "distinct_pieces": len(counts),
        }
        if tokenizer.vocab_size < options.vocab_size:
            say(f"no pairs are left to merge: {tokenizer.vocab_size:,} entries instead of {options.vocab_size:,}")
    return artifact


def count_pieces(texts: Iterator[documents.Document]) -> Counter[bytes]:
    """How often each piece occurs; memory grows with the distinct pieces only."""
    pattern = regex.compile(PATTERN)
    counts: Counter[str] = Counter()
    with bar("counting", None, "documents") as progress:
        for document in texts:
            counts.update(split(document.text, pattern))
            progress.advance()
    return Counter({piece.encode(): count for piece, count in counts.items()})


def _texts(counts: Counter[bytes]) -> Iterator[tuple[str, int]]:
    return ((piece.decode(), count) for piece, count in counts.items())


def encode(options: EncodeOptions) -> None:
    tokenizer = Tokenizer.load(options.tokenizer)
    try:
        ids = tokenizer.encode_ordinary(sys.stdin.buffer.read().decode())
    except UnicodeDecodeError as error:
        raise WholeGPTError(f"standard input is not UTF-8 text ({error.reason} at byte {error.start})") from None
    if options.tokens:
        for index in ids:
            print(index, json.dumps(tokenizer.decode([index]), ensure_ascii=False))
    else:
        print(*ids)


def decode(options: DecodeOptions) -> None:
    tokenizer = Tokenizer.load(options.tokenizer)
    try:
        text = tokenizer.decode_bytes(int(word) for word in sys.stdin.read().split())
    except ValueError as error:
        raise WholeGPTError(f"standard input does not hold ids ({error})") from None
    sys.stdout.buffer.write(text)
