"""An index of n-grams that texts are held against: which of their n-grams stand in it, and which of its are met.

A table of 64-bit hashes in open addressing, at most half full, and before it a table of bits that is small enough for a
near memory: most n-grams of most texts end there.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wholegpt.ngrams import hashing
from wholegpt.ngrams.hashing import WORD, address, kernels, power
from wholegpt.ngrams.words import Texts, lowered_table

# Bits a hash before the table; about one in eight n-grams that are not in the table passes them.
BITS_A_HASH = 8


class Found(NamedTuple):
    """Of each text: its n-grams, how many of them stand in the index, and the most that follow each other."""

    total: NDArray[np.int64]
    hits: NDArray[np.int64]
    longest: NDArray[np.int64]


class Index:
    """Hashes of n-grams, each once."""

    def __init__(self, grams: NDArray[np.int64], n: int) -> None:
        self.grams, self.n = np.unique(grams), n
        # What was met so far, in the order of `grams`.
        self.met = np.zeros(len(self.grams), bool)
        slots = max(8, 1 << (2 * len(self.grams)).bit_length())
        bits = max(64, 1 << (BITS_A_HASH * len(self.grams)).bit_length())
        self._table, self._bits = np.zeros(slots, np.int64), np.zeros(bits // 8, np.uint8)
        self._marks = np.zeros(slots, np.uint8)
        if kernel := kernels():
            kernel.fill_index(
                address(self.grams), len(self.grams), address(self._table), slots - 1, address(self._bits), bits - 1
            )

    @classmethod
    def of(cls, texts: Iterable[str], n: int) -> "Index":
        """Of the n-grams of texts."""
        found = [np.zeros(0, np.int64)]
        found += [np.unique(hashing.ngram_hashes(Texts.of([text]), n).hashes) for text in texts]
        return cls(np.concatenate(found), n)

    def search(self, texts: Texts) -> Found:
        """Hold texts against the index, and mark in it what is met."""
        if not kernels():
            return self._plain_search(texts)
        out = np.empty((len(texts), 3), np.int64)
        kernel = kernels()
        assert kernel
        state, grams = np.zeros(kernel.STATE_WORDS, np.int64), np.empty(kernel.BLOCK, np.int64)
        lowered = lowered_table()
        kernel.search(
            address(state), address(lowered), address(texts.data), address(texts.bounds), len(texts), self.n,
            power(self.n), address(grams), address(self._table), len(self._table) - 1, address(self._bits),
            8 * len(self._bits) - 1, address(self._marks), address(out),
        )  # fmt: skip
        self.met |= np.isin(self.grams, self._table[self._marks != 0])
        return Found(*out.T)

    def _plain_search(self, texts: Texts) -> Found:
        """The readable twin."""
        known = {gram % WORD: place for place, gram in enumerate(self.grams.tolist())}
        rows = []
        for index in range(len(texts)):
            grams = hashing.plain_hashes(texts[index], self.n)
            run = longest = 0
            for gram in grams:
                run = run + 1 if gram in known else 0
                longest = max(longest, run)
                if gram in known:
                    self.met[known[gram]] = True
            rows.append((len(grams), sum(gram in known for gram in grams), longest))
        return Found(*np.array(rows, np.int64).reshape(-1, 3).T)
