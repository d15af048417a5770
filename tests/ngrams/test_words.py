"""The normal form by kernels is that of Python, over all of Unicode."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.ngrams import hashing
from wholegpt.ngrams.words import Texts, lowered_table, words

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
# What is hard: letters whose lower case is longer, final sigma, marks, digits of other scripts, long runs.
hard = st.text(
    st.sampled_from("aZ09 _-.'\n\u0130\u03a3\u03c3\u0301\u0660\u00b2\u4e2d\U0001d7ce\U00010400ßé"), max_size=80
)


def hashes(texts: list[str], n: int) -> list[list[int]]:
    grams = hashing.ngram_hashes(Texts.of(texts), n)
    return [[int(gram) % 2**64 for gram in grams[index]] for index in range(len(texts))]


@settings(max_examples=300, deadline=None)
@given(st.lists(anything | hard, max_size=5), st.integers(1, 8))
def test_kernel_and_twin_agree(texts, n):
    assert hashes(texts, n) == [hashing.plain_hashes(text, n) for text in texts]


def test_every_code_point_agrees():
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    texts = ["a " + "b ".join(points[start : start + 4096]) for start in range(0, len(points), 4096)]
    assert hashes(texts, 1) == [hashing.plain_hashes(text, 1) for text in texts]


@given(st.lists(anything, max_size=6), st.integers(0, 3))
def test_arrow_columns_are_read_in_place(texts, skipped):
    column = pa.array(texts, pa.string()).slice(min(skipped, len(texts)))
    assert [*map(Texts.of_arrow(column).__getitem__, range(len(column)))] == [
        Texts.of(texts[min(skipped, len(texts)) :])[index] for index in range(len(column))
    ]


def test_words_by_hand():
    assert words("  Don't_STOP 3.5 straße ΟΔΟΣ") == ["don", "t", "stop", "3", "5", "straße", "οδος"]
    assert lowered_table()[ord("A")] == ord("a")
    assert lowered_table()[ord("-")] == 0


def test_same_words_same_hashes():
    assert hashes(["The  cat, sat."], 3) == hashes(["the cat SAT"], 3)
    assert hashes(["the cat"], 3) == [[]]


def test_lone_surrogates_are_no_letters():
    assert hashes(["a\ud800b"], 1) == hashes(["a b"], 1)


def test_distinct_and_jaccard():
    texts = ["a b c d a b c d", "a b c d", "x y z w", ""]
    sets = hashing.distinct(hashing.ngram_hashes(Texts.of(texts), 2))
    assert sets.sizes.tolist() == [4, 3, 3, 0]  # ab bc cd da; ab bc cd; xy yz zw
    left, right = np.array([0, 0, 3, 1]), np.array([1, 2, 3, 1])
    assert hashing.jaccard(sets, left, right).tolist() == [0.75, 0.0, 0.0, 1.0]


def test_without_numba_the_twins_do_it(monkeypatch):
    texts = ["a b c d a b c d", "a b c d", ""]
    with_kernels = hashing.distinct(hashing.ngram_hashes(Texts.of(texts), 2))
    monkeypatch.setattr(hashing, "kernels", lambda: None)
    plain = hashing.distinct(hashing.ngram_hashes(Texts.of(texts), 2))
    assert plain.hashes.tolist() == with_kernels.hashes.tolist()
    assert plain.bounds.tolist() == with_kernels.bounds.tolist()
    assert hashing.jaccard(plain, np.array([0]), np.array([1])).tolist() == [0.75]
