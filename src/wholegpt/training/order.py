"""The order of training: a keyed permutation of windows, a function of (seed, sample number) alone.

Sample n belongs to epoch n // windows and is window P(n mod windows), P a permutation keyed by seed and epoch. So every
window comes once an epoch, any step can be sought at once, and the order does not depend on batch, ranks or workers:
step s of batches of b reads samples s * b to (s + 1) * b - 1, of which rank r of n takes every n-th, from the r-th on.

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


def samples(step: int, batch_size: int, rank: int = 0, ranks: int = 1) -> NDArray[np.int64]:
    """The numbers of the samples of a step, or the part of them that one of several ranks takes.

    The parts of all ranks are the step's samples, each once; where the batch does not divide, the first ranks take one
    more. Micro-batches are slices of it.

    >>> samples(2, 8).tolist(), samples(2, 8, rank=1, ranks=3).tolist()
    ([16, 17, 18, 19, 20, 21, 22, 23], [17, 20, 23])
    """
    if not 0 <= rank < ranks:
        raise ValueError(f"rank {rank} of {ranks}")
    return np.arange(step * batch_size + rank, (step + 1) * batch_size, ranks, dtype=np.int64)


class WindowOrder:
    """Start positions of windows of `length` + 1 tokens (inputs and the next token of each) in `tokens` tokens.

    From the second epoch on the grid of windows is shifted by 0 to `length` - 1 tokens, so that the cuts fall
    elsewhere. What does not fill a window at the end is left out, and so is the room that the shift needs: less than
    two windows together.
    """

    def __init__(self, tokens: int, length: int, seed: int) -> None:
        if tokens < length + 1:
            raise ValueError(f"{tokens} tokens are fewer than one window of {length} + 1")
        self.length, self.seed = length, seed
        self.windows = max(1, (tokens - length) // length)
        self._shifts = min(length, tokens - self.windows * length)

    def starts(self, first: int, count: int) -> NDArray[np.int64]:
        """Where the windows of samples first to first + count begin [tokens]."""
        return self.starts_of(np.arange(first, first + count, dtype=np.int64))

    def starts_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the windows of these samples begin [tokens]."""
        starts = np.empty(len(numbers), np.int64)
        epochs, places = numbers // self.windows, (numbers % self.windows).astype(np.uint64)
        for epoch in np.unique(epochs).tolist():
            chosen = epochs == epoch
            order = permute(places[chosen], self.windows, keys(self.seed, epoch, ROUNDS))
            starts[chosen] = order.astype(np.int64) * self.length + self._shift(epoch)
        return starts

    def _shift(self, epoch: int) -> int:
        """How far the grid of windows is moved in an epoch [tokens]."""
        return int(keys(self.seed, epoch, ROUNDS + 1)[-1]) % self._shifts if epoch else 0
