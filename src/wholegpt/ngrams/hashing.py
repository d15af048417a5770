"""64-bit hashes of n-grams of words, in one pass over UTF-8.

The hash of a word mixes its bytes eight at a time; that of an n-gram mixes the polynomial of its words' hashes, which
rolls along the text. Two different n-grams have the same hash with odds of about 2**-60 at worst: among a million
distinct ones a collision is expected in one of 2 million texts, and one asked of a table of 2 million is taken for
another in one of 2**39 cases. Not for adversaries: the constants are here.
"""

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from wholegpt import compiled
from wholegpt.compiled import address
from wholegpt.ngrams.words import Texts, lowered_table, words

# Odd numbers without pattern; twins of those in `kernel.py`. BASE is 3 modulo 8: its powers differ in high bits only.
MIX_A, MIX_B = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
SEED, BASE = 0x2545F4914F6CDD1D, 0x5851F42D4C957F2B
WORD = 2**64
LONGEST_GRAM = 16

Hashes = NDArray[np.int64]


@dataclass(frozen=True)
class Grams:
    """The hashes of texts' n-grams one text after another, as signed words, and where each text's begin."""

    hashes: Hashes
    bounds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, index: int) -> Hashes:
        return self.hashes[self.bounds[index] : self.bounds[index + 1]]

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.diff(self.bounds)


def mix(word: int) -> int:
    """Spread every bit of a word over all; no two words become the same."""
    for factor in (MIX_A, MIX_B):
        word = word * factor % WORD
        word ^= word >> 32
    return word


def word_hash(word: str) -> int:
    data, hashed = word.encode(), SEED
    for start in range(0, len(data), 8):
        hashed = mix(hashed ^ int.from_bytes(data[start : start + 8], "little"))
    return hashed


def plain_hashes(text: str, n: int) -> list[int]:
    """The readable twin: the hashes of a text's n-grams in order, never 0."""
    hashed = [word_hash(word) for word in words(text)]
    grams = [hashed[start : start + n] for start in range(len(hashed) - n + 1)]
    return [mix(functools.reduce(lambda sum_, word: (sum_ * BASE + word) % WORD, gram, 0)) or 1 for gram in grams]


def ngram_hashes(texts: Texts, n: int) -> Grams:
    """The hashes of all n-grams of words, at most `LONGEST_GRAM` of them; a text of fewer words has none."""
    assert 0 < n <= LONGEST_GRAM
    kernel = kernels()
    if not kernel:
        found = [plain_hashes(texts[index], n) for index in range(len(texts))]
        bounds = np.cumsum([0, *map(len, found)])
        return Grams(np.array([gram for grams in found for gram in grams], np.uint64).view(np.int64), bounds)
    # At most one word in two bytes. Memory that is not written to costs nothing.
    out = np.empty(int(texts.bounds[-1]) // 2 + len(texts), np.int64)
    bounds = np.zeros(len(texts) + 1, np.int64)
    state, lowered = np.zeros(kernel.STATE_WORDS, np.int64), lowered_table()
    kernel.hashes(
        address(state), address(lowered), address(texts.data), address(texts.bounds), len(texts),
        n, power(n), address(out), address(bounds) + 8, len(out),
    )  # fmt: skip
    return Grams(out[: bounds[-1]], bounds)


def distinct(grams: Grams) -> Grams:
    """Each text's hashes once, in the order of their first places."""
    kernel = kernels()
    if not kernel:
        found = [np.array(list(dict.fromkeys(grams[index].tolist())), np.int64) for index in range(len(grams))]
        bounds = np.cumsum([0, *map(len, found)])
        return Grams(np.concatenate([*found, np.zeros(0, np.int64)]), bounds)
    hashes, bounds = grams.hashes.copy(), np.zeros(len(grams) + 1, np.int64)
    table = scratch_table(grams)
    arrays = address(hashes), address(grams.bounds)
    kernel.distinct(*arrays, len(grams), address(table), address(bounds) + 8)
    return Grams(hashes[: bounds[-1]], bounds)


def sorted_once(words: Hashes) -> Hashes:
    """Words in order, each once. Unlike np.unique, which keeps a hash table since numpy 2.3: ten times as fast.

    >>> sorted_once(np.array([3, -1, 3]))
    array([-1,  3])
    """
    words = np.sort(words)
    once: Hashes = words[np.concatenate([[True], words[1:] != words[:-1]])[: len(words)]]
    return once


def jaccard(sets: Grams, lefts: NDArray[np.int64], rights: NDArray[np.int64]) -> NDArray[np.float64]:
    """How alike pairs of sets are: the part of the hashes of either that both have; 0 for two empty sets.

    `sets` are from `distinct`; quickest where pairs of one left set follow each other.
    """
    kernel = kernels()
    shared = np.zeros(len(lefts), np.int64)
    if kernel:
        lefts, rights = np.ascontiguousarray(lefts, np.int64), np.ascontiguousarray(rights, np.int64)
        table = scratch_table(sets)
        arrays = address(sets.hashes), address(sets.bounds), address(lefts), address(rights)
        kernel.count_shared(*arrays, len(lefts), address(table), address(shared))
    else:
        for pair, (left, right) in enumerate(zip(lefts, rights, strict=True)):
            shared[pair] = len(set(sets[left].tolist()) & set(sets[right].tolist()))
    either = sets.sizes[lefts] + sets.sizes[rights] - shared
    result: NDArray[np.float64] = shared / np.maximum(either, 1)
    return result


def scratch_table(grams: Grams) -> NDArray[np.int64]:
    """Room for a table of the hashes of any one of these texts, at most half full."""
    return np.empty(max(8, 2 ** (2 * int(grams.sizes.max(initial=0))).bit_length()), np.int64)


def kernels() -> ModuleType | None:
    """The kernels; None without numba."""
    return compiled.load("wholegpt.ngrams.kernel")


def power(n: int) -> int:
    """BASE ** n as a signed word."""
    value = pow(BASE, n, WORD)
    return value - WORD if value >= WORD // 2 else value
