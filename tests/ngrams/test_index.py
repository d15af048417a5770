"""The index: what a search counts, by a set of strings; the kernel and the twin agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.ngrams import index as module
from wholegpt.ngrams.hashing import ngram_hashes
from wholegpt.ngrams.index import Index
from wholegpt.ngrams.words import Texts, words

TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=60).map(" ".join), max_size=4)


def by_strings(texts: list[str], wanted: list[str], n: int) -> list[list[int]]:
    def grams(text: str) -> list[tuple[str, ...]]:
        found = words(text)
        return [tuple(found[start : start + n]) for start in range(len(found) - n + 1)]

    known = {gram for text in wanted for gram in grams(text)}
    result = []
    for text in texts:
        hits = "".join("x" if gram in known else "." for gram in grams(text))
        result.append([len(hits), hits.count("x"), max(map(len, hits.split(".")))])
    return result


@settings(deadline=None)  # machine code is made in the first
@given(TEXTS, TEXTS, st.integers(2, 8))
def test_a_search_counts_what_strings_say(texts: list[str], wanted: list[str], n: int) -> None:
    index = Index.of(wanted, n)
    assert np.stack(index.search(Texts.of(texts)), axis=1).tolist() == by_strings(texts, wanted, n)
    both = np.intersect1d(ngram_hashes(Texts.of(wanted), n).hashes, ngram_hashes(Texts.of(texts), n).hashes)
    assert np.array_equal(index.met(), both)


def test_a_run_goes_on_over_blocks() -> None:
    text = " ".join(map(str, range(3_000)))
    found = Index.of([text], 8).search(Texts.of([text, f"x {text}"]))
    assert np.stack(found).tolist() == [[2993, 2994], [2993, 2993], [2993, 2993]]


def test_a_million_other_n_grams_are_not_found() -> None:
    index = Index(np.random.default_rng(1).integers(-(2**63), 2**63, 100_000), 8)
    text = " ".join(map(str, np.random.default_rng(2).integers(0, 10**6, 1_000_007)))
    assert np.stack(index.search(Texts.of([text]))).tolist() == [[1_000_000], [0], [0]]
    assert len(index.met()) == 0


def test_more_texts_than_a_batch() -> None:
    texts = [f"a {number} b" for number in range(600)]
    assert len(Index.of(texts, 3).grams) == 600
    assert Index.of([], 3).search(Texts.of(["a b c"])).hits.tolist() == [0]


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, wanted = Texts.of(["a b c d a b", ""]), ["a b c"]
    expected = Index.of(wanted, 2)
    counts = np.stack(expected.search(texts))
    monkeypatch.setattr(module, "kernels", lambda: None)
    plain = Index.of(wanted, 2)
    assert np.stack(plain.search(texts)).tolist() == counts.tolist()
    assert plain.met().tolist() == expected.met().tolist()
    assert len(plain.met()) == 2
