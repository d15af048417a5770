"""Shards in the format of llm.c."""

import json

import numpy as np
import pytest

from wholegpt import documents
from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.bpe import BYTES, END_OF_TEXT
from wholegpt.training import shards
from wholegpt.training.shards import ShardsOptions, Tokens, build


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


def test_shard_of_llmc_is_written_to_the_byte(fixtures, gpt2, tmp_path, monkeypatch):
    folder = fixtures / "shards"
    texts = [json.loads(line)["text"] for line in (folder / "docs.jsonl").read_text().splitlines()]
    counts = shards.write_part(tmp_path, "val", iter(texts), gpt2)
    assert (tmp_path / "val_000000.bin").read_bytes() == (folder / "llmc_val_000000.bin").read_bytes()
    facts = json.loads((folder / "expected.json").read_text())
    assert counts == {
        "documents": facts["documents"],
        "tokens": facts["llmc_tokens"],
        "bytes": sum(len(text.encode()) for text in texts),
        "words": sum(len(text.split()) for text in texts),
    }
    assert [gpt2.decode(ids) for ids in Tokens(tmp_path, "val", 50257).documents(gpt2.eot)] == list(filter(None, texts))

    monkeypatch.setattr(shards, "SHARD_TOKENS", 1000)
    shards.write_part(tmp_path, "small", iter(texts), gpt2)
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("small_*.bin"))]
    assert sizes == [1024 + 2000] * 5 + [1024 + 2 * (facts["llmc_tokens"] - 5000)]
    one, many = Tokens(tmp_path, "val", 50257), Tokens(tmp_path, "small", 50257)
    assert np.array_equal(one.read(0, len(one)), many.read(0, len(many)))
    assert list(one.documents(gpt2.eot)) == list(many.documents(gpt2.eot))
    assert np.array_equal(one.counts(50257), many.counts(50257))


def test_tokens_come_back_as_the_corpus(run):
    tokenizer = Tokenizer.load(run.parent / "shards")
    for part, name in (("train", "train"), ("heldout", "val")):
        texts = [document.text for document in documents.read(run.parent / "corpus", part)]
        found = Tokens(run.parent / "shards", name, tokenizer.vocab_size).documents(tokenizer.eot)
        assert [tokenizer.decode(ids) for ids in found] == texts


@pytest.mark.parametrize(("entries", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_large_vocabularies_take_four_bytes(run, tmp_path, entries, dtype):
    large = [bytes([byte]) for byte in BYTES] + [b"unused %d" % number for number in range(entries - 257)]
    (tmp_path / "tokenizer").mkdir()
    Tokenizer([*large, END_OF_TEXT.encode()], [], {END_OF_TEXT: entries - 1}).save(tmp_path / "tokenizer")
    build(ShardsOptions(run.parent / "corpus", tmp_path / "shards", str(tmp_path / "tokenizer")))
    found = shards.read_shard(tmp_path / "shards" / "val_000000.bin", entries)
    assert found.dtype == dtype
    assert found[0] == entries - 1


@pytest.mark.parametrize("cut", [0, 100, 1023, 1025, 1029])
def test_a_file_that_was_cut_off(tmp_path, cut):
    shards.write_shard(tmp_path / "a.bin", np.arange(3, dtype=np.uint16))
    (tmp_path / "a.bin").write_bytes((tmp_path / "a.bin").read_bytes()[:cut])
    with pytest.raises(WholeGPTError, match=r"a\.bin"):
        shards.read_shard(tmp_path / "a.bin", 10)


@pytest.mark.parametrize("tokens", [-1, 2, 4, 2**31 - 1])
def test_a_header_that_lies(tmp_path, tokens):
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, tokens
    (tmp_path / "a.bin").write_bytes(header.tobytes() + bytes(6))
    with pytest.raises(WholeGPTError, match="has 1030 bytes, its header"):
        shards.read_shard(tmp_path / "a.bin", 10)


def test_a_token_outside_the_vocabulary(tmp_path):
    shards.write_shard(tmp_path / "train_000000.bin", np.array([1, 10], np.uint16))
    assert len(Tokens(tmp_path, "train", 11)) == 2
    with pytest.raises(WholeGPTError, match="holds token 10, outside the vocabulary of 10"):
        Tokens(tmp_path, "train", 10)


def test_missing_shards_are_named(tmp_path):
    with pytest.raises(WholeGPTError, match=r"no shards of the part val \(val_000000\.bin\)"):
        Tokens(tmp_path, "val", 10)


def test_a_folder_of_texts_is_no_corpus(tmp_path, run):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a text")
    for path in (tmp_path / "texts", tmp_path / "texts" / "a.txt"):
        with pytest.raises(WholeGPTError, match="no held-out part; first make a corpus of it"):
            build(ShardsOptions(path, tmp_path / "shards", str(run.parent / "tokenizer")))
    assert not (tmp_path / "shards").exists()
