"""`wholegpt tokenizer train|encode|decode`: learn a vocabulary from the training part of a corpus, and use one."""

import json
import sys
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
from wholegpt.progress import say
from wholegpt.tokenizer.bpe import BYTES, END_OF_TEXT, PATTERN
from wholegpt.tokenizer.learning import Pieces, count_pieces, learn
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
    sample: float = 1.0
    """Fraction of the documents to learn from, chosen by a hash of each text."""
    seed: int = 0
    """Chooses another sample."""
    pattern: str = PATTERN
    """Regular expression whose matches are the pieces that merges never leave."""
    overwrite: bool = False
    """Replace a tokenizer made otherwise."""

    def __post_init__(self) -> None:
        if self.vocab_size <= len(BYTES) + 1:
            raise UsageError(f"--vocab-size is {self.vocab_size}, expected more than {len(BYTES) + 1}")
        if not 0 < self.sample <= 1:
            raise UsageError(f"--sample is {self.sample}, expected more than 0 and at most 1")
        try:
            groups = regex.compile(self.pattern).groups
        except regex.error as error:
            raise UsageError(f"--pattern is no regular expression: {error}") from None
        if groups:
            raise UsageError("--pattern has groups that capture; write (?:...) instead of (...)")


@dataclass(frozen=True)
class EncodeOptions:
    """Print the ids of a text from standard input (section 2.2)."""

    tokenizer: tyro.conf.Positional[str]
    """A directory with a tokenizer, or gpt2."""
    tokens: bool = False
    """Print each token's text beside its id, one a line."""
    allow_special: bool = False
    """Special tokens in the text, such as `<|endoftext|>`, become their own ids; otherwise they are text."""


@dataclass(frozen=True)
class DecodeOptions:
    """Print the text of ids from standard input, separated by white space (section 2.2)."""

    tokenizer: tyro.conf.Positional[str]
    """A directory with a tokenizer, or gpt2."""


def train(options: TokenizerTrainOptions) -> Artifact:
    """Write a tokenizer in all of Hugging Face's files; the manifest says how well the text was compressed."""
    artifact = Artifact(options.output, "tokenizer train", options, [options.corpus], options.overwrite)
    if artifact.exists():
        say(f"{options.output} is there already")
        return artifact
    with artifact.write() as folder:
        pieces = count_pieces(_texts(options), options.pattern)
        say(f"learning {options.vocab_size:,} entries from {len(pieces):,} distinct pieces")
        vocabulary, merges = learn(pieces, options.vocab_size - 1)
        vocabulary.append(END_OF_TEXT.encode())
        tokenizer = Tokenizer(vocabulary, merges, {END_OF_TEXT: len(vocabulary) - 1}, options.pattern)
        tokenizer.save(folder)
        artifact.counts = {
            "vocab_size": tokenizer.vocab_size,
            "merges": len(merges),
            "bytes": int((pieces.lengths * pieces.counts).sum()),
            "tokens": _count_tokens(pieces, tokenizer),
            "distinct_pieces": len(pieces),
        }
        if tokenizer.vocab_size < options.vocab_size:
            say(f"no pairs are left to merge: {tokenizer.vocab_size:,} entries instead of {options.vocab_size:,}")
    return artifact


def _texts(options: TokenizerTrainOptions) -> Iterator[str]:
    """The sample of the training part; a text and its copies are in it or not, whatever the order."""
    for document in documents.read(options.corpus, TRAIN):
        if options.sample == 1 or documents.share(document.text, options.seed) < options.sample:
            yield document.text


def _count_tokens(pieces: Pieces, tokenizer: Tokenizer) -> int:
    """Tokens of the whole text: a piece has the same ids alone as among others."""
    ids = tokenizer.encode_batch((piece.decode() for piece, _ in pieces), threads=1)
    return sum(len(found) * count for found, count in zip(ids, pieces.counts.tolist(), strict=True))


def encode(options: EncodeOptions) -> None:
    tokenizer = Tokenizer.load(options.tokenizer)
    text = documents.standard_input().text
    ids = tokenizer.encode(text, allowed_special="all") if options.allow_special else tokenizer.encode_ordinary(text)
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
