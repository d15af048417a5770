"""An index of n-grams that texts are searched with: a few million hashes, and any amount of text read once.

The hashes stand in an open table, at most half full; before it is asked, a bit array of 32 bits a hash is, which sits
in a near memory and answers most n-grams that are not there. A false hit needs two equal 64-bit hashes (`hashing`).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholegpt.artifact import whole_file
from wholegpt.errors import WholeGPTError
from wholegpt.ngrams.hashing import WORD, Hashes, address, kernels, plain_hashes, power
from wholegpt.ngrams.words import Texts, lowered_table

BITS_A_HASH = 32


class Index:
    """The n-grams of some texts, as hashes; remembers which of them were found."""

    def __init__(self, hashes: Hashes, n: int) -> None:
        self.n, self.hashes = n, np.unique(hashes)
        self._kernel = kernels()
        if self._kernel:
            slots = 2 ** (2 * len(self.hashes) + 1).bit_length()
            self._table, self._marks = np.zeros(slots, np.int64), np.zeros(slots, np.uint8)
            self._bits = np.zeros(slots * BITS_A_HASH // 32, np.uint8)
            arrays = address(self._table), slots - 1, address(self._bits), 8 * len(self._bits) - 1
            self._kernel.fill_index(address(self.hashes), len(self.hashes), *arrays)
        else:
            self._known, self._met = set(self.hashes.tolist()), set[int]()

    def save(self, path: Path) -> None:
        """Write the hashes as a .npy file."""
        with whole_file(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, self.hashes)

    @classmethod
    def load(cls, path: Path, n: int) -> "Index":
        """Read such a file; WholeGPTError where it is none."""
        try:
            hashes = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise WholeGPTError(f"{path} is no list of hashes ({error})") from None
        if hashes.dtype != np.int64 or hashes.ndim != 1:
            raise WholeGPTError(f"{path} holds {hashes.dtype} {hashes.shape}, expected a list of int64")
        return cls(hashes, n)

    def search(self, texts: Texts) -> NDArray[np.int64]:
        """Of each text: how many n-grams it has, how many of them are in the index, and the most of these that follow
        each other [texts, 3]."""
        found = np.zeros((len(texts), 3), np.int64)
        kernel = self._kernel
        if not kernel:
            for text in range(len(texts)):
                found[text] = self._search_plainly(texts[text])
            return found
        state, lowered = np.zeros(kernel.STATE_WORDS, np.int64), lowered_table()
        grams = np.empty(2 * kernel.BLOCK, np.int64)
        kernel.search(
            address(state), address(lowered), address(texts.data), address(texts.bounds), len(texts),
            self.n, power(self.n), address(grams), address(self._table), len(self._table) - 1,
            address(self._bits), 8 * len(self._bits) - 1, address(self._marks), address(found),
        )  # fmt: skip
        return found

    def found(self) -> Hashes:
        """The hashes of the index that any search has met so far, in order."""
        if self._kernel:
            return np.sort(self._table[self._marks > 0])
        return np.array(sorted(self._met), np.int64)

    def _search_plainly(self, text: str) -> tuple[int, int, int]:
        """The readable twin."""
        grams = [gram - WORD if gram >= WORD // 2 else gram for gram in plain_hashes(text, self.n)]
        hits = run = longest = 0
        for gram in grams:
            run = run + 1 if gram in self._known else 0
            hits += gram in self._known
            longest = max(longest, run)
        self._met |= self._known.intersection(grams)
        return len(grams), hits, longest
