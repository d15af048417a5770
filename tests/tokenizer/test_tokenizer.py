"""The tokenizer that users hold: every text comes back, special tokens are never read unnoticed."""

import hashlib
import json
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.bpe import BYTES

EOT = "<|endoftext|>"


@given(text=st.text())
def test_every_text_comes_back(tokenizer, text):
    ids = tokenizer.encode_ordinary(text)
    assert tokenizer.decode(ids) == text
    assert all(0 <= index < tokenizer.vocab_size for index in ids)
    assert tokenizer.eot not in ids


@given(data=st.lists(st.integers(0, 298)))
def test_ids_in_any_order_decode_to_their_bytes(tokenizer, data):
    joined = b"".join(tokenizer.token_bytes(index) for index in data)
    assert tokenizer.decode_bytes(data) == joined
    assert tokenizer.decode(data) == joined.decode("utf-8", "replace")


def test_the_released_vocabulary(gpt2):
    assert (gpt2.vocab_size, gpt2.eot, gpt2.special) == (50257, 50256, {EOT: 50256})
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.decode([15496, 995]) == "Hello world"


def test_ids_equal_those_of_tiktoken_and_tokenizers(fixtures, gpt2):
    with lzma.open(fixtures / "tokenizer" / "gpt2_cases.jsonl.xz", "rt", encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    assert len(cases) == 3000
    for case in cases:
        if "repeat" in case:
            ids = gpt2.encode_ordinary(case["repeat"] * case["times"])
            assert hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest() == case["sha256_of_comma_joined_ids"]
            continue
        assert gpt2.encode(case["s"], allowed_special={EOT}) == case["ids"]
        assert gpt2.encode_ordinary(case["s"]) == case.get("ids_ordinary", case["ids"])
        assert gpt2.decode(case["ids"]) == case["s"]


def test_decoding_equals_other_software(fixtures, gpt2):
    cases = json.loads((fixtures / "tokenizer" / "decode_cases.json").read_text(encoding="utf-8"))
    assert len(cases) == 300
    for case in cases:
        assert gpt2.decode_bytes(case["ids"]) == bytes.fromhex(case["bytes_hex"])
        assert gpt2.decode(case["ids"]) == case["text_errors_replace"]


def test_special_tokens_in_a_text_are_refused_with_advice(tokenizer):
    with pytest.raises(ValueError, match="character 3") as error:
        tokenizer.encode(f"one{EOT}two")
    assert f'allowed_special={{"{EOT}"}}' in str(error.value)
    assert "encode_ordinary" in str(error.value)


@pytest.mark.parametrize("allowed", ["all", {EOT}, [EOT], (EOT,)])
def test_special_tokens_that_are_allowed(tokenizer, allowed):
    one, two = tokenizer.encode("one"), tokenizer.encode("two")
    assert tokenizer.encode(f"one{EOT}two", allowed) == [*one, 299, *two]
    assert tokenizer.encode(EOT * 2, allowed) == [299, 299]
    assert tokenizer.encode("one", allowed) == one


def test_special_tokens_as_text(tokenizer):
    ids = tokenizer.encode_ordinary(EOT)
    assert len(ids) > 1
    assert tokenizer.eot not in ids
    assert tokenizer.decode(ids) == tokenizer.decode([tokenizer.eot]) == EOT


def test_several_special_tokens():
    both = Tokenizer([bytes([b]) for b in BYTES] + [b"<a>", b"<b>"], [], {"<a>": 256, "<b>": 257})
    assert both.encode("<b>!<a>", allowed_special="all") == [257, 0, 256]
    with pytest.raises(ValueError, match="special token <a>"):
        both.encode("<b>!<a>", allowed_special={"<b>"})


def test_a_lone_surrogate_is_refused_at_its_place(tokenizer):
    for encode in (tokenizer.encode, tokenizer.encode_ordinary, lambda text: tokenizer.encode_batch(["", text])):
        with pytest.raises(ValueError, match=r"U\+D800.*character 4"):
            encode("two \ud800 words")


def test_half_a_character(tokenizer):
    ids = tokenizer.encode_ordinary("é")
    half = [index for index in range(256) if tokenizer.token_bytes(index) == "é".encode()[:1]]
    assert tokenizer.decode(half) == "\N{REPLACEMENT CHARACTER}"
    assert tokenizer.decode(half, errors="ignore") == ""
    assert tokenizer.decode(ids, errors="strict") == "é"
    with pytest.raises(UnicodeDecodeError):
        tokenizer.decode(half, errors="strict")


@given(text=st.text(), sizes=st.lists(st.integers(1, 4)))
def test_ids_that_arrive_one_after_another(tokenizer, text, sizes):
    """Every part is whole characters, the parts are the text, and nothing waits longer than for its character."""
    ids, decoder, parts = tokenizer.encode_ordinary(text), tokenizer.incremental_decoder(), []
    start = 0
    for size in [*sizes, len(ids)]:
        parts.append(decoder.decode(ids[start : start + size]))
        start += size
        waiting = len(tokenizer.decode_bytes(ids[:start])) - len("".join(parts).encode())
        assert 0 <= waiting <= 3
    assert "".join(parts) == text
    assert decoder.decode([], final=True) == ""


@given(ids=st.lists(st.integers(0, 298)))
def test_any_ids_that_arrive_one_after_another(tokenizer, ids):
    decoder = tokenizer.incremental_decoder()
    assert "".join([*(decoder.decode([index]) for index in ids), decoder.decode([], final=True)]) == tokenizer.decode(
        ids
    )


@pytest.mark.parametrize("index", [-1, 300, 2**40])
def test_an_id_outside_the_vocabulary(tokenizer, index):
    with pytest.raises(ValueError, match=f"id {index} is outside the vocabulary of 300 entries"):
        tokenizer.decode([1, index])


def test_without_end_of_text():
    bare = Tokenizer([bytes([b]) for b in BYTES], [], {})
    assert bare.vocab_size == 256
    assert bare.encode(EOT) == bare.encode_ordinary(EOT)
    with pytest.raises(WholeGPTError, match=r"no <\|endoftext\|>"):
        _ = bare.eot


def test_a_vocabulary_without_all_bytes_is_refused():
    with pytest.raises(WholeGPTError, match="no entry for byte 0x41"):
        Tokenizer([bytes([b]) for b in BYTES if b != 0x41], [], {})


def test_a_merge_without_its_token_is_refused():
    with pytest.raises(WholeGPTError, match="merge 1 gives a token that is not in the vocabulary"):
        Tokenizer([bytes([b]) for b in BYTES], [(0, 1)], {})
