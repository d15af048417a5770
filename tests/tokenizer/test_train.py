"""The verbs `tokenizer train`, `encode` and `decode`."""

import io
import json
import sys

import pytest

from wholegpt import documents
from wholegpt.artifact import read_manifest
from wholegpt.corpus.build import BuildOptions, build
from wholegpt.documents import HELD_OUT, TRAIN
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.train import DecodeOptions, EncodeOptions, TokenizerTrainOptions, decode, encode, train


def standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_counts_are_those_of_a_recount(run):
    learnt = Tokenizer.load(run.parent / "tokenizer")
    texts = [document.text for document in documents.read(run.parent / "corpus", TRAIN)]
    counts = read_manifest(run.parent / "tokenizer")["counts"]
    assert counts["vocab_size"] == learnt.vocab_size == 300
    assert counts["bytes"] == sum(len(text.encode()) for text in texts)
    assert counts["tokens"] == sum(len(learnt.encode_ordinary(text)) for text in texts)


def test_end_of_text_is_the_last_entry(run):
    assert Tokenizer.load(run.parent / "tokenizer").special == {"<|endoftext|>": 299}


def test_the_held_out_part_is_not_looked_at(tmp_path):
    lines = [{"text": f"word{number} " * 3} for number in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    build(BuildOptions((str(tmp_path / "a.jsonl"),), tmp_path / "corpus", held_out=0.3))
    held = [document.text.split()[0] for document in documents.read(tmp_path / "corpus", HELD_OUT)]
    train(TokenizerTrainOptions(tmp_path / "corpus", tmp_path / "tokenizer", 50_000))
    learnt = Tokenizer.load(tmp_path / "tokenizer")
    # With merges to the last pair, every word of the training part is one token, and only those are.
    assert held
    assert all(len(learnt.encode_ordinary(" " + word[:4])) == 1 for word in held)
    for document in documents.read(tmp_path / "corpus", TRAIN):
        assert len(learnt.encode_ordinary(" " + document.text.split()[0])) == 2
    numbers = {document.text.split()[0][4:] for document in documents.read(tmp_path / "corpus", TRAIN)}
    unseen = [word[4:] for word in held if len(word) == 6 and word[4:] not in numbers]
    assert unseen
    assert all(len(learnt.encode_ordinary(number)) == 2 for number in unseen)


def test_fewer_entries_where_no_pair_is_left(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("ab ab")
    train(TokenizerTrainOptions(tmp_path / "a.txt", tmp_path / "tokenizer", 1000))
    # 256 bytes, ab, " ab", and the end of text.
    assert Tokenizer.load(tmp_path / "tokenizer").vocab_size == 259
    assert "259 entries instead of 1,000" in capsys.readouterr().err


def test_a_second_call_does_nothing(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("ab ab")
    options = TokenizerTrainOptions(tmp_path / "a.txt", tmp_path / "tokenizer", 258)
    train(options)
    before = read_manifest(tmp_path / "tokenizer")
    train(options)
    assert read_manifest(tmp_path / "tokenizer") == before
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("size", [-1, 0, 257])
def test_too_small_a_vocabulary(tmp_path, size):
    with pytest.raises(UsageError, match=f"--vocab-size is {size}, expected more than 257"):
        TokenizerTrainOptions(tmp_path, tmp_path, size)


def test_encode_and_decode(run, monkeypatch, capsysbinary):
    name, text = str(run.parent / "tokenizer"), "The river: Où? <|endoftext|>\n"
    standard_input(monkeypatch, text.encode())
    encode(EncodeOptions(name))
    printed = capsysbinary.readouterr().out
    assert printed.decode().split() == [str(index) for index in Tokenizer.load(name).encode_ordinary(text)]
    standard_input(monkeypatch, printed)
    decode(DecodeOptions(name))
    assert capsysbinary.readouterr().out == text.encode()


def test_encode_shows_the_tokens(run, monkeypatch, capsys):
    standard_input(monkeypatch, b"a river")
    encode(EncodeOptions(str(run.parent / "tokenizer"), tokens=True))
    lines = capsys.readouterr().out.splitlines()
    assert "".join(json.loads(line.split(" ", 1)[1]) for line in lines) == "a river"


def test_broken_standard_input(run, monkeypatch):
    name = str(run.parent / "tokenizer")
    standard_input(monkeypatch, b"ab\xff")
    with pytest.raises(WholeGPTError, match=r"not UTF-8 text .* at byte 2"):
        encode(EncodeOptions(name))
    for content in (b"12 twelve", b"999999"):
        standard_input(monkeypatch, content)
        with pytest.raises(WholeGPTError, match="does not hold ids"):
            decode(DecodeOptions(name))
