"""The three file formats give one tokenizer, other software reads what is written, broken files are refused."""

import json

import pytest
import tiktoken
from tokenizers import Tokenizer as Peer
from tokenizers import decoders, models, pre_tokenizers
from transformers import GPT2TokenizerFast

from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import Tokenizer, files

TEXT = "It's late; we'll go home.\n\n  Où est l'école? 東京 \N{GRINNING FACE} 1234  "


def same(one, other):
    return (one.vocabulary, one.merges, one.special) == (other.vocabulary, other.merges, other.special)


@pytest.fixture
def saved(tokenizer, tmp_path):
    """A folder with vocab.json and merges.txt."""
    tokenizer.save(tmp_path)
    return tmp_path


def single(saved):
    """The same vocabulary as Hugging Face's library writes it in one file."""
    peer = Peer(models.BPE.from_file(str(saved / "vocab.json"), str(saved / "merges.txt")))
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.decoder = decoders.ByteLevel()
    peer.add_special_tokens(["<|endoftext|>"])
    return peer


def test_save_and_load(tokenizer, saved):
    assert sorted(path.name for path in saved.iterdir()) == ["merges.txt", "vocab.json"]
    for path in (saved, str(saved), saved / "vocab.json", saved / "merges.txt"):
        assert same(Tokenizer.load(path), tokenizer)


def test_the_names_of_the_release(tokenizer, saved):
    (saved / "vocab.json").rename(saved / "encoder.json")
    (saved / "merges.txt").rename(saved / "vocab.bpe")
    assert same(Tokenizer.load(saved), tokenizer)
    assert same(Tokenizer.load(saved / "encoder.json"), tokenizer)


@pytest.mark.parametrize("merges_as_text", [True, False])
def test_one_file(tokenizer, saved, tmp_path_factory, merges_as_text):
    folder = tmp_path_factory.mktemp("single")
    content = json.loads(single(saved).to_str())
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in content["model"]["merges"]]
    content["model"]["merges"] = [" ".join(pair) for pair in pairs] if merges_as_text else pairs
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert same(Tokenizer.load(folder), tokenizer)
    assert same(Tokenizer.load(folder / "tokenizer.json"), tokenizer)


def test_line_ends_of_another_system(tokenizer, saved):
    content = (saved / "merges.txt").read_bytes()
    (saved / "merges.txt").write_bytes(content.replace(b"\n", b"\r\n"))
    assert same(Tokenizer.load(saved), tokenizer)


def test_other_software_reads_what_is_written(tokenizer, saved):
    expected = tokenizer.encode_ordinary(TEXT)
    assert single(saved).encode(TEXT).ids == expected
    theirs = GPT2TokenizerFast.from_pretrained(saved)
    assert theirs(TEXT)["input_ids"] == expected
    assert theirs.eos_token_id == tokenizer.eot


def test_the_released_vocabulary_equals_tiktoken(gpt2):
    special = gpt2.special
    ranks = {token: index for index, token in enumerate(gpt2.vocabulary) if index not in special.values()}
    peer = tiktoken.Encoding("ours", pat_str=tiktoken_pattern(), mergeable_ranks=ranks, special_tokens=special)
    assert gpt2.encode_ordinary(TEXT) == peer.encode_ordinary(TEXT)


def tiktoken_pattern():
    return r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"


def test_the_fixture_in_two_formats(fixtures):
    pair, one = files.load(fixtures / "hf-tiny" / "vocab.json"), files.load(fixtures / "hf-tiny" / "tokenizer.json")
    assert pair[:3] == one[:3]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", b"{"),
        ("vocab.json", b"\xff"),
        ("vocab.json", b"[]"),
        ("vocab.json", b"null"),
        ("vocab.json", b'{"a": 0, "b": 2}'),
        ("vocab.json", b'{"a": "0", "b": "1"}'),
        ("vocab.json", b'{"a": 0, "b": 0}'),
        ("vocab.json", b'{"a": [0]}'),
        ("vocab.json", '{"東": 0}'.encode()),
        ("vocab.json", b'{"a": 0}'),
        ("merges.txt", b"\xff\xfe"),
        ("merges.txt", b"#version: 0.2\na\n"),
        ("merges.txt", b"#version: 0.2\na b c\n"),
        ("merges.txt", b"#version: 0.2\nzzz q\n"),
        ("merges.txt", b"#version: 0.2\n~ ~\n"),
    ],
)
def test_a_broken_pair_of_files(saved, name, content):
    (saved / name).write_bytes(content)
    with pytest.raises(WholeGPTError, match=r"json|merge"):
        Tokenizer.load(saved)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_pair_without_its_half(saved, name):
    (saved / name).unlink()
    with pytest.raises(WholeGPTError, match=r"merges\.txt"):
        Tokenizer.load(saved)


MODEL = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([], "not a tokenizer.json"),
        ({}, "not a tokenizer.json"),
        ({"model": []}, "not a tokenizer.json"),
        ({"model": {"vocab": {"a": 0}}}, "not a tokenizer.json"),
        ({"model": {"vocab": 3, "merges": []}}, "not a tokenizer.json"),
        ({"model": MODEL | {"merges": 3}, "pre_tokenizer": BYTE_LEVEL}, r"tokenizer\.json"),
        ({"model": MODEL | {"merges": [3]}, "pre_tokenizer": BYTE_LEVEL}, r"tokenizer\.json"),
        ({"model": MODEL | {"merges": ["a"]}, "pre_tokenizer": BYTE_LEVEL}, r"tokenizer\.json"),
        ({"model": MODEL, "added_tokens": [{"id": 1}], "pre_tokenizer": BYTE_LEVEL}, "not a tokenizer.json"),
        ({"model": MODEL, "added_tokens": None, "pre_tokenizer": BYTE_LEVEL}, r"tokenizer\.json"),
        ({"model": MODEL, "added_tokens": [{"id": 7, "content": "x", "special": True}], "pre_tokenizer": BYTE_LEVEL},
         "ids 0 to n - 1"),
        ({"model": MODEL, "pre_tokenizer": {"type": "Whitespace"}}, "another way than GPT-2"),
        ({"model": MODEL, "pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": True}}, "another way than GPT-2"),
        ({"model": MODEL, "pre_tokenizer": BYTE_LEVEL | {"use_regex": False}}, "another way than GPT-2"),
        ({"model": MODEL, "pre_tokenizer": None}, "another way than GPT-2"),
        ({"model": MODEL, "pre_tokenizer": BYTE_LEVEL}, "no entry for byte"),
    ],
)  # fmt: skip
def test_a_broken_single_file(tmp_path, content, fault):
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(WholeGPTError, match=fault):
        Tokenizer.load(tmp_path)


def test_what_holds_no_tokenizer(tmp_path):
    with pytest.raises(WholeGPTError, match=r"holds no tokenizer: expected vocab\.json"):
        Tokenizer.load(tmp_path)
    with pytest.raises(WholeGPTError, match="nowhere does not exist"):
        Tokenizer.load("nowhere")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(WholeGPTError, match="is not JSON"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("content", [b"\xff", b"(unclosed"])
def test_a_broken_pattern(saved, content, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("WHOLEGPT_HOME", str(tmp_path_factory.mktemp("home")))  # nothing is remembered from before
    (saved / "pattern.txt").write_bytes(content)
    with pytest.raises(WholeGPTError, match="pattern"):
        Tokenizer.load(saved)
