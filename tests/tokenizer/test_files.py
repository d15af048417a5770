"""The three file formats give one tokenizer, other software reads what is written, broken files are refused."""

import json

import pytest
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tokenizers import Tokenizer as Peer
from tokenizers import decoders, models, pre_tokenizers
from transformers import AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast

from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import Tokenizer, files
from wholegpt.tokenizer.bpe import PATTERN

EOT = "<|endoftext|>"
TEXT = "It's late; we'll go home.\n\n  Où est l'école? 東京 \N{GRINNING FACE} 1234  "


def same(one, other):
    return (one.vocabulary, one.merges, one.special) == (other.vocabulary, other.merges, other.special)


@pytest.fixture
def saved(tokenizer, tmp_path):
    """A folder with vocab.json and merges.txt alone."""
    tokenizer.save(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    return tmp_path


def single(saved):
    """The same vocabulary as Hugging Face's library writes it in one file."""
    peer = Peer(models.BPE.from_file(str(saved / "vocab.json"), str(saved / "merges.txt")))
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.decoder = decoders.ByteLevel()
    peer.add_special_tokens(["<|endoftext|>"])
    return peer


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    names = ["merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for path in (tmp_path, str(tmp_path), *(tmp_path / name for name in names if name != "tokenizer_config.json")):
        assert same(Tokenizer.load(path), tokenizer)


def test_the_pair_alone(tokenizer, saved):
    for path in (saved, saved / "vocab.json", saved / "merges.txt"):
        assert same(Tokenizer.load(path), tokenizer)


def test_the_names_of_the_release(tokenizer, tmp_path):
    tokenizer.save_as_released(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.json", "vocab.bpe"]
    assert same(Tokenizer.load(tmp_path), tokenizer)
    assert same(Tokenizer.load(tmp_path / "encoder.json"), tokenizer)


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


def test_transformers_and_tokenizers_read_what_is_written(tokenizer, tmp_path, caplog):
    tokenizer.save(tmp_path)
    expected = tokenizer.encode_ordinary(TEXT)
    peer = Peer.from_file(str(tmp_path / "tokenizer.json"))
    with caplog.at_level("WARNING"):
        automatic = AutoTokenizer.from_pretrained(tmp_path)
    assert not caplog.records
    assert isinstance(automatic, GPT2Tokenizer)
    for theirs in (automatic, PreTrainedTokenizerFast.from_pretrained(tmp_path)):
        assert theirs(TEXT)["input_ids"] == expected
        assert theirs.decode(expected) == TEXT
        assert theirs(f"a{EOT}b")["input_ids"] == tokenizer.encode(f"a{EOT}b", "all")
        assert (theirs.eos_token_id, len(theirs)) == (tokenizer.eot, tokenizer.vocab_size)
    assert peer.encode(TEXT).ids == single(tmp_path).encode(TEXT).ids == expected
    assert peer.decode(expected, skip_special_tokens=False) == TEXT


def test_tiktoken_reads_what_is_written(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    tokenizer.save_as_released(tmp_path)
    files_of_release = str(tmp_path / "vocab.bpe"), str(tmp_path / "encoder.json")
    ranks = data_gym_to_mergeable_bpe_ranks(*files_of_release)
    peer = tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=tokenizer.special)
    assert peer.encode(TEXT + EOT, allowed_special="all") == tokenizer.encode(TEXT + EOT, "all")


def test_another_pattern_stands_in_tokenizer_json(tokenizer, tmp_path):
    pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"
    other = Tokenizer(tokenizer.vocabulary, tokenizer.merges, tokenizer.special, pattern)
    other.save(tmp_path)
    for path in (tmp_path, tmp_path / "vocab.json"):
        again = Tokenizer.load(path)
        assert again.pattern == pattern
        assert same(again, other)
    expected = other.encode_ordinary(TEXT)
    assert expected != tokenizer.encode_ordinary(TEXT)
    assert AutoTokenizer.from_pretrained(tmp_path)(TEXT)["input_ids"] == expected
    with pytest.raises(WholeGPTError, match=r"encoder\.json and vocab\.bpe have no place for a pattern"):
        other.save_as_released(tmp_path)


def test_the_released_vocabulary_equals_tiktoken(gpt2):
    special = gpt2.special
    ranks = {token: index for index, token in enumerate(gpt2.vocabulary) if index not in special.values()}
    peer = tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)
    assert gpt2.encode_ordinary(TEXT) == peer.encode_ordinary(TEXT)


def test_the_fixture_in_two_formats(fixtures, tmp_path):
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((fixtures / "hf-tiny" / name).read_bytes())
    pair, one = (files.read(files.find(path)) for path in (tmp_path, fixtures / "hf-tiny" / "tokenizer.json"))
    assert pair == one


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
SPLIT = {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False}


def sequence(*parts):
    """A pre-tokenizer of several steps, the last of which only turns bytes into characters."""
    return {"type": "Sequence", "pretokenizers": [*parts, BYTE_LEVEL | {"use_regex": False}]}


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
        ({"model": MODEL, "pre_tokenizer": {"type": "Whitespace"}}, "splits text otherwise"),
        ({"model": MODEL, "pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": True}}, "splits text otherwise"),
        ({"model": MODEL, "pre_tokenizer": BYTE_LEVEL | {"use_regex": False}}, "splits text otherwise"),
        ({"model": MODEL, "pre_tokenizer": None}, "splits text otherwise"),
        ({"model": MODEL, "pre_tokenizer": 3}, "not a tokenizer.json"),
        ({"model": MODEL, "pre_tokenizer": sequence(SPLIT, BYTE_LEVEL)}, "splits text otherwise"),
        ({"model": MODEL, "pre_tokenizer": sequence(SPLIT | {"behavior": "Removed"})}, "splits text otherwise"),
        ({"model": MODEL, "pre_tokenizer": sequence(SPLIT | {"pattern": {"String": " "}})}, "splits text otherwise"),
        ({"model": MODEL, "pre_tokenizer": sequence(SPLIT, SPLIT)}, "splits text otherwise"),
        ({"model": MODEL, "pre_tokenizer": sequence(SPLIT | {"pattern": {"Regex": "(a"}})}, "no regular expression"),
        ({"model": MODEL, "pre_tokenizer": BYTE_LEVEL, "normalizer": {"type": "NFC"}}, "the setting normalizer"),
        ({"model": MODEL | {"ignore_merges": True}, "pre_tokenizer": BYTE_LEVEL}, "the setting ignore_merges"),
        ({"model": MODEL | {"dropout": 0.1}, "pre_tokenizer": BYTE_LEVEL}, "the setting dropout"),
        ({"model": MODEL, "pre_tokenizer": BYTE_LEVEL}, "no entry for byte"),
    ],
)  # fmt: skip
def test_a_broken_single_file(tmp_path, content, fault):
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(WholeGPTError, match=fault):
        Tokenizer.load(tmp_path)


def test_what_holds_no_tokenizer(tmp_path):
    with pytest.raises(WholeGPTError, match=r"holds no tokenizer: expected tokenizer\.json"):
        Tokenizer.load(tmp_path)
    with pytest.raises(WholeGPTError, match="nowhere does not exist"):
        Tokenizer.load("nowhere")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(WholeGPTError, match="is not JSON"):
        Tokenizer.load(tmp_path)
