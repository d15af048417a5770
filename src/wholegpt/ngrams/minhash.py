"""MinHash by one permutation: keys of bands, equal with odds that grow steeply with how alike two texts are.

The hashes of a text's n-grams fall into `bands x rows` bins by their high halves; of each bin the least low half
counts. An empty bin takes that of another, chosen by the bin's number alone (densification), so that texts of few
words have signatures, too. A band is `rows` bins that follow each other, its key a hash of them. Two texts share a
key of some band with the odds 1 - (1 - J**rows)**bands, where J is the Jaccard similarity of their sets of n-grams:
with 14 bands of 8 rows one half at J = 0.69 and nearly surely above 0.8, with 25 of 5 one half at 0.48.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from wholegpt.compiled import address
from wholegpt.ngrams.hashing import WORD, Grams, kernels, mix

EMPTY = 2**32


def band_keys(grams: Grams, bands: int, rows: int) -> NDArray[np.uint64]:
    """The keys of each text's bands [texts, bands]; those of a text without n-grams mean nothing."""
    kernel = kernels()
    if not kernel:
        found = [plain_band_keys(grams[index].tolist(), bands, rows) for index in range(len(grams))]
        return np.array(found, np.uint64).reshape(-1, bands)
    bins, filled, out = (np.empty(size, np.int64) for size in (bands * rows, bands * rows, len(grams) * bands))
    hashes, bounds = np.ascontiguousarray(grams.hashes), np.ascontiguousarray(grams.bounds, np.int64)
    kernel.band_keys(
        address(hashes), address(bounds), len(grams), bands, rows, address(bins), address(filled), address(out)
    )
    return out.view(np.uint64).reshape(-1, bands)


def plain_band_keys(grams: Iterable[int], bands: int, rows: int) -> list[int]:
    """The readable twin, of one text's hashes."""
    size = bands * rows
    bins = [EMPTY] * size
    for gram in grams:
        high, low = divmod(gram % WORD, 2**32)
        place = high * size >> 32
        bins[place] = min(bins[place], low)
    filled = [_value(bins, number) for number in range(size)]
    keys = []
    for band in range(bands):
        key = mix(band + 1)
        for value in filled[band * rows : (band + 1) * rows]:
            key = mix(key ^ value)
        keys.append(key)
    return keys


def _value(bins: list[int], number: int) -> int:
    """What is in a bin, or in the first of those it turns to that is not empty."""
    value, attempt = bins[number], 0
    while value == EMPTY and any(other != EMPTY for other in bins):
        attempt += 1
        value = bins[(mix(number << 32 | attempt) >> 32) * len(bins) >> 32]
    return value
