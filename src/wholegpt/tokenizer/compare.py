"""`wholegpt tokenizer compare`: how well several vocabularies fit a text, beside the released one (section 2.2)."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from wholegpt import documents
from wholegpt.documents import Document
from wholegpt.errors import WholeGPTError
from wholegpt.progress import bar, say
from wholegpt.tokenizer.tokenizer import Tokenizer

RELEASED = "gpt2"
ALL = "all"
BATCH_DOCUMENTS = 256


@dataclass(frozen=True)
class CompareOptions:
    """Show how well tokenizers fit a text, beside GPT-2's (section 2.2)."""

    tokenizers: tyro.conf.Positional[tuple[str, ...]]
    """Directories or files with tokenizers; GPT-2's own is shown beside them."""
    text: Annotated[Path, tyro.conf.arg(aliases=["-t"])]
    """Documents: .jsonl(.gz/.zst), .parquet, .txt, a folder of them."""
    part: str = ""
    """Of a corpus only this part: train or heldout."""
    by: str = ""
    """Compare each kind of document by itself: a field of the documents, such as kind or source."""
    json: bool = False
    """Print JSON instead of tables."""


@dataclass(frozen=True)
class Fit:
    """How a tokenizer fits a text."""

    bytes_per_token: float
    tokens_per_word: float
    """Words as `str.split()` finds them."""
    vocabulary_use: float
    """Share of the entries, special tokens aside, that occur in the text."""
    split_characters: float
    """Share of the characters of two bytes and more whose bytes are in different tokens."""


@dataclass
class Tally:
    """Counts of one tokenizer over texts; `used` marks the ids that occurred [vocabulary]."""

    used: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    """The bytes of each id [vocabulary]."""
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Tally":
        sizes = np.array([len(token) for token in tokenizer.vocabulary], np.int64)
        return cls(np.zeros(len(sizes), np.bool_), sizes)

    def add(self, text: bytes, words: int, ids: NDArray[Any]) -> None:
        """Count a text in UTF-8 and its ids."""
        wide, cut = characters_cut(np.frombuffer(text, np.uint8), np.cumsum(self.sizes[ids]))
        self.counts.update(bytes=len(text), tokens=len(ids), words=words, wide=wide, cut=cut)
        self.used[ids] = True

    def fit(self, special: int) -> Fit:
        counts = self.counts
        return Fit(
            bytes_per_token=counts["bytes"] / max(1, counts["tokens"]),
            tokens_per_word=counts["tokens"] / max(1, counts["words"]),
            vocabulary_use=int(self.used.sum()) / max(1, len(self.used) - special),
            split_characters=counts["cut"] / max(1, counts["wide"]),
        )


def characters_cut(text: NDArray[np.uint8], ends: NDArray[np.int64]) -> tuple[int, int]:
    """How many characters of two bytes and more a text in UTF-8 has, and in how many of them a token ends early.

    >>> characters_cut(np.frombuffer("aé東".encode(), np.uint8), np.array([1, 3, 4, 5, 6]))
    (2, 1)
    """
    number = np.cumsum((text & 0xC0) != 0x80)  # of the character that each byte belongs to
    inside = ends[:-1][(text[ends[:-1]] & 0xC0) == 0x80]
    return int((text >= 0xC0).sum()), len(np.unique(number[inside]))


def compare(options: CompareOptions) -> None:
    """Print bytes per token, tokens per word, vocabulary use and split characters of each tokenizer."""
    tokenizers = _load(options.tokenizers)
    tallies: dict[str, dict[str, Tally]] = {ALL: {name: Tally.of(each) for name, each in tokenizers.items()}}
    for batch in _batches(options):
        groups = [[ALL, _group(document, options.by)] if options.by else [ALL] for document in batch]
        for group in {name for names in groups for name in names} - tallies.keys():
            tallies[group] = {name: Tally.of(each) for name, each in tokenizers.items()}
        for name, tokenizer in tokenizers.items():
            encoded = tokenizer.encode_batch([document.text for document in batch])
            for document, names, ids in zip(batch, groups, encoded, strict=True):
                content, words = document.text.encode(), len(document.text.split())
                for group in names:
                    tallies[group][name].add(content, words, ids)
    special = {name: len(tokenizer.special) for name, tokenizer in tokenizers.items()}
    fits = {group: {name: tally.fit(special[name]) for name, tally in of.items()} for group, of in tallies.items()}
    if options.json:
        print(json.dumps({group: {name: asdict(fit) for name, fit in of.items()} for group, of in fits.items()}))
        return
    _print_fits(fits[ALL], {name: tokenizer.vocab_size for name, tokenizer in tokenizers.items()})
    if options.by:
        _print_groups(fits, options.by)


def _load(names: tuple[str, ...]) -> dict[str, Tokenizer]:
    tokenizers = {name: Tokenizer.load(name) for name in names}
    if RELEASED not in tokenizers:
        try:
            tokenizers[RELEASED] = Tokenizer.load(RELEASED)
        except WholeGPTError as error:
            say(f"without GPT-2's own tokenizer: {error}")
    return tokenizers


def _batches(options: CompareOptions) -> Iterator[list[Document]]:
    batch: list[Document] = []
    with bar("comparing", None, "documents") as progress:
        for document in documents.read(options.text, options.part):
            batch.append(document)
            if len(batch) == BATCH_DOCUMENTS:
                yield batch
                progress.advance(len(batch))
                batch = []
        yield batch


def _group(document: Document, name: str) -> str:
    if name not in document.metadata:
        raise WholeGPTError(
            f"document {document.id} has no field {name}; it has {', '.join(document.metadata) or 'none'}"
        )
    return str(document.metadata[name])


def _print_fits(fits: dict[str, Fit], entries: dict[str, int]) -> None:
    table = Table("tokenizer", *("entries", "bytes per token", "tokens per word", "entries used", "characters split"))
    for name, fit in fits.items():
        figures = f"{fit.bytes_per_token:.3f}", f"{fit.tokens_per_word:.3f}"
        table.add_row(name, f"{entries[name]:,}", *figures, f"{fit.vocabulary_use:.1%}", f"{fit.split_characters:.1%}")
    Console().print(table)


def _print_groups(fits: dict[str, dict[str, Fit]], by: str) -> None:
    table = Table(by, *fits[ALL], title="bytes per token", title_justify="left")
    for group in sorted(fits, key=lambda name: (name != ALL, name)):
        table.add_row(group, *(f"{fit.bytes_per_token:.3f}" for fit in fits[group].values()))
    Console().print(table)
