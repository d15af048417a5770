"""Band keys: kernel and twin agree, and they are equal as often as the formula says."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.ngrams import hashing, minhash
from wholegpt.ngrams.hashing import Grams

word = st.integers(-(2**63), 2**63 - 1)


def grams_of(sets: list[list[int]]) -> Grams:
    bounds = np.cumsum([0, *map(len, sets)])
    return Grams(np.array([gram for grams in sets for gram in grams], np.int64), bounds)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(word, max_size=40), max_size=4), st.sampled_from([(14, 8), (25, 5), (1, 1)]))
def test_kernel_and_twin_agree(sets, shape):
    found = minhash.band_keys(grams_of(sets), *shape)
    assert found.tolist() == [minhash.plain_band_keys(grams, *shape) for grams in sets]


def test_without_numba(monkeypatch):
    grams = grams_of([[1, -5, 2**40], []])
    expected = minhash.band_keys(grams, 14, 8)
    monkeypatch.setattr(minhash, "kernels", lambda: None)
    assert (minhash.band_keys(grams, 14, 8) == expected).all()
    assert hashing.kernels() is not None


@pytest.mark.parametrize(("similarity", "shape"), [(0.8, (14, 8)), (0.6, (14, 8)), (0.5, (25, 5))])
def test_odds_are_those_of_the_formula(similarity, shape):
    """400 pairs of sets of 600; the standard deviation of a share is at most 0.025: four of them either way."""
    noise, pairs, size = random.Random(1), 400, 600
    shared = round(2 * size * similarity / (1 + similarity))
    sets = []
    for _ in range(pairs):
        common = [noise.getrandbits(64) - 2**63 for _ in range(shared)]
        sets += [common + [noise.getrandbits(64) - 2**63 for _ in range(size - shared)] for _ in range(2)]
    keys = minhash.band_keys(grams_of(sets), *shape)
    bands, rows = shape
    share = (keys[::2] == keys[1::2]).any(axis=1).mean()
    assert abs(share - (1 - (1 - similarity**rows) ** bands)) < 0.1
