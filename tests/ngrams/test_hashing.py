"""Hashes of n-grams: the kernel gives the twin's, and different n-grams have different ones."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.ngrams import hashing
from wholegpt.ngrams.hashing import Grams, distinct, jaccard, ngram_hashes, plain_hashes
from wholegpt.ngrams.words import SPECIAL, Texts

# Words of all lengths around the kernel's eight bytes, characters of one to four bytes, and what separates.
PIECES = st.one_of(st.text(), st.text("aZ09 é\u0130Σσ東𐐀_-", max_size=40), st.text("abcdefgh", min_size=6, max_size=26))
TEXTS = st.lists(PIECES, max_size=8).map(" ".join)


def as_twin(grams: Grams) -> list[list[int]]:
    return [grams[index].view(np.uint64).tolist() for index in range(len(grams))]


@settings(deadline=None)  # machine code is made in the first
@given(st.lists(TEXTS, max_size=5), st.integers(1, hashing.LONGEST_GRAM))
def test_the_kernel_gives_the_hashes_of_the_twin(texts: list[str], n: int) -> None:
    cleaned = [text.encode(errors="replace").decode() for text in texts]
    assert as_twin(ngram_hashes(Texts.of(texts), n)) == [plain_hashes(text, n) for text in cleaned]


def test_every_character_of_unicode() -> None:
    """Each stands among its neighbours by number; without the special ones no text is lowered beforehand."""
    text = "".join(chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    plain = "".join(char for char in text if char not in SPECIAL)
    assert as_twin(ngram_hashes(Texts.of([plain]), 1)) == [plain_hashes(plain, 1)]
    assert as_twin(ngram_hashes(Texts.of([text]), 1)) == [plain_hashes(text, 1)]


def test_more_n_grams_than_a_block() -> None:
    text = " ".join(map(str, range(5_000)))
    assert as_twin(ngram_hashes(Texts.of([text, text]), 8)) == [plain_hashes(text, 8)] * 2


@pytest.mark.parametrize("data", [b"\xff\xfe abc \xf0", b"ab\xe2\x82", b"\xf7\xbf\xbf\xbf" * 9, bytes(range(256))])
def test_bytes_that_are_no_utf8_do_no_harm(data: bytes) -> None:
    texts = Texts._of_bytes([data, b"and the next text"])
    assert len(ngram_hashes(texts, 1)[1]) == 4


def test_only_the_words_count() -> None:
    one, other = "The quick (brown) fox\njumps!", "the QUICK brown\u2014fox... jumps"
    grams = ngram_hashes(Texts.of([one, other]), 5)
    assert grams[0].tolist() == grams[1].tolist()
    assert len(grams[0]) == 1


def test_different_n_grams_have_different_hashes() -> None:
    """Structured ones, on which weak hashes fail: orders of the same words, small numbers, long common beginnings."""
    orders = [" ".join(order) for order in permutations(["one", "two", "three", "four", "five", "six", "seven", "8"])]
    numbers = [" ".join(map(str, pair)) + " a b c d e f" for pair in product(range(300), repeat=2)]
    long = [f"{'x' * size}{number} a b c d e f g" for size in range(0, 40, 3) for number in range(2_000)]
    texts = [*orders, *numbers, *long]
    grams = ngram_hashes(Texts.of(texts), 8)
    assert (grams.sizes == 1).all()
    assert len(np.unique(grams.hashes)) == len(set(texts))
    # Halves are used by themselves, as bins and values: near the number that chance leaves different.
    for shift in (0, 32):
        halves = len(np.unique(grams.hashes >> shift & 0xFFFFFFFF))
        assert len(set(texts)) - halves < 5 * len(texts) ** 2 / 2**33 + 10


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 12), max_size=30), max_size=6))
def test_sets_and_their_likeness(lists: list[list[int]]) -> None:
    bounds = np.cumsum([0, *map(len, lists)])
    sets = distinct(Grams(np.array([gram for grams in lists for gram in grams], np.int64), bounds))
    assert [sets[index].tolist() for index in range(len(sets))] == [list(dict.fromkeys(grams)) for grams in lists]
    pairs = np.array([*product(range(len(lists)), repeat=2)], np.int64).reshape(-1, 2)
    expected = [
        len({*lists[left]} & {*lists[right]}) / max(1, len({*lists[left]} | {*lists[right]})) for left, right in pairs
    ]
    assert jaccard(sets, pairs[:, 0], pairs[:, 1]).tolist() == expected


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Texts.of(["one two three two three", "", "two three"])
    with_kernel = distinct(ngram_hashes(texts, 2))
    lefts, rights = np.array([0, 1]), np.array([2, 2])
    expected = jaccard(with_kernel, lefts, rights)
    monkeypatch.setattr(hashing, "kernels", lambda: None)
    plain = distinct(ngram_hashes(texts, 2))
    assert as_twin(plain) == as_twin(with_kernel)
    assert jaccard(plain, lefts, rights).tolist() == expected.tolist() == [1 / 3, 0]
