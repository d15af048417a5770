"""Dumps in every packing, cut anywhere, broken off, hostile."""

import bz2
import gzip
import lzma
import random
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wholegpt.corpus.submissions import dumps
from wholegpt.corpus.submissions.dumps import Dump
from wholegpt.errors import WholeGPTError

LINES = [b'{"id": "%d", "title": "\xc3\xa9%s"}\n' % (number, b"x" * (number % 90)) for number in range(3000)]
CONTENT = b"".join(LINES)


def zst_blocks(lines: list[bytes]) -> bytes:
    """By the format's description: each block a length and a frame of count, (offset, size) of each row, rows."""
    packed = b""
    for start in range(0, len(lines), 256):
        rows = [line.rstrip(b"\n") for line in lines[start : start + 256]]
        places = b"".join(struct.pack("<II", sum(map(len, rows[:index])), len(row)) for index, row in enumerate(rows))
        frame = zstandard.ZstdCompressor().compress(struct.pack("<I", len(rows)) + places + b"".join(rows))
        packed += struct.pack("<I", len(frame)) + frame
    return packed


def window31(content: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=31, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(content) + compressor.flush()


PACKED = {
    "RS": CONTENT,
    "RS.ndjson": CONTENT,
    "RS.zst": window31(CONTENT),
    "RS.zst_blocks": zst_blocks(LINES),
    "RS.xz": lzma.compress(CONTENT),
    "RS.bz2": bz2.compress(CONTENT),
    "RS.gz": gzip.compress(CONTENT),
}


def read(path: Path, content: bytes) -> tuple[bytes, Dump]:
    path.write_bytes(content)
    dump = Dump(path)
    return b"".join(dump.blocks()), dump


@pytest.mark.parametrize("name", PACKED)
def test_every_packing(tmp_path, name):
    found, dump = read(tmp_path / name, PACKED[name])
    assert found == CONTENT
    assert (dump.broken, dump.bytes, dump.long_lines) == ("", len(CONTENT), 0)


@pytest.mark.parametrize("name", ["RS.zst", "RS.xz", "RS.bz2", "RS.gz", "RS.zst_blocks"])
def test_streams_that_follow_each_other(tmp_path, name):
    found, dump = read(tmp_path / name, PACKED[name] * 3)
    assert (found, dump.broken) == (CONTENT * 3, "")


def test_skippable_frames_and_padding(tmp_path):
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"notes"
    assert read(tmp_path / "RS.zst", skippable + PACKED["RS.zst"] + skippable)[0] == CONTENT
    assert read(tmp_path / "RS.gz", PACKED["RS.gz"] + bytes(9000) + PACKED["RS.gz"])[0] == CONTENT * 2


@pytest.mark.parametrize("name", ["RS.zst", "RS.xz", "RS.bz2", "RS.gz", "RS.zst_blocks"])
@pytest.mark.parametrize("share", [0.0001, 0.6, 0.999])
def test_what_came_before_a_break_is_used(tmp_path, name, share):
    content = random.Random(1).randbytes(200_000).hex().encode()  # that many blocks of every packing are filled
    lines = [content[start : start + 99] + b"\n" for start in range(0, len(content), 99)]
    whole = {
        "RS.zst": window31, "RS.xz": lzma.compress, "RS.gz": gzip.compress,
        "RS.bz2": lambda content: bz2.compress(content, 1),
        "RS.zst_blocks": lambda _: zst_blocks(lines),
    }[name](b"".join(lines))  # fmt: skip
    found, dump = read(tmp_path / name, whole[: int(len(whole) * share)])
    assert "it breaks off" in dump.broken or "not enough data" in dump.broken
    assert str(tmp_path / name) in dump.broken
    assert b"".join(lines).startswith(found)
    if share == 0.999:
        assert len(found) > 0.6 * sum(map(len, lines))


@pytest.mark.parametrize("name", ["RS.zst", "RS.xz", "RS.bz2", "RS.gz", "RS.zst_blocks"])
def test_what_is_no_archive(tmp_path, name):
    found, dump = read(tmp_path / name, b"<html>not found</html>" * 50)
    assert found == b""
    assert "is broken near byte" in dump.broken


def test_a_broken_byte(tmp_path):
    content = bytearray(PACKED["RS.xz"] + PACKED["RS.xz"])
    content[len(PACKED["RS.xz"]) + 500] ^= 255
    found, dump = read(tmp_path / "RS.xz", bytes(content))
    assert found.startswith(CONTENT)
    assert "is broken near byte" in dump.broken


def test_a_window_above_the_limit_is_not_opened(tmp_path):
    (tmp_path / "RS.zst").write_bytes(PACKED["RS.zst"])
    dump = Dump(tmp_path / "RS.zst", window_bytes=2**27)
    assert list(dump.blocks()) == []
    assert "needs a window of 2,147,483,648 bytes, 134,217,728 are allowed; give --window-bytes" in dump.broken


def test_a_block_that_lies_about_its_rows(tmp_path):
    frame = zstandard.ZstdCompressor().compress(struct.pack("<III", 2**31, 0, 5) + b"rows!")
    found, dump = read(tmp_path / "RS.zst_blocks", struct.pack("<I", len(frame)) + frame)
    assert found == b""
    assert "cannot hold its 2,147,483,648 rows" in dump.broken


def test_a_bomb_comes_in_small_pieces(tmp_path):
    (tmp_path / "RS.zst").write_bytes(window31((b" " * 99 + b"\n") * 1_000_000))
    assert max(map(len, Dump(tmp_path / "RS.zst").blocks())) < 2**25


def test_a_line_too_long_is_skipped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(dumps, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(dumps, "LONGEST_LINE_BYTES", 5000)
    found, dump = read(tmp_path / "RS", b"before\n" + b"y" * 50_000 + b"\nafter\n")
    assert found == b"before\nafter\n"
    assert dump.long_lines == 1


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=40),
    st.lists(st.integers(1, 25), min_size=1),
    st.integers(1, 60),
    st.booleans(),
)
def test_nothing_is_lost_where_pieces_meet(lines, cuts, block, newline_at_end):
    content = b"\n".join(lines) + (b"\n" if newline_at_end else b"")
    pieces = []
    rest = content
    while rest:
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(rest[:size])
        rest = rest[size:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dumps, "BLOCK_BYTES", block)
        patch.setattr(Dump, "_pieces", lambda _: iter(pieces))
        blocks = list(Dump(Path("RS")).blocks())
    assert b"".join(blocks) == content
    assert all(one.endswith(b"\n") for one in blocks[:-1])


