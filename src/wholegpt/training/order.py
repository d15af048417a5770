"""The order of training: a keyed permutation of windows, a function of (seed, sample number) alone.

Sample n belongs to epoch n // windows and is window P(n mod windows), P a permutation keyed by seed and epoch. So every
window comes once an epoch, any step can be sought at once, and the order does not depend on batch, ranks or workers.

P is a Feistel network of four rounds over the next even number of bits, applied again while the result lies outside
(cycle walking). Its round function is the finaliser of splitmix64: a single multiplication would leave the low bits of
the order a function of the low bits of n.
"""

import numpy as np
from numpy.typing import NDArray

ROUNDS = 4
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK_64 = 2**64 - 1

Numbers = NDArray[np.uint64]


def mix(z: Numbers) -> Numbers:
    """The finaliser of splitmix64: every input bit reaches every output bit."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def keys(seed: int, epoch: int, count: int) -> Numbers:
    """Numbers that depend on seed and epoch."""
    start = mix(np.array([seed & _MASK_64], np.uint64)) + mix(np.array([~epoch & _MASK_64], np.uint64))
    return mix(start + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64))


def permute(numbers: Numbers, size: int, round_keys: Numbers) -> Numbers:
    """Where each number below `size` goes: a bijection on 0 to size - 1."""
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)

    def rounds(x: Numbers) -> Numbers:
        left, right = x >> half, x & mask
        for key in round_keys:
            left, right = right, left ^ (mix(right * _GOLDEN + key) & mask)
        return (left << half) | right

    result = rounds(numbers)
    outside = result >= size
    while outside.any():
        result[outside] = rounds(result[outside])
        outside = result >= size
    return result


class WindowOrder:
    """Start positions of windows of `length` + 1 tokens (inputs and the next token of each) in `tokens` tokens.

    From the second epoch on the grid of windows is shifted, so that the cuts fall elsewhere; what does not fill a
    window at the end is left out.
    """

    def __init__(self, tokens: int, length: int, seed: int) -> None:
        if tokens < length + 1:
            raise ValueError(f"{tokens} tokens are fewer than one window of {length} + 1")
        self.length, self.seed = length, seed
        self.windows = max(1, (tokens - length) // length)
        self._shifts = min(length, tokens - self.windows * length)

    def starts(self, first: int, count: int) -> NDArray[np.int64]:
        """Where the windows of samples first to first + count begin [tokens]."""
        samples = np.arange(first, first + count)
        starts = np.empty(count, np.int64)
        for epoch in np.unique(samples // self.windows):
            chosen = samples // self.windows == epoch
            *round_keys, shift_key = keys(self.seed, int(epoch), ROUNDS + 1)
            shift = int(shift_key) % self._shifts if epoch else 0
            inside = (samples[chosen] % self.windows).astype(np.uint64)
            order = permute(inside, self.windows, np.array(round_keys, np.uint64))
            starts[chosen] = order.astype(np.int64) * self.length + shift
        return starts
