"""Archives of every kind come whole; broken ones up to the break, and the break is said."""

import gzip
import struct
from collections import Counter

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wholegpt.corpus.pages import archives

from .archiving import record, write

BLOCKS = [f"block {number} ".encode() * (number + 1) * 20 for number in range(5)]
RECORDS = [record("resource", block, f"http://a/{number}") for number, block in enumerate(BLOCKS)]
LARGE = 10_000_000


def read(path, largest=LARGE):
    """The blocks of a file, and the sentence about its break."""
    blocks = []
    try:
        for found in archives.records(path, largest):
            blocks.append(found.block)
    except archives.Broken as error:
        return blocks, str(error)
    return blocks, ""


def zstd(*pieces, dictionary=None):
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    return b"".join(map(compressor.compress, pieces))


def with_dictionary(compressed):
    samples = [bytes([65 + number % 20]) * 30 + b"WARC/1.1 Content-Length block" * 3 for number in range(300)]
    dictionary = zstandard.train_dictionary(2000, samples)
    content = dictionary.as_bytes()
    content = zstandard.ZstdCompressor().compress(content) if compressed else content
    frame = archives.ZSTD_DICTIONARY + struct.pack("<I", len(content)) + content
    return frame + zstd(*RECORDS, dictionary=dictionary)


WHOLE = {
    "plain": b"".join(RECORDS),
    "gzip": b"".join(map(gzip.compress, RECORDS)),
    "gzip in one": gzip.compress(b"".join(RECORDS)),
    "gzip with zeros between": b"\0\0\0".join(map(gzip.compress, RECORDS)) + b"\0",
    "zstd": zstd(*RECORDS),
    "zstd in one": zstd(b"".join(RECORDS)),
    "zstd with its dictionary": with_dictionary(False),
    "zstd with its dictionary compressed": with_dictionary(True),
    "lines end in newlines": b"".join(RECORDS).replace(b"\r\n", b"\n"),
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_whole_archives(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert read(tmp_path / "a") == (BLOCKS, "")
    assert archives.beginning(tmp_path / "a").startswith(b"WARC/1.1")


@pytest.mark.parametrize("name", ["plain", "gzip", "gzip in one", "zstd", "zstd with its dictionary"])
def test_cut_archives(tmp_path, name):
    """Wherever the cut is, what was whole before it comes, and the cut is noticed unless it is between records."""
    ends = [0]
    for piece in RECORDS if name == "plain" else map(gzip.compress if "gzip" in name else zstd, RECORDS):
        ends.append(ends[-1] + len(piece))
    for cut in range(1, len(WHOLE[name]), 7):
        (tmp_path / "a").write_bytes(WHOLE[name][:cut])
        blocks, sentence = read(tmp_path / "a")
        whole = [block for block in blocks if block in BLOCKS]
        assert whole == BLOCKS[: len(whole)] and len(blocks) - len(whole) <= 1
        if name in ("plain", "gzip", "zstd"):
            assert len(whole) == sum(end <= cut for end in ends[1:]) or blocks[-1] == BLOCKS[len(whole) - 1]
            assert sentence or cut in ends or blocks == BLOCKS[: len(blocks)]
        if name == "gzip" and cut not in ends:
            begin = max(end for end in ends if end <= cut)
            assert f"in what begins at byte {begin} " in sentence and f"{len(blocks)} records were read" in sentence


def test_a_broken_place_in_the_middle(tmp_path):
    members = [gzip.compress(piece) for piece in RECORDS]
    members[2] = members[2][:40] + b"\xff" * 10 + members[2][50:]
    write(tmp_path / "a", *members)
    blocks, sentence = read(tmp_path / "a")
    assert blocks[:2] == BLOCKS[:2]
    assert f"begins at byte {len(members[0]) + len(members[1])} " in sentence


@pytest.mark.parametrize("length", ["abc", "-1", "", "9" * 30, "²", "9" * 6000])
def test_a_length_that_is_none(tmp_path, length):
    write(tmp_path / "a", RECORDS[0], record("resource", b"x", Content_Length=length), RECORDS[1])
    blocks, sentence = read(tmp_path / "a")
    assert blocks[0] == BLOCKS[0] and "breaks off" in sentence


def test_large_blocks_are_passed_over(tmp_path):
    write(tmp_path / "a.gz", RECORDS[0], record("resource", bytes(50_000_000)), RECORDS[4])
    assert read(tmp_path / "a.gz", 200) == ([BLOCKS[0], None, None], "")
    assert read(tmp_path / "a.gz", len(BLOCKS[4])) == ([BLOCKS[0], None, BLOCKS[4]], "")


def test_a_window_or_dictionary_beyond_reason_is_refused(tmp_path):
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "a").write_bytes(stream.compress(RECORDS[0]) + stream.flush())
    assert "memory" in read(tmp_path / "a")[1]
    (tmp_path / "b").write_bytes(archives.ZSTD_DICTIONARY + b"\xff\xff\xff\x7f" + bytes(50))
    assert "dictionary" in read(tmp_path / "b")[1]


@given(st.binary(max_size=300), st.sampled_from([b"", b"WARC/1.1\r\n", archives.GZIP, archives.ZSTD, RECORDS[0]]))
def test_no_bytes_break_it(tmp_path_factory, content, start):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + content)
    blocks, sentence = read(path)
    assert sentence or not content.strip() or blocks


def test_headers_without_end(tmp_path):
    write(tmp_path / "a", b"WARC/1.1\r\n" + b"a: b\r\n" * 100_000)
    assert "inside the header" in read(tmp_path / "a")[1]


def test_an_empty_file_holds_nothing(tmp_path):
    (tmp_path / "a").touch()
    assert read(tmp_path / "a") == ([], "")


def kinds(path):
    """How many records there are of each kind, and the sentence about the file's break."""
    found = Counter()
    try:
        for entry in archives.records(path, LARGE):
            found[entry.fields["warc-type"]] += 1
    except archives.Broken as error:
        return found, str(error)
    return found, ""


def test_real_archives(shared):
    folder = shared / "web/warc"
    parts = {"metadata": 16, "request": 17, "response": 16, "warcinfo": 1}
    example = {"request": 2, "response": 1, "revisit": 1, "warcinfo": 2}
    assert kinds(folder / "resiliparse-warcfile.warc.gz") == (parts, "")
    assert kinds(folder / "warcio-example.warc.gz") == (example, "")
    assert kinds(folder / "warcio-bad-non-chunked.warc.gz") == (example, "")
    found, sentence = kinds(folder / "resiliparse-clipped.warc.gz")
    assert found == {"response": 1}
    assert "resiliparse-clipped.warc.gz breaks off in what begins at byte 0 " in sentence