def test_files(tmp_path):
    for name in ("RS_2005-06.zst", "RS_2005-07.xz", "urls.txt", "notes.md"):
        (tmp_path / name).touch()
    assert [file.name for file in dumps.files(tmp_path)] == ["RS_2005-06.zst", "RS_2005-07.xz", "urls.txt"]
    assert dumps.files(tmp_path / "notes.md") == [tmp_path / "notes.md"]
    assert [Dump(Path(name)).holds_urls for name in ("a.txt", "a.txt.gz", "a.zst", "RS")] == [True, True, False, False]
    with pytest.raises(WholeGPTError, match="does not exist"):
        dumps.files(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WholeGPTError, match="holds no dumps"):
        dumps.files(tmp_path / "empty")


def test_a_file_that_cannot_be_read(tmp_path):
    dump = Dump(tmp_path / "gone.zst")
    assert list(dump.blocks()) == []
    assert dump.broken == f"{tmp_path / 'gone.zst'} cannot be read: No such file or directory"


def test_real_dumps_are_the_same_in_both_packings(shared):
    folder = shared / "web" / "reddit"
    first, second = (b"".join(Dump(folder / name).blocks()) for name in ("RS_2005-07.window31.zst", "RS_v2_2005-07.xz"))
    assert first == second
    assert (len(first), first.count(b"\n")) == (1_521_628, 1079)
