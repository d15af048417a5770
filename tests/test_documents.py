"""Readers and writers of documents, and what they say of broken files."""

import gzip
import json

import pyarrow
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from wholegpt import documents
from wholegpt.documents import Document
from wholegpt.errors import WholeGPTError

RECORDS = [{"text": "one é", "id": "a", "url": "http://x", "karma": 3}, {"text": "two\nlines"}]
LINES = "\n".join(json.dumps(record) for record in RECORDS).encode()


def check(path):
    first, second = documents.read(path)
    assert first == Document("one é", "a", "http://x", {"karma": 3})
    assert (second.text, second.id) == ("two\nlines", f"{path.name}:2")


def test_jsonl_in_three_wrappings(tmp_path):
    half = len(LINES) // 2
    contents = {
        "d.jsonl": LINES,
        "d.jsonl.gz": gzip.compress(LINES),
        "d.jsonl.zst": zstandard.compress(LINES[:half]) + zstandard.compress(LINES[half:]),  # two frames
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        check(tmp_path / name)


def test_parquet(tmp_path):
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "id": ["x", "y"], "n": [1, 2]}), tmp_path / "d.parquet")
    assert list(documents.read(tmp_path / "d.parquet")) == [
        Document("a", "x", "", {"n": 1}),
        Document("b", "y", "", {"n": 2}),
    ]


def test_text_and_byte_order_mark(tmp_path):
    (tmp_path / "t.txt").write_bytes("\N{ZERO WIDTH NO-BREAK SPACE}héllo\n".encode())
    assert list(documents.read(tmp_path / "t.txt")) == [Document("héllo\n", "t.txt")]


def test_writer_and_reader_agree(tmp_path):
    written = [Document("one é", "a", "http://x", {"karma": 3}), Document("two words", "b")]
    with documents.writer(tmp_path / "d.jsonl.zst") as writer:
        for document in written:
            writer.write(document)
    assert list(documents.read(tmp_path / "d.jsonl.zst")) == written
    assert writer.counts() == {"documents": 2, "characters": 14, "bytes": 15, "words": 4}


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.jsonl", b"", "it is empty"),
        ("a.jsonl", b'{"text": "x"}\n{', "line 2: not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: found list"),
        ("a.jsonl", b'{"title": "x"}\n', "found NoneType as `text`"),
        ("a.jsonl", b'{"text": "\xff"}\n', "line 1: not JSON in UTF-8"),
        ("a.jsonl.zst", zstandard.compress(LINES * 99)[:-9], "cut off"),
        ("a.jsonl.zst", LINES, "broken or cut off"),
        ("a.jsonl.gz", gzip.compress(LINES)[:-9], "broken or cut off"),
        ("a.parquet", b"PAR1 nothing", "not a parquet file"),
        ("a.txt", b"\xff", "byte 0 is 0xff"),
        ("a.doc", b"x", "none of the known formats"),
    ],
)
def test_broken_files(tmp_path, name, content, fault):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WholeGPTError, match=fault) as error:
        list(documents.read(tmp_path / name))
    assert name in str(error.value)


def test_a_header_cannot_ask_for_much_memory(tmp_path):
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "a.jsonl.zst").write_bytes(compressor.compress(LINES) + compressor.flush())
    with pytest.raises(WholeGPTError, match="too much memory"):
        list(documents.read(tmp_path / "a.jsonl.zst"))


def test_real_corpus(shared):
    first = next(documents.read(shared / "train" / "sample.jsonl.zst"))
    assert first.text and first.metadata["kind"]
    assert sum(1 for _ in documents.read(shared / "train" / "heldout.jsonl.zst")) == 170


@given(st.lists(st.sampled_from(["a", "bc", "\n", "\n\n", " é"]), min_size=1).map("".join), st.integers(1, 9))
def test_passages_join_to_the_text(text, characters):
    pieces = documents.passages(text, characters)
    assert "".join(pieces) == text
    assert all(len(piece) >= characters for piece in pieces[:-1])


def test_share_depends_on_text_and_seed():
    shares = [documents.share(str(number), 0) for number in range(2000)]
    assert all(0 <= share < 1 for share in shares)
    assert 60 < sum(share < 0.05 for share in shares) < 140  # 100 expected, standard deviation 10
    assert documents.share("a", 0) == documents.share("a", 0) != documents.share("a", 1)
