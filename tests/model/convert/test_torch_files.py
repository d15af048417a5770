"""What torch.save wrote: plain tensors come back in both forms, hostile pickles do nothing and take no memory."""

import io
import pickle
import struct
import zipfile

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import torch_files

CONTENT = {"weight": torch.arange(12.0).view(3, 4), "half": torch.ones(5, dtype=torch.float16), "steps": 7, "name": "a"}


def saved(path, archive=True, content=CONTENT):
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    return path


@pytest.mark.parametrize("form", [True, False])
def test_both_forms(tmp_path, form):
    path = saved(tmp_path / "a.pt", form)
    assert torch_files.recognises(path)
    found = torch_files.load(path)
    assert found.keys() == CONTENT.keys()
    assert all(torch.equal(found[name], CONTENT[name]) for name in ("weight", "half"))
    assert (found["steps"], found["name"]) == (7, "a")


@pytest.mark.parametrize("form", [True, False])
def test_what_is_no_dictionary(tmp_path, form):
    with pytest.raises(WholeGPTError, match="holds a list, expected a dictionary"):
        torch_files.load(saved(tmp_path / "a.pt", form, [1]))


def test_files_of_others(tmp_path):
    assert not torch_files.recognises(tmp_path / "nothing")
    (tmp_path / "a").write_text("text")
    assert not torch_files.recognises(tmp_path / "a")
    with pytest.raises(WholeGPTError, match="is not a whole file"):
        torch_files.load(tmp_path / "a")


def archive(path, pickle, method=zipfile.ZIP_STORED, names=("a/data.pkl", "a/version", "a/data/0")):
    with zipfile.ZipFile(path, "w", method) as written:
        for name, content in zip(names, (pickle, b"3\n", bytes(64)), strict=True):
            written.writestr(name, content)
    return path


def test_a_compressed_archive_is_not_inflated(tmp_path):
    path = archive(tmp_path / "a.pt", bytes(10**8), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    with pytest.raises(WholeGPTError, match="compressed entries"):
        torch_files.load(path)


def test_an_archive_that_claims_more_than_it_holds(tmp_path):
    path = archive(tmp_path / "a.pt", b"\x80\x02N.")
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(content)
    with pytest.raises(WholeGPTError, match="claims to hold more bytes"):
        torch_files.load(path)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:\\evil", "\\evil", "a\\..\\evil"])
def test_names_outside_of_the_archive(tmp_path, name):
    with pytest.raises(WholeGPTError, match="names an entry outside"):
        torch_files.load(archive(tmp_path / "a.pt", b"\x80\x02N.", names=("a/data.pkl", "a/version", name)))


def test_archives_of_others(tmp_path):
    path = archive(tmp_path / "a.pt", b"\x80\x02N.", names=("a/other.pkl", "a/version", "a/data/0"))
    with pytest.raises(WholeGPTError, match=r"one data\.pkl expected"):
        torch_files.load(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"PK\x03\x04" + whole)
    with pytest.raises(WholeGPTError, match="does not begin with an entry"):
        torch_files.load(path)
    path.write_bytes(b"#!/bin/sh\n" + whole)
    with pytest.raises(WholeGPTError, match="is not a whole file"):
        torch_files.load(path)


@pytest.mark.parametrize(
    ("pickle", "sentence"),
    [
        (b"\x80\x02c__builtin__\neval\nX\x03\x00\x00\x001+1\x85R.", "asks for '__builtin__ eval'"),
        (b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R.", "asks for 'builtins bytearray'"),
        (b"\x80\x02ctorch\nTensor\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R.", "asks for 'torch Tensor'"),
        (b"\x80\x02}(K\x01" + b"\x85" * 3_000_000 + b"K\x02u.", "holds 3000000 tuples"),
        (b"\x80\x02cbuilt\\ins\nset\n)R.", "which no tensor needs"),
        (b"\x80\x04N.", "protocol 4"),
        (b"\x80\x02}", "is not a whole archive"),
        (b"\x80\x02\x85.", "is not a whole file"),
    ],
)
def test_pickles_that_do_more_than_hold_tensors(tmp_path, pickle, sentence):
    with pytest.raises(WholeGPTError, match=sentence):
        torch_files.load(archive(tmp_path / "a.pt", pickle))


def test_hostile_pickles_run_nothing(fixtures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [path for path in (fixtures / "malicious").iterdir() if path.suffix != ".json"]
    assert len(files) >= 4
    for file in files:
        (tmp_path / "a.pt").write_bytes(file.read_bytes())
        with pytest.raises(WholeGPTError):
            torch_files.load(tmp_path / "a.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_the_old_form_does_not_claim_more_than_it_holds(tmp_path):
    """The size of a tensor's values stands in the pickle, before the values; torch takes memory for as many."""
    content = saved(tmp_path / "a.pt", False).read_bytes()
    claim = b"K\x0c"  # 12 values
    assert content.count(claim) == 1
    (tmp_path / "a.pt").write_bytes(content.replace(claim, b"J" + struct.pack("<i", 2**30)))
    with pytest.raises(WholeGPTError, match="claims larger tensors than the file can hold"):
        torch_files.load(tmp_path / "a.pt")


def test_the_old_form_does_not_ask_for_more_than_there_is(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"\x80\x02\x96" + struct.pack("<Q", 2**62) + b"abc")
    with pytest.raises(WholeGPTError, match="is not a whole file"):
        torch_files.load(tmp_path / "a.pt")


def test_the_old_form_begins_with_its_magic_number(tmp_path):
    stream = io.BytesIO()
    for content in (list(range(100)), 1001, {}, {}, []):
        pickle.dump(content, stream, protocol=2)
    (tmp_path / "a.pt").write_bytes(stream.getvalue())
    with pytest.raises(WholeGPTError, match="does not begin with its magic number"):
        torch_files.load(tmp_path / "a.pt")


@pytest.mark.parametrize("form", [True, False])
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(tmp_path_factory, form, data):
    path = saved(tmp_path_factory.getbasetemp() / "fuzz.pt", form)
    content = bytearray(path.read_bytes())
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), max_size=3)
    ):
        content[place] ^= byte
    path.write_bytes(bytes(content[: data.draw(st.none() | st.integers(0, len(content)))]))
    try:
        assert isinstance(torch_files.load(path), dict)
    except WholeGPTError as error:
        assert "\n" not in str(error)
