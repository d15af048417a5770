"""The cached tables of a vocabulary: the same tokenizer from the files and from the cache, which never lies."""

import json
from pathlib import Path

import numpy as np
import pytest

from wholegpt.tokenizer import Tokenizer, tables


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHOLEGPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def saved(folder: Path, special: dict[str, int]) -> Path:
    """256 bytes, one merge, one special token; as vocab.json and merges.txt."""
    folder.mkdir()
    vocabulary = [bytes([byte]) for byte in range(256)] + [b"ab", b"<|endoftext|>"]
    Tokenizer(vocabulary, [(97, 98)], special).save(folder)
    (folder / "tokenizer.json").unlink()
    return folder


def test_the_cache_gives_the_same_tokenizer(home: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "tokenizer", {"<|endoftext|>": 257})
    first = Tokenizer.load(folder)
    assert len(list(home.glob("tokenizers/*.npz"))) == 1
    second = Tokenizer.load(folder)
    for tokenizer in (first, second):
        assert tokenizer.encode("abc<|endoftext|>", allowed_special="all") == [256, 99, 257]
        assert tokenizer.merges == [(97, 98)]
        assert tokenizer.special == {"<|endoftext|>": 257}
    assert first.vocabulary == second.vocabulary
    assert np.array_equal(first._tables.merges, second._tables.merges)


def test_other_files_are_another_tokenizer(home: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "tokenizer", {"<|endoftext|>": 257})
    assert Tokenizer.load(folder).encode("ab") == [256]
    (folder / "merges.txt").write_text("#version: 0.2\n")
    assert Tokenizer.load(folder).encode("ab") == [97, 98]
    assert len(list(home.glob("tokenizers/*.npz"))) == 2


@pytest.mark.parametrize("damage", [b"", b"PK", b"not a zip file"])
def test_a_broken_cache_is_made_anew(home: Path, tmp_path: Path, damage: bytes) -> None:
    folder = saved(tmp_path / "tokenizer", {"<|endoftext|>": 257})
    Tokenizer.load(folder)
    (cache,) = home.glob("tokenizers/*.npz")
    cache.write_bytes(damage or cache.read_bytes()[:100])
    assert Tokenizer.load(folder).encode("ab") == [256]
    assert tables.Tables.load(cache).vocabulary[256] == b"ab"


def test_files_that_do_not_fit_are_not_cached(home: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "tokenizer", {"<|endoftext|>": 257})
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "merges.txt").write_text("#version: 0.2\nab c\n")
    with pytest.raises(Exception, match="merge 1 gives a token that is not in the vocabulary"):
        Tokenizer.load(folder)
    assert len(vocabulary) == 258
    assert not list(home.glob("tokenizers/*"))
