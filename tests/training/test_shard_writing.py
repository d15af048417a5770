"""Writing shards: the same bytes by any number of threads, and those that plain Python would write."""

import random
from pathlib import Path

import numpy as np
import pytest

from wholegpt.tokenizer import Tokenizer
from wholegpt.training import shards


@pytest.fixture(scope="module")
def gpt2() -> Tokenizer:
    return Tokenizer.load("gpt2")


def texts(number: int) -> list[str]:
    numbers = random.Random(number)
    return ["".join(numbers.choices("ab  c'é\n\x1c1中", k=numbers.randint(0, 2000))) for _ in range(number)]


def expected(tokenizer: Tokenizer, documents: list[str]) -> tuple[list[int], dict[str, int]]:
    ids = [index for text in documents for index in [tokenizer.eot, *tokenizer.encode_ordinary(text)]]
    size, words = sum(len(text.encode()) for text in documents), sum(len(text.split()) for text in documents)
    return ids, {"documents": len(documents), "tokens": len(ids), "bytes": size, "words": words}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_files_and_counts_by_any_threads(tmp_path: Path, gpt2: Tokenizer, threads: int) -> None:
    documents = texts(2000)
    ids, counts = expected(gpt2, documents)
    assert shards.write_part(tmp_path, "train", iter(documents), gpt2, threads) == counts
    shards.write_shard(tmp_path / "expected.bin", np.array(ids, np.uint16))
    assert (tmp_path / "train_000000.bin").read_bytes() == (tmp_path / "expected.bin").read_bytes()
    assert not (tmp_path / "train_000001.bin").exists()


@pytest.mark.parametrize("number", [1, 60])
def test_full_files_are_closed(tmp_path: Path, gpt2: Tokenizer, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 1000)
    documents = texts(number)
    ids, _ = expected(gpt2, documents)
    shards.write_part(tmp_path, "val", iter(documents), gpt2)
    files = sorted(tmp_path.glob("val_*.bin"))
    assert len(files) == -(-len(ids) // 1000)
    parts = [shards.read_shard(file, gpt2.vocab_size).tolist() for file in files]
    assert {len(part) for part in parts[:-1]} <= {1000}
    assert [index for part in parts for index in part] == ids


def test_a_part_that_fills_its_files_exactly(tmp_path: Path, gpt2: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 4)
    shards.write_part(tmp_path, "train", iter(["a b c", "d e f"]), gpt2)
    assert [file.name for file in sorted(tmp_path.glob("*.bin"))] == ["train_000000.bin", "train_000001.bin"]


def test_an_empty_part_is_one_empty_file(tmp_path: Path, gpt2: Tokenizer) -> None:
    shards.write_part(tmp_path, "val", iter([]), gpt2)
    assert len(shards.read_shard(tmp_path / "val_000000.bin", gpt2.vocab_size)) == 0


def test_a_large_vocabulary_takes_uint32(tmp_path: Path) -> None:
    vocabulary = [bytes([byte]) for byte in range(256)] + [b"ab%d" % number for number in range(65_300)]
    tokenizer = Tokenizer([*vocabulary, b"<|endoftext|>"], [], {"<|endoftext|>": len(vocabulary)})
    shards.write_part(tmp_path, "train", iter(["xyz"]), tokenizer)
    tokens = shards.read_shard(tmp_path / "train_000000.bin", tokenizer.vocab_size)
    assert tokens.dtype == np.uint32
    assert tokens.tolist() == [65_556, 120, 121, 122]
