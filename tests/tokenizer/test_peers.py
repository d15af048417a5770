"""The ids of other people's software: fixtures, tiktoken, Hugging Face tokenizers."""

import hashlib
import json
import lzma
import random
from pathlib import Path
from typing import Any

import pytest

from wholegpt import sources
from wholegpt.tokenizer import Tokenizer, bpe

FIXTURES = Path(__file__).parents[2].parent / "shared" / "data" / "fixtures" / "tokenizer"
needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"{FIXTURES} is not there")


@pytest.fixture(scope="module")
def gpt2() -> Tokenizer:
    return Tokenizer.load("gpt2")


def same(ids: list[int], expected: dict[str, Any]) -> bool:
    """Long lists are given by their number, beginning, end and hash."""
    if "n" not in expected:
        return ids == expected["ids"]
    digest = hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()
    head, tail = expected["head"], expected["tail"]
    ends = (ids[: len(head)], ids[-len(tail) :])
    return (len(ids), digest, *ends) == (expected["n"], expected["sha256_of_comma_joined_ids"], head, tail)


@needs_fixtures
def test_every_fixture_string(gpt2: Tokenizer) -> None:
    checked = 0
    for line in lzma.decompress((FIXTURES / "gpt2_cases.jsonl.xz").read_bytes()).decode().splitlines():
        case = json.loads(line)
        text = case["s"] if "s" in case else case["repeat"] * case["times"]
        assert same(gpt2.encode(text, allowed_special="all"), case), case
        if "ids_ordinary" in case:
            assert gpt2.encode_ordinary(text) == case["ids_ordinary"]
        assert gpt2.decode(gpt2.encode_ordinary(text)) == text
        checked += 1
    assert checked == 3000


@needs_fixtures
def test_every_fixture_of_decoding(gpt2: Tokenizer) -> None:
    for case in json.loads((FIXTURES / "decode_cases.json").read_text(encoding="utf-8")):
        assert gpt2.decode_bytes(case["ids"]) == bytes.fromhex(case["bytes_hex"])
        assert gpt2.decode(case["ids"]) == case["text_errors_replace"]


SPACES = "\t\n\v\f\r \x1c\x1f\x85\xa0\u1680\u2000\u2002\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
CONTRACTIONS = [f"'{first}{second}" for first in "sStTdDmMlLvVrR" for second in ["", "l", "L", "e", "E"]]
RANGES = [(0, 0x80), (0, 0x250), (0x300, 0x370), (0x300, 0x1000), (0x2000, 0x3000), (0, 0xD800), (0xE000, 0x110000)]
GLUE = ["", "", " ", "  ", "'", "\u200d", "the", "12"]


def random_texts(number: int) -> list[str]:
    """Strings from every plane, with runs, combining marks, all kinds of white space, contractions in every case."""
    numbers = random.Random(11)
    texts = []
    for _ in range(number):
        parts = []
        for _ in range(numbers.randint(1, 12)):
            parts.append(chr(numbers.randrange(*numbers.choice(RANGES))) * numbers.choice([1, 1, 1, 2, 5]))
            parts.append(numbers.choice(numbers.choice([GLUE, GLUE, SPACES, CONTRACTIONS])))
        texts.append("".join(part for part in parts if not any("\ud800" <= char <= "\udfff" for char in part)))
    return texts


def as_tiktoken(tokenizer: Tokenizer) -> Any:
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {token: index for index, token in enumerate(tokenizer.vocabulary) if index != tokenizer.eot}
    special = tokenizer.special
    return tiktoken.Encoding("gpt2", pat_str=bpe.PATTERN, mergeable_ranks=ranks, special_tokens=special)


def test_random_texts_as_tiktoken(gpt2: Tokenizer) -> None:
    theirs = as_tiktoken(gpt2)
    texts = random_texts(100_000)
    ours = gpt2.encode_batch(texts)
    assert [text for text, ids in zip(texts, ours, strict=True) if theirs.encode_ordinary(text) != ids.tolist()] == []


@pytest.mark.parametrize("around", ["{}'s", "{}a1", "1 {} ", "!{}! "])
def test_every_code_point_as_tiktoken(gpt2: Tokenizer, around: str) -> None:
    """After a letter, number or space `'s` is a piece; after anything else the apostrophe belongs to the run."""
    theirs = as_tiktoken(gpt2)
    text = "".join(around.format(chr(point)) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    assert gpt2.encode_ordinary(text) == theirs.encode_ordinary(text)


def as_hugging_face() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    folder = sources.fetch("gpt2-vocab")
    model = tokenizers.models.BPE.from_file(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    theirs = tokenizers.Tokenizer(model)
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return theirs


def test_random_texts_as_hugging_face(gpt2: Tokenizer) -> None:
    theirs = as_hugging_face()
    texts = random_texts(100_000)
    ours = gpt2.encode_batch(texts)
    found = theirs.encode_batch(texts)
    assert [text for text, ids, other in zip(texts, ours, found, strict=True) if ids.tolist() != other.ids] == []


@pytest.mark.parametrize(
    "unit", ["a", " ", "\n", "!", "ab", "é", "東", "1", "'ll", "\u0301", "\xa0x", "\N{GRINNING FACE}"]
)
def test_runs_of_up_to_a_million_bytes(gpt2: Tokenizer, unit: str) -> None:
    theirs = as_hugging_face()
    for size in (10, 1_000, 30_000, 1_000_000):
        text = unit * (size // len(unit.encode())) + "x"
        ids = gpt2.encode_ordinary(text)
        assert ids == theirs.encode(text).ids
        assert gpt2.decode(ids) == text
