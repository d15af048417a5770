"""MinHash by one permutation: texts whose sets of n-grams are alike get the same key in one of several bands.

The hashes of a text's n-grams fall into `bands * rows` bins, and the lowest of each bin makes the signature; a bin
without any takes the value of another, chosen by the bin alone (optimal densification, Shrivastava 2017). Two texts
agree in a place of the signature with the odds of their Jaccard similarity s, in a band of `rows` places with s**rows,
and in at least one band with 1 - (1 - s**rows)**bands.
"""

from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from wholegpt.ngrams.hashing import WORD, Grams, address, kernels, mix

# A bin without an n-gram.
EMPTY = 2**32


@dataclass(frozen=True)
class Bands:
    """How many bands, and how many places of the signature in each."""

    bands: int = 14
    rows: int = 8

    @property
    def threshold(self) -> float:
        """The similarity where the curve of `found` is steepest, about: 0.72 for 14 x 8, 0.53 for 25 x 5."""
        return float((1 / self.bands) ** (1 / self.rows))

    def found(self, similarity: float) -> float:
        """The odds that two texts share a key."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)


def signature(hashes: list[int], bands: Bands) -> list[int]:
    """The readable twin, from the hashes of a text's n-grams: `bands * rows` values of 32 bits, `EMPTY` without any."""
    size = bands.bands * bands.rows
    bins = [EMPTY] * size
    for gram in hashes:
        place = (gram >> 32) * size >> 32
        bins[place] = min(bins[place], gram % 2**32)
    if not hashes:
        return bins
    return [value if value != EMPTY else _borrowed(bins, number) for number, value in enumerate(bins)]


def _borrowed(bins: list[int], number: int) -> int:
    """The value of the first bin that has one, in an order that the number of the empty one decides."""
    for attempt in count(1):
        value = bins[(mix(number << 32 | attempt) >> 32) * len(bins) >> 32]
        if value != EMPTY:
            return value
    raise AssertionError("some bin has a value")


def plain_band_keys(hashes: list[int], bands: Bands) -> list[int]:
    """The readable twin: one key a band."""
    values, keys = signature(hashes, bands), []
    for band in range(bands.bands):
        key = mix(band + 1)
        for value in values[band * bands.rows : (band + 1) * bands.rows]:
            key = mix(key ^ value)
        keys.append(key)
    return keys


def band_keys(grams: Grams, bands: Bands) -> NDArray[np.int64]:
    """The keys of all texts [texts, bands]; those of a text without n-grams mean nothing."""
    kernel = kernels()
    if not kernel:
        found = [plain_band_keys([gram % WORD for gram in grams[text].tolist()], bands) for text in range(len(grams))]
        return np.array(found, np.uint64).reshape(-1, bands.bands).view(np.int64)
    keys = np.empty((len(grams), bands.bands), np.int64)
    scratch = np.empty((2, bands.bands * bands.rows), np.int64)
    kernel.band_keys(
        address(grams.hashes), address(grams.bounds), len(grams), bands.bands, bands.rows,
        address(scratch), address(scratch[1]), address(keys),
    )  # fmt: skip
    return keys
