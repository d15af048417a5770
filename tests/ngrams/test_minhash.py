"""MinHash: the kernel gives the twin's keys, and similarity decides how often texts meet."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.ngrams import minhash
from wholegpt.ngrams.hashing import WORD, Grams
from wholegpt.ngrams.minhash import band_keys, plain_band_keys

PRESETS = [(14, 8), (25, 5)]


def grams_of(lists: list[list[int]]) -> Grams:
    flat = np.array([gram for grams in lists for gram in grams], np.uint64).view(np.int64)
    return Grams(flat, np.cumsum([0, *map(len, lists)]))


@settings(deadline=None)  # machine code is made in the first
@given(st.lists(st.lists(st.integers(1, WORD - 1), max_size=40), max_size=4), st.integers(1, 9), st.integers(1, 9))
def test_the_kernel_gives_the_keys_of_the_twin(lists: list[list[int]], bands: int, rows: int) -> None:
    keys = band_keys(grams_of(lists), bands, rows).tolist()
    assert keys == [plain_band_keys(grams, bands, rows) for grams in lists]


def test_order_and_repetition_do_not_matter() -> None:
    grams = [random.Random(1).randrange(WORD) for _ in range(50)]
    assert plain_band_keys(grams, 14, 8) == plain_band_keys(grams[::-1] + grams[:9], 14, 8)


@pytest.mark.parametrize(("bands", "rows"), PRESETS)
@pytest.mark.parametrize("size", [30, 400])
@pytest.mark.parametrize("similarity", [0.3, 0.55, 0.7, 0.85])
def test_texts_meet_as_often_as_the_curve_says(bands: int, rows: int, size: int, similarity: float) -> None:
    """Also texts of fewer n-grams than bins. 500 pairs: chance alone moves the part by 0.022 (one deviation)."""
    chooser = np.random.default_rng(int(size + 100 * similarity))
    pairs, both = 500, round(2 * size * similarity / (1 + similarity))
    lists = []
    for _ in range(pairs):
        common, own = chooser.integers(1, 2**63, both), chooser.integers(1, 2**63, (2, size - both))
        lists += [[*common.tolist(), *own[0].tolist()], [*common.tolist(), *own[1].tolist()]]
    keys = band_keys(grams_of([[gram * 2 for gram in grams] for grams in lists]), bands, rows)
    met = (keys[0::2] == keys[1::2]).any(axis=1).mean()
    odds = 1 - (1 - (both / (2 * size - both)) ** rows) ** bands
    assert abs(met - odds) < 0.12


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    grams = grams_of([[5, 2**63 + 9, 7], [1]])
    expected = band_keys(grams, 14, 8)
    monkeypatch.setattr(minhash, "kernels", lambda: None)
    assert np.array_equal(band_keys(grams, 14, 8), expected)
