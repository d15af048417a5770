"""The readable twin: merges counted by hand, and what other people's trainers and encoders give."""

import hashlib
import json
import lzma
from collections import Counter
from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from wholegpt.tokenizer import files
from wholegpt.tokenizer.bpe import (
    BYTE_TO_CHARACTER,
    BYTE_TO_ID,
    BYTES,
    PATTERN,
    encode_piece,
    learn,
    merge,
    split,
)

SPLIT = regex.compile(PATTERN)
A, B, C = (BYTE_TO_ID[byte] for byte in b"abc")


def count(text):
    return Counter(piece.encode() for piece in split(text, SPLIT))


def test_the_bytes_in_the_order_of_the_released_vocabulary():
    # Printable ASCII from "!" on has the ids 0 to 93; id 220 is the space, 198 the newline.
    assert (BYTES[0], BYTES[93], BYTES[220], BYTES[198]) == (ord("!"), ord("~"), ord(" "), ord("\n"))
    assert sorted(BYTES) == list(range(256))
    assert (BYTE_TO_CHARACTER[ord(" ")], BYTE_TO_CHARACTER[ord("\n")], BYTE_TO_CHARACTER[ord("a")]) == ("Ġ", "Ċ", "a")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello world", ["Hello", " world"]),
        ("we'll they've", ["we", "'ll", " they", "'ve"]),
        ("WE'LL", ["WE", "'", "LL"]),
        ("abc123 456", ["abc", "123", " 456"]),
        ("a  b   ", ["a", " ", " b", "   "]),
        ("a\n\n b", ["a", "\n\n", " b"]),
        ("über ½ 東京!?", ["über", " ½", " 東京", "!?"]),
        ("", []),
    ],
)
def test_pieces(text, pieces):
    assert split(text, SPLIT) == pieces


@given(st.text())
def test_pieces_join_to_the_text(text):
    assert "".join(split(text, SPLIT)) == text


def test_the_earliest_merge_goes_first_wherever_it_stands():
    # bc was learnt before ab: "abc" is a + bc, although ab stands further left.
    merges = {(B, C): (0, 256), (A, B): (1, 257)}
    assert encode_piece(b"abc", BYTE_TO_ID, merges) == [A, 256]
    assert encode_piece(b"abab", BYTE_TO_ID, merges) == [257, 257]
    assert encode_piece(b"", BYTE_TO_ID, merges) == []


def test_a_pair_is_merged_from_the_left():
    assert merge([A, A, A, A, A], (A, A), 256) == [256, 256, A]


def test_merges_by_hand():
    # aab x 3, ab x 2, bb x 1. Pairs: aa 3, ab 3 + 2 = 5, bb 1. First ab: [a ab] x 3, [ab] x 2.
    # Then (a, ab) 3, (b, b) 1; so aab, then bb; then nothing is left.
    vocabulary, merges = learn({b"aab": 3, b"ab": 2, b"bb": 1}, 300)
    assert merges == [(A, B), (A, 256), (B, B)]
    assert vocabulary[256:] == [b"ab", b"aab", b"bb"]


def test_of_equal_pairs_the_smaller_ids_win():
    _, merges = learn({b"bc": 2, b"ab": 2, b"ac": 2}, 259)
    assert merges == [(A, B), (A, C), (B, C)]


def test_overlapping_places_count_each():
    # aaa has two places for aa: 2 x 2 = 4 beat 3 of bc.
    _, merges = learn({b"aaa": 2, b"bc": 3}, 257)
    assert merges == [(A, A)]


def test_the_vocabulary_is_as_large_as_asked():
    assert len(learn({b"abcdefgh": 1}, 260)[0]) == 260
    assert len(learn({b"ab": 1}, 300)[0]) == 257


@pytest.mark.parametrize("name", ["train_text", "train_ties"])
def test_learns_what_other_software_learns(fixtures, name):
    expected = json.loads((fixtures / "tokenizer" / f"{name}.json").read_text(encoding="utf-8"))
    text = (fixtures / "tokenizer" / f"{name}.txt").read_bytes().decode()
    vocabulary, merges = learn(count(text), expected["vocab_size_asked"] - 1)  # theirs has <|endoftext|> too
    characters = [files.to_characters(token) for token in vocabulary]
    assert [[characters[left], characters[right]] for left, right in merges] == expected["merges"]


@given(st.lists(st.text("abé ", min_size=1), min_size=1, max_size=8))
def test_learning_equals_counting_anew_at_every_step(texts):
    counts = Counter(text.encode() for text in texts)
    pieces = {piece: [BYTE_TO_ID[byte] for byte in piece] for piece in counts}
    expected = []
    while len(expected) < 12:
        pairs = Counter()
        for piece, ids in pieces.items():
            for pair in pairwise(ids):
                pairs[pair] += counts[piece]
        if not pairs:
            break
        expected.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        vocabulary, _ = learn(counts, 256 + len(expected))
        if len(vocabulary) < 256 + len(expected):  # two merges gave the same bytes and share an id
            return
        pieces = {piece: merge(ids, expected[-1], 255 + len(expected)) for piece, ids in pieces.items()}
    assert learn(counts, 256 + len(expected))[1] == expected


def released_cases(fixtures):
    with lzma.open(fixtures / "tokenizer" / "gpt2_cases.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def released(gpt2):  # noqa: ARG001 (skips without it)
    """Byte ids and merges of the released vocabulary."""
    vocabulary, merges, special = files.read(files.find("gpt2"))[:3]
    ids = {token: index for index, token in enumerate(vocabulary) if index not in special.values()}
    ranks = {pair: (n, ids[vocabulary[pair[0]] + vocabulary[pair[1]]]) for n, pair in enumerate(merges)}
    return {byte: ids[bytes([byte])] for byte in range(256)}, ranks


def encode(text, released):
    return [index for piece in split(text, SPLIT) for index in encode_piece(piece.encode(), *released)]


def test_ids_of_the_released_vocabulary(fixtures, released):
    cases = [case for case in released_cases(fixtures) if "s" in case]
    assert len(cases) == 2990
    wrong = [case["s"] for case in cases if encode(case["s"], released) != case.get("ids_ordinary", case["ids"])]
    assert not wrong


def test_ids_of_long_runs(fixtures, released):
    cases = [case for case in released_cases(fixtures) if "repeat" in case]
    assert len(cases) == 10
    for case in cases:
        ids = encode(case["repeat"] * case["times"], released)
        assert (len(ids), ids[:20], ids[-20:]) == (case["n"], case["head"], case["tail"])
        assert hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest() == case["sha256_of_comma_joined_ids"]
