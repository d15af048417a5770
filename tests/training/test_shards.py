"""Shards in the format of llm.c."""

import json

import numpy as np
import pytest

from wholegpt.errors import WholeGPTError
from wholegpt.training import shards
from wholegpt.training.shards import Tokens


def test_header(tmp_path):
    shards.write_shard(tmp_path / "a.bin", np.array([7, 8, 9], np.uint16))
    content = (tmp_path / "a.bin").read_bytes()
    assert np.frombuffer(content[:12], "<i4").tolist() == [20240520, 1, 3]
    assert content[12:1024] == bytes(1012)
    assert content[1024:] == b"\x07\x00\x08\x00\x09\x00"
    shards.write_shard(tmp_path / "b.bin", np.array([70_000], np.uint32))
    assert np.frombuffer((tmp_path / "b.bin").read_bytes()[:8], "<i4").tolist() == [20240801, 7]
    assert shards.read_shard(tmp_path / "b.bin", 70_001).tolist() == [70_000]


def test_shard_of_llmc(shared):
    folder = shared / "fixtures" / "shards"
    tokens = shards.read_shard(folder / "llmc_val_000000.bin", 50257)
    documents = [json.loads(line) for line in (folder / "docs.jsonl").read_text().splitlines()]
    assert int((tokens == 50256).sum()) == len(documents)
    assert tokens[0] == 50256


@pytest.mark.parametrize("name", ["bad_magic", "bad_short", "bad_version", "bad_token_60000"])
def test_bad_shards_are_refused(shared, name):
    with pytest.raises(WholeGPTError, match=name):
        shards.read_shard(shared / "fixtures" / "shards" / f"{name}.bin", 50257)


def test_files_read_as_one_sequence(tmp_path):
    everything = np.array([0, 5, 6, 0, 7, 0, 8, 9, 9], np.uint16)
    for index, (start, stop) in enumerate(((0, 2), (2, 5), (5, 9))):
        shards.write_shard(tmp_path / f"train_{index:06d}.bin", everything[start:stop])
    tokens = Tokens(tmp_path, "train", 10)
    for start in range(9):
        for length in range(10 - start):
            assert np.array_equal(tokens.read(start, length), everything[start : start + length])
    with pytest.raises(IndexError):
        tokens.read(5, 5)
    assert list(tokens.documents(eot=0)) == [[5, 6], [7], [8, 9, 9]]
    assert tokens.counts(10).tolist() == [3, 0, 0, 0, 0, 1, 1, 1, 1, 2]
