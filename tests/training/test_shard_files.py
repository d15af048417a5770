"""Files of tokens: the formats of llm.c and nanoGPT, told apart by what they begin with, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.errors import WholeGPTError
from wholegpt.training import shard_files
from wholegpt.training.shard_files import ShardWriter

UINT16, UINT32 = np.dtype("<u2"), np.dtype("<u4")


def test_header(tmp_path):
    shard_files.write(tmp_path / "a.bin", np.array([7, 8, 9], np.uint16))
    content = (tmp_path / "a.bin").read_bytes()
    assert np.frombuffer(content[:12], "<i4").tolist() == [20240520, 1, 3]
    assert content[12:1024] == bytes(1012)
    assert content[1024:] == b"\x07\x00\x08\x00\x09\x00"
    shard_files.write(tmp_path / "b.bin", np.array([70_000], np.uint32))
    assert np.frombuffer((tmp_path / "b.bin").read_bytes()[:8], "<i4").tolist() == [20240801, 7]
    assert shard_files.read(tmp_path / "b.bin", 70_001).tolist() == [70_000]


def test_a_shard_of_llmc(fixtures):
    folder = fixtures / "shards"
    facts = json.loads((folder / "expected.json").read_text())
    tokens = shard_files.read(folder / "llmc_val_000000.bin", 50257)
    assert shard_files.layout(folder / "llmc_val_000000.bin") == shard_files.Layout("llm.c", UINT16, 5345)
    assert len(tokens) == facts["llmc_tokens"]
    assert tokens[:20].tolist() == facts["first_20_llmc"]
    assert shard_files.find(folder, "val") == [folder / "llmc_val_000000.bin"]


def test_a_file_of_nanogpt(fixtures, tmp_path):
    folder = fixtures / "shards"
    facts = json.loads((folder / "expected.json").read_text())
    content = (folder / "nanogpt_train.bin").read_bytes()
    (tmp_path / "train.bin").write_bytes(content)  # the name that nanoGPT gives it
    tokens = shard_files.read(tmp_path / "train.bin", 50257)
    assert len(tokens) == facts["nanogpt_tokens"]
    assert tokens[-20:].tolist() == facts["last_20_nanogpt"]
    (tmp_path / "train.bin").write_bytes(content[:-1])
    with pytest.raises(WholeGPTError, match=r"train\.bin has 10689 bytes, an odd number"):
        shard_files.read(tmp_path / "train.bin", 50257)
    with pytest.raises(WholeGPTError, match=r"nanogpt_train\.bin is no token shard: expected the magic"):
        shard_files.read(folder / "nanogpt_train.bin", 50257)  # under another name nobody knows what it is


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("bad_magic", "is no token shard: expected the magic 20240520 or 20240801"),
        ("bad_short", r"has 1824 bytes, its header \(\d+ tokens\) says"),
        ("bad_version", "has version 9 of the header 20240520, expected 1"),
        ("bad_token_60000", "holds token 60000, outside the vocabulary of 50257"),
    ],
)
def test_bad_shards_are_refused(fixtures, name, fault):
    with pytest.raises(WholeGPTError, match=f"{name}.bin {fault}"):
        shard_files.read(fixtures / "shards" / f"{name}.bin", 50257)


def test_a_magic_decides_whatever_the_name(tmp_path):
    shard_files.write(tmp_path / "train.bin", np.array([1, 2, 3], np.uint16))
    assert shard_files.read(tmp_path / "train.bin", 10).tolist() == [1, 2, 3]
    (tmp_path / "train.bin").write_bytes((tmp_path / "train.bin").read_bytes()[:500])
    with pytest.raises(WholeGPTError, match=r"has 500 bytes, its header \(3 tokens\) says 1030"):
        shard_files.read(tmp_path / "train.bin", 10)


@pytest.mark.parametrize("magic", shard_files.HEADERS)
def test_no_text_of_gpt2_begins_with_a_magic(magic):
    assert max(np.frombuffer(np.array([magic], "<i4").tobytes(), "<u2").tolist()) > 50256


@pytest.mark.parametrize("cut", [0, 100, 1023, 1025, 1029])
def test_a_file_that_was_cut_off(tmp_path, cut):
    shard_files.write(tmp_path / "a.bin", np.arange(3, dtype=np.uint16))
    (tmp_path / "a.bin").write_bytes((tmp_path / "a.bin").read_bytes()[:cut])
    with pytest.raises(WholeGPTError, match=r"a\.bin"):
        shard_files.read(tmp_path / "a.bin", 10)


@pytest.mark.parametrize("tokens", [-1, 2, 4, 2**31 - 1])
def test_a_header_that_lies(tmp_path, tokens):
    (tmp_path / "a.bin").write_bytes(shard_files.header(tokens, UINT16) + bytes(6))
    with pytest.raises(WholeGPTError, match="has 1030 bytes, its header"):
        shard_files.read(tmp_path / "a.bin", 10)


@given(st.binary(max_size=40), st.sampled_from(["train.bin", "val.bin", "train_000000.bin"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_refused_in_a_sentence(tmp_path_factory, content, name, magic):
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes((shard_files.header(3, UINT16)[: len(content) * 40] if magic else b"") + content)
    try:
        tokens = shard_files.read(path, 1000)
    except WholeGPTError as error:
        assert name in str(error)
        assert "\n" not in str(error)
    else:
        assert path.read_bytes().endswith(tokens.tobytes())
        assert not len(tokens) or tokens.max() < 1000


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train_000001.bin", "train_000000.bin", "val_000000.bin"], ["train_000000.bin", "train_000001.bin"]),
        (["fineweb_train_000002.bin", "fineweb_train_000010.bin", "fineweb_val_000000.bin"],
         ["fineweb_train_000002.bin", "fineweb_train_000010.bin"]),
        (["tiny_shakespeare_train.bin", "tiny_shakespeare_val.bin"], ["tiny_shakespeare_train.bin"]),
        (["train.bin", "val.bin", "ckpt.pt"], ["train.bin"]),
        (["train_1000000.bin", "train_999999.bin"], ["train_999999.bin", "train_1000000.bin"]),
    ],
)  # fmt: skip
def test_names_of_other_software(tmp_path, names, found):
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in shard_files.find(tmp_path, "train")] == found


@pytest.mark.parametrize("names", [["train.bin", "train_000000.bin"], ["a_train_000000.bin", "b_train_000000.bin"]])
def test_several_data_sets_in_a_folder(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(WholeGPTError, match=rf"several data sets \({names[0]}, {names[1]}\)"):
        shard_files.find(tmp_path, "train")


def test_missing_shards_are_named(tmp_path):
    with pytest.raises(WholeGPTError, match=r"no shards of the part val \(val_000000\.bin, or nanoGPT's val\.bin\)"):
        shard_files.find(tmp_path, "val")


def write_all(folder: Path, form: str, dtype: np.dtype, shard_tokens: int, pieces: list[np.ndarray]) -> None:
    with ShardWriter(folder, "train", form, dtype, shard_tokens) as writer:
        for piece in pieces:
            writer.write(piece)


@given(
    st.lists(st.integers(0, 30), max_size=5), st.integers(5, 40),
    st.sampled_from([("llm.c", UINT16), ("llm.c", UINT32), ("nanogpt", UINT16)]), st.data(),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_a_writer_that_goes_on_writes_the_same(tmp_path_factory, sizes, shard_tokens, kind, data):
    """Stopped after any piece, with anything written behind it since."""
    form, dtype = kind
    pieces = [np.arange(size, dtype=dtype) for size in sizes]
    whole, cut = (tmp_path_factory.mktemp("shards") for _ in range(2))
    write_all(whole, form, dtype, shard_tokens, pieces)
    stop = data.draw(st.integers(0, len(pieces)))
    position = (0, 0)
    with ShardWriter(cut, "train", form, dtype, shard_tokens) as writer:
        for index, piece in enumerate([*pieces[:stop], np.arange(data.draw(st.integers(0, 30)), dtype=dtype)]):
            position = writer.position if index == stop else position
            writer.write(piece)
    with ShardWriter(cut, "train", form, dtype, shard_tokens, position) as writer:
        for piece in pieces[stop:]:
            writer.write(piece)
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (whole, cut)]
    assert contents[1] == contents[0]
    tokens = np.concatenate([shard_files.read(path, 100) for path in shard_files.find(whole, "train")])
    assert tokens.tolist() == [index for piece in pieces for index in piece.tolist()]


def test_files_are_full_but_for_the_last(tmp_path):
    write_all(tmp_path, "llm.c", UINT16, 4, [np.arange(5), np.arange(3)])
    assert [len(shard_files.read(path, 9)) for path in shard_files.find(tmp_path, "train")] == [4, 4]
    write_all(tmp_path / "..", "nanogpt", UINT16, 4, [np.arange(9)])
    assert (tmp_path.parent / "train.bin").stat().st_size == 18


def test_an_empty_part_is_one_empty_file(tmp_path):
    write_all(tmp_path, "llm.c", UINT16, 4, [])
    assert len(shard_files.read(tmp_path / "train_000000.bin", 9)) == 0


def test_what_was_lost_is_not_gone_on_with(tmp_path):
    write_all(tmp_path, "llm.c", UINT16, 9, [np.arange(5)])
    for position in ((0, 6), (1, 2)):
        with pytest.raises(WholeGPTError, match="lost what was written before; remove"):
            ShardWriter(tmp_path, "train", "llm.c", UINT16, 9, position)
