"""An index of n-grams that texts are held against: which of their n-grams stand in it, and which of its are met.

A table of 64-bit hashes in open addressing, at most half full, and before it a table of bits that is small enough for a
near memory: most n-grams of most texts end there.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wholegpt.compiled import address
from wholegpt.ngrams import hashing
from wholegpt.ngrams.hashing import WORD, Hashes, kernels, power
from wholegpt.ngrams.words import Texts, lowered_table

# Bits a hash before the table, at least; of n-grams that are not in the table about one in 24 passes them.
BITS_A_HASH = 16
# Texts that are hashed together when an index is made.
BATCH = 256


class Found(NamedTuple):
    """Of each text: its n-grams, how many of them stand in the index, and the most of these that follow each other."""

    total: NDArray[np.int64]
    hits: NDArray[np.int64]
    longest: NDArray[np.int64]


class Index:
    """Hashes of n-grams, each once and sorted; remembers which of them were met."""

    def __init__(self, grams: Hashes, n: int) -> None:
        self.grams, self.n = hashing.sorted_once(grams), n
        slots = max(8, 1 << (2 * len(self.grams)).bit_length())
        bits = max(64, 1 << (BITS_A_HASH * len(self.grams)).bit_length())
        self._table, self._bits = np.zeros(slots, np.int64), np.zeros(bits // 8, np.uint8)
        self._marks = np.zeros(slots, np.uint8)
        self._met: set[int] = set()
        if kernel := kernels():
            tables = address(self._table), slots - 1, address(self._bits), bits - 1
            kernel.fill_index(address(self.grams), len(self.grams), *tables)

    @classmethod
    def of(cls, texts: Iterable[str], n: int) -> "Index":
        """Of the n-grams of texts."""
        found, batch = [np.zeros(0, np.int64)], list[str]()
        for text in texts:
            batch.append(text)
            if len(batch) == BATCH:
                found.append(hashing.sorted_once(hashing.ngram_hashes(Texts.of(batch), n).hashes))
                batch = []
        return cls(np.concatenate([*found, hashing.ngram_hashes(Texts.of(batch), n).hashes]), n)

    def search(self, texts: Texts) -> Found:
        """Hold texts against the index, and mark in it what is met."""
        kernel = kernels()
        if not kernel:
            return self._plain_search(texts)
        out = np.empty((len(texts), 3), np.int64)
        state, grams = np.zeros(kernel.STATE_WORDS, np.int64), np.empty(2 * kernel.BLOCK, np.int64)
        lowered = lowered_table()
        kernel.search(
            address(state), address(lowered), address(texts.data), address(texts.bounds), len(texts), self.n,
            power(self.n), address(grams), address(self._table), len(self._table) - 1, address(self._bits),
            8 * len(self._bits) - 1, address(self._marks), address(out),
        )  # fmt: skip
        return Found(*out.T)

    def met(self) -> Hashes:
        """The hashes of the index that texts had so far, sorted."""
        return hashing.sorted_once(np.concatenate([self._table[self._marks != 0], np.array([*self._met], np.int64)]))

    def _plain_search(self, texts: Texts) -> Found:
        """The readable twin."""
        known = {gram % WORD: gram for gram in self.grams.tolist()}
        rows = []
        for index in range(len(texts)):
            grams = hashing.plain_hashes(texts[index], self.n)
            run = longest = 0
            for gram in grams:
                run = run + 1 if gram in known else 0
                longest = max(longest, run)
            hits = [known[gram] for gram in grams if gram in known]
            self._met.update(hits)
            rows.append((len(grams), len(hits), longest))
        return Found(*np.array(rows, np.int64).reshape(-1, 3).T)
