"""Files as they lie there: packed in every way, broken in many, and hostile."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets import stored
from wholegpt.evalsets.stored import Stored, members

TEXT = "first line\nzweite Zeile: ä\n\nlast"


def tar(path: Path, contents: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def zipped(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def packed(tmp_path: Path) -> dict[str, Stored]:
    """The text in every packing."""
    data = TEXT.encode()
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(data))
    (tmp_path / "a.txt.zst").write_bytes(zstandard.compress(data))
    contents = {"./x/other": b"no", f"x/{'long' * 50}/a.txt": data}
    return {
        "plain": Stored(tmp_path / "a.txt"),
        "gz": Stored(tmp_path / "a.txt.gz"),
        "zst": Stored(tmp_path / "a.txt.zst"),
        "zip": Stored(zipped(tmp_path / "a.zip", {"x/a.txt": data}), "x/a.txt"),
        "tgz": Stored(tar(tmp_path / "a.tgz", contents), f"x/{'long' * 50}/a.txt"),
        "tar": Stored(tar(tmp_path / "a.tar", contents, "w"), f"x/{'long' * 50}/a.txt"),
    }


@pytest.mark.parametrize("kind", ["plain", "gz", "zst", "zip", "tgz", "tar"])
def test_packings(packed, kind):
    file = packed[kind]
    assert (file.name, file.text(), file.sha256()) == ("a.txt", TEXT, packed["plain"].sha256())
    lines = list(file.lines())
    assert [line for _, line in lines] == TEXT.split("\n")
    assert lines[1][0] == f"{file}, line 2"


@pytest.mark.parametrize("kind", ["gz", "zst", "zip", "tgz", "tar"])
def test_cut_off(packed, kind):
    path = packed[kind].path
    data = path.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) * 3 // 4) if kind != "tar" else (0, 10, 1_200):
        path.write_bytes(data[:length])
        if kind == "gz" and not length:
            assert packed[kind].read() == b""  # as gzip itself takes it; the count shows it
            continue
        if kind == "zst" and not length:
            continue
        with pytest.raises(WholeGPTError) as caught:
            packed[kind].read()
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LIMIT_BYTES", 1_000_000)
    zeros = bytes(50_000_000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(zeros))
    (tmp_path / "a.zst").write_bytes(zstandard.compress(zeros))
    files = [
        Stored(tmp_path / "a.gz"),
        Stored(tmp_path / "a.zst"),
        Stored(zipped(tmp_path / "a.zip", {"a": zeros}), "a"),
    ]
    for file in files:
        with pytest.raises(WholeGPTError, match="unpacks to more than 1,000,000 bytes, which no test set does"):
            file.read()
    with pytest.raises(WholeGPTError, match="is said to have 50,000,000 bytes, which no file of a set has"):
        Stored(tar(tmp_path / "a.tgz", {"a": zeros}), "a").read()
    monkeypatch.setattr(stored, "ARCHIVE_LIMIT_BYTES", 1_000_000)
    with pytest.raises(WholeGPTError, match="unpacks to more than 1,000,000 bytes"):
        Stored(tar(tmp_path / "b.tgz", {"a": zeros, "b": b"x"}), "b").read()


def test_a_header_that_asks_for_much_is_refused(tmp_path, monkeypatch):
    """A pax header is read into memory by its claimed size."""
    monkeypatch.setattr(stored, "LIMIT_BYTES", 100_000)
    entry = tarfile.TarInfo("pax")
    entry.type, entry.size = tarfile.XHDTYPE, 50_000_000
    (tmp_path / "a.tgz").write_bytes(gzip.compress(entry.tobuf() + bytes(50_000_000)))
    with pytest.raises(WholeGPTError, match=r"has a header of 50,\d{3},\d{3} bytes"):
        Stored(tmp_path / "a.tgz", "a").read()


def test_missing_members_and_unknown_archives(tmp_path):
    with pytest.raises(WholeGPTError, match=r"a\.zip holds no member b"):
        Stored(zipped(tmp_path / "a.zip", {"a": b"x"}), "b").read()
    with pytest.raises(WholeGPTError, match=r"a\.tgz holds no member b"):
        Stored(tar(tmp_path / "a.tgz", {"a": b"x"}), "b").read()
    with pytest.raises(WholeGPTError, match="no archive that is known"):
        list(members(tmp_path / "a.rar", lambda _: True))
    with pytest.raises(WholeGPTError, match="No such file"):
        Stored(tmp_path / "nothing").read()


def test_links_in_an_archive_are_not_followed(tmp_path):
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        archive.addfile(link)
    with pytest.raises(WholeGPTError, match="holds no member a"):
        Stored(tmp_path / "a.tgz", "a").read()


def test_text_faults(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n\n[1]\n')
    assert [record for _, record in _until_fault(Stored(tmp_path / "a.jsonl"), "line 3: found list, expected")] == [
        {"a": 1}
    ]
    (tmp_path / "b.jsonl").write_bytes(b'{"a": 1}\n{"a"\n')
    _until_fault(Stored(tmp_path / "b.jsonl"), "line 2: not JSON")
    (tmp_path / "c.jsonl").write_bytes(b"{}\n{}\n\xff\n")
    _until_fault(Stored(tmp_path / "c.jsonl"), "line 3: not UTF-8 text")


def _until_fault(file: Stored, sentence: str) -> list:
    found: list = []
    with pytest.raises(WholeGPTError, match=sentence) as caught:
        for one in file.records():
            found.append(one)
    assert str(file.path) in str(caught.value)
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["gz", "zst", "zip", "tgz", "tar"]), data=st.data())
def test_damage_ends_in_one_sentence(packed, kind, data):
    """Whatever byte is changed: the content, or a WholeGPTError without a line break."""
    whole = packed[kind].path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    damaged = Stored(packed[kind].path.with_name(f"damaged-{packed[kind].path.name}"), packed[kind].member)
    damaged.path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    try:
        assert len(damaged.read()) <= len(whole) + 10_000
    except WholeGPTError as error:
        assert "\n" not in str(error)
