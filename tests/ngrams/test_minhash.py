"""MinHash: the kernel gives the twin's keys, and similarity decides how often texts meet."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.ngrams import minhash
from wholegpt.ngrams.hashing import WORD, Grams
from wholegpt.ngrams.minhash import Bands, band_keys, plain_band_keys, signature

PRESETS = [Bands(), Bands(25, 5)]


def grams_of(lists: list[list[int]]) -> Grams:
    flat = np.array([gram for grams in lists for gram in grams], np.uint64).view(np.int64)
    return Grams(flat, np.cumsum([0, *map(len, lists)]))


@settings(deadline=None)  # machine code is made in the first
@given(st.lists(st.lists(st.integers(1, WORD - 1), max_size=40), max_size=4), st.integers(1, 9), st.integers(1, 9))
def test_the_kernel_gives_the_keys_of_the_twin(lists: list[list[int]], bands: int, rows: int) -> None:
    setting = Bands(bands, rows)
    keys = band_keys(grams_of(lists), setting).view(np.uint64).tolist()
    assert len(keys) == len(lists)
    for grams, found in zip(lists, keys, strict=True):
        if grams:
            assert found == plain_band_keys(grams, setting)


def test_order_and_repetition_do_not_matter() -> None:
    grams = [random.Random(1).randrange(WORD) for _ in range(50)]
    assert signature(grams, Bands()) == signature(grams[::-1] + grams[:9], Bands())


def test_thresholds_of_the_presets() -> None:
    assert [round(setting.threshold, 2) for setting in PRESETS] == [0.72, 0.53]
    assert Bands(1, 1).found(0.25) == 0.25


@pytest.mark.parametrize("setting", PRESETS)
@pytest.mark.parametrize("size", [30, 400])
@pytest.mark.parametrize("similarity", [0.3, 0.55, 0.7, 0.85])
def test_texts_meet_as_often_as_the_curve_says(setting: Bands, size: int, similarity: float) -> None:
    """Also texts of fewer n-grams than bins. 500 pairs: chance alone moves the part by 0.022 (one deviation)."""
    chooser = np.random.default_rng(int(size + 100 * similarity))
    pairs, both = 500, round(2 * size * similarity / (1 + similarity))
    lists = []
    for _ in range(pairs):
        common, own = chooser.integers(1, 2**63, both), chooser.integers(1, 2**63, (2, size - both))
        lists += [[*common.tolist(), *own[0].tolist()], [*common.tolist(), *own[1].tolist()]]
    keys = band_keys(grams_of([[gram * 2 for gram in grams] for grams in lists]), setting)
    met = (keys[0::2] == keys[1::2]).any(axis=1).mean()
    assert abs(met - setting.found(both / (2 * size - both))) < 0.12


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    grams = grams_of([[5, 2**63 + 9, 7], [1]])
    expected = band_keys(grams, Bands())
    monkeypatch.setattr(minhash, "kernels", lambda: None)
    assert np.array_equal(band_keys(grams, Bands()), expected)
