"""The specification of BPE against hand-made merges and other people's results."""

import json
import lzma
from collections import Counter

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from wholegpt.tokenizer import bpe, files


def characters(vocabulary, merges):
    return [[files.to_characters(vocabulary[left]), files.to_characters(vocabulary[right])] for left, right in merges]


def test_learning_by_hand():
    # ab: 5 + 2 = 7 times, bc 5, cd 5; then (ab)c 5 before cd 5, for the pair (c, d) holds larger ids than none of
    # (ab, c): ids of merges come after all bytes, so c d (66, 67 < 256) goes first.
    vocabulary, merges = bpe.learn({b"abcd": 5, b"ab": 2}, 259)
    assert characters(vocabulary, merges) == [["a", "b"], ["c", "d"], ["ab", "cd"]]
    assert vocabulary[256:] == [b"ab", b"cd", b"abcd"]


def test_learning_stops_when_no_pair_is_left():
    vocabulary, merges = bpe.learn({b"ab": 1}, 1000)
    assert (len(vocabulary), len(merges)) == (257, 1)


@pytest.mark.parametrize("name", ["train_text", "train_ties"])
def test_learning_equals_hugging_face(shared, name):
    folder = shared / "fixtures" / "tokenizer"
    expected = json.loads((folder / f"{name}.json").read_text())
    text = (folder / f"{name}.txt").read_bytes().decode()
    counts = Counter(piece.encode() for piece in bpe.split(text, regex.compile(bpe.PATTERN)))
    theirs = [pair.split(" ") if isinstance(pair, str) else pair for pair in expected["merges"]]
    assert characters(*bpe.learn(counts, 256 + len(theirs))) == theirs


def test_gpt2_ids_of_tiktoken(shared):
    from wholegpt.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(shared / "gpt2-vocab")
    compared = 0
    with lzma.open(shared / "fixtures" / "tokenizer" / "gpt2_cases.jsonl.xz") as lines:
        for line in lines:
            case = json.loads(line)
            if "s" in case:
                assert tokenizer.encode(case["s"], allowed_special="all") == case["ids"]
                assert tokenizer.encode_ordinary(case["s"]) == case.get("ids_ordinary", case["ids"])
                compared += 1
    assert compared > 2900


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_split_and_encode_lose_nothing(tokenizer, text):
    assert "".join(bpe.split(text, regex.compile(bpe.PATTERN))) == text
    assert tokenizer.decode(tokenizer.encode_ordinary(text)) == text


def test_special_tokens(tokenizer):
    text = "a<|endoftext|>b"
    with pytest.raises(ValueError, match=r"<\|endoftext\|> at character 1; .*allowed_special=.*encode_ordinary"):
        tokenizer.encode(text)
    a, b = tokenizer.encode("a"), tokenizer.encode("b")
    assert tokenizer.encode(text, allowed_special={"<|endoftext|>"}) == [*a, tokenizer.eot, *b]
    assert tokenizer.encode(text, allowed_special="all") == [*a, tokenizer.eot, *b]
    assert tokenizer.eot not in tokenizer.encode_ordinary(text)
    assert tokenizer.decode(tokenizer.encode_ordinary(text)) == text


def test_what_cannot_be(tokenizer):
    with pytest.raises(ValueError, match=r"surrogate \(U\+D800\) at character 3"):
        tokenizer.encode("abc\ud800")
    with pytest.raises(ValueError, match="id 300 is outside the vocabulary of 300 entries"):
        tokenizer.decode([300])
    assert tokenizer.decode(tokenizer.encode("é")[:1]) == "\N{REPLACEMENT CHARACTER}"


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = type(tokenizer).load(tmp_path)
    assert (again.vocabulary, again.merges, again.special) == (
        tokenizer.vocabulary,
        tokenizer.merges,
        tokenizer.special,
    )
    (tmp_path / "vocab.json").rename(tmp_path / "encoder.json")
    (tmp_path / "merges.txt").rename(tmp_path / "vocab.bpe")
    assert type(tokenizer).load(tmp_path).vocabulary == tokenizer.vocabulary
