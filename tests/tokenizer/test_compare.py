"""`tokenizer compare`: figures counted by hand, groups, both forms of output."""

import json

import numpy as np
import pytest

from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import Tokenizer, compare
from wholegpt.tokenizer.bpe import BYTE_TO_ID, BYTES, END_OF_TEXT
from wholegpt.tokenizer.compare import CompareOptions


def learnt(*tokens):
    """256 bytes, each token of two as a merge, the end of text."""
    merges = [(BYTE_TO_ID[token[0]], BYTE_TO_ID[token[1]]) for token in tokens]
    vocabulary = [*(bytes([byte]) for byte in BYTES), *tokens, END_OF_TEXT.encode()]
    return Tokenizer(vocabulary, merges, {END_OF_TEXT: len(vocabulary) - 1})


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Two vocabularies, of which one knows "ab" and the other "é", and no way to the released one."""
    monkeypatch.setattr(compare, "RELEASED", str(tmp_path / "two"))
    for name, token in (("one", b"ab"), ("two", "é".encode())):
        (tmp_path / name).mkdir()
        learnt(token).save(tmp_path / name)
    lines = [{"text": "ab ab", "kind": "plain"}, {"text": "éa 東", "kind": "wide"}, {"text": "ab", "kind": "plain"}]
    (tmp_path / "text.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return lambda **more: CompareOptions((str(tmp_path / "one"),), tmp_path / "text.jsonl", **more)


def test_figures_by_hand(options, capsys, tmp_path):
    compare.compare(options(by="kind", json=True))
    found = json.loads(capsys.readouterr().out)
    one, two = (str(tmp_path / name) for name in ("one", "two"))
    # 5 + 7 + 2 bytes in 5 words. "one": ab, space, a, b (of " ab"): the space leads its piece, and " ab" holds "ab":
    # 3 + 7 + 1 tokens; é and 東 are cut. Used: ab, space, a, two bytes of é, three of 東.
    assert found["all"][one] == pytest.approx(
        {"bytes_per_token": 14 / 11, "tokens_per_word": 11 / 5, "vocabulary_use": 8 / 257, "split_characters": 1.0}
    )
    # "two": 5 + 6 + 2 tokens; only 東 is cut. Used: a, b, space, é, three of 東.
    assert found["all"][two] == pytest.approx(
        {"bytes_per_token": 14 / 13, "tokens_per_word": 13 / 5, "vocabulary_use": 7 / 257, "split_characters": 0.5}
    )
    assert found["plain"][one]["bytes_per_token"] == pytest.approx(7 / 4)
    assert found["wide"][two]["split_characters"] == 0.5
    assert set(found) == {"all", "plain", "wide"}


def test_tables(options, capsys):
    compare.compare(options(by="kind"))
    printed = capsys.readouterr().out
    for word in ("258", "1.273", "1.077", "plain", "wide", "100.0%", "50.0%"):
        assert word in printed


def test_a_field_that_no_document_has(options):
    with pytest.raises(WholeGPTError, match=r"document text\.jsonl:1 has no field source; it has kind"):
        compare.compare(options(by="source"))


def test_without_the_released_vocabulary(options, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "RELEASED", str(tmp_path / "nothing"))
    compare.compare(options(json=True))
    printed = capsys.readouterr()
    assert list(json.loads(printed.out)["all"]) == [str(tmp_path / "one")]
    assert "without GPT-2's own tokenizer" in printed.err


@pytest.mark.parametrize("text", ["", "abc", "é", "aé東\N{GRINNING FACE}", "\N{GRINNING FACE}" * 3])
def test_a_token_for_each_byte_cuts_every_wide_character(text):
    content = text.encode()
    wide = sum(len(character.encode()) > 1 for character in text)
    found = compare.characters_cut(np.frombuffer(content, np.uint8), np.arange(1, len(content) + 1))
    assert found == (wide, wide)
