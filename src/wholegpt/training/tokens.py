"""Token shards read back: the files of one part as one sequence of ids, and the tokenizer that they belong to."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholegpt.artifact import MANIFEST, read_manifest
from wholegpt.documents import TRAIN
from wholegpt.errors import WholeGPTError
from wholegpt.progress import say
from wholegpt.tokenizer import Tokenizer, files
from wholegpt.training import shard_files
from wholegpt.training.shard_files import VAL

# nanoGPT's vocabulary of single characters, a pickle beside its tokens.
CHARACTERS = "meta.pkl"


class Tokens:
    """The shards of one part ("train" or "val") as one sequence of ids, in any of the formats of `shard_files`."""

    def __init__(self, folder: Path, part: str, vocab_size: int) -> None:
        self._files = [shard_files.read(path, vocab_size) for path in shard_files.find(folder, part)]
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


def tokenizer_of(folder: Path) -> Tokenizer:
    """The tokenizer whose files lie beside the shards; where there are none, GPT-2's, if all tokens fit.

    Shards of other software come without a tokenizer: llm.c's, modded-nanogpt's and nanoGPT's are GPT-2's, but for
    nanoGPT's own vocabularies of characters and for uint32 shards. Raises WholeGPTError that says what is missing.
    """
    if files.lie_in(folder):
        return Tokenizer.load(folder)
    if (folder / CHARACTERS).exists():
        raise WholeGPTError(
            f"{folder} holds tokens of nanoGPT's single characters ({CHARACTERS}), not of a byte-level BPE; "
            "make shards of the text itself: wholegpt shards TEXT -o SHARDS"
        )
    found = [shard_files.read(path, 2**32) for part in (TRAIN, VAL) for path in shard_files.find(folder, part)]
    largest = max((int(tokens.max()) for tokens in found if len(tokens)), default=0)
    gpt2 = Tokenizer.load("gpt2")
    if largest >= gpt2.vocab_size or any(tokens.dtype.itemsize > 2 for tokens in found):
        raise WholeGPTError(
            f"{folder} has no tokenizer, and its tokens ({found[0].dtype.name}, the largest {largest}) are not "
            "GPT-2's; put their tokenizer.json, or vocab.json and merges.txt, beside the shards"
        )
    say(f"{folder} has no tokenizer beside its shards: they are read as GPT-2's (largest id {largest})")
    return gpt2


def bytes_per_token(folder: Path, part: str, tokenizer: Tokenizer) -> float:
    """How many bytes of text a token of one part stands for on average, `<|endoftext|>` counted as a token.

    Our shards have counted it when they were written; those of other software are read through for it.
    """
    if (folder / MANIFEST).is_file():
        counts = read_manifest(folder)["counts"][part]
        return float(counts["bytes"] / counts["tokens"])
    special = set(tokenizer.special.values())
    sizes = [0 if index in special else len(token) for index, token in enumerate(tokenizer.vocabulary)]
    counts = Tokens(folder, part, tokenizer.vocab_size).counts(tokenizer.vocab_size)
    return float(counts @ np.array(sizes, np.int64) / counts.sum())
