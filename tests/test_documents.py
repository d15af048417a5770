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


def test_fields_beside_the_text_are_metadata(tmp_path):
    lines = b'{"text": "one", "id": "a", "url": "http://x", "karma": 3}\n{"text": "two words", "id": 7}\n'
    (tmp_path / "d.jsonl.zst").write_bytes(zstandard.compress(lines))
    written = [Document("one", "a", "http://x", {"karma": 3}), Document("two words", "7")]
    assert list(documents.read(tmp_path / "d.jsonl.zst")) == written


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


def test_what_lines_may_look_like(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\n{"text": "one"}\r\n   \n{"text": "two", "id": 7, "url": null}')
    assert list(documents.read(tmp_path / "a.jsonl")) == [Document("one", "a.jsonl:2"), Document("two", "7")]


def test_a_byte_order_mark_before_json(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\n')
    assert [document.text for document in documents.read(tmp_path / "a.jsonl")] == ["one"]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_frames_one_after_another(tmp_path, compress):
    path = tmp_path / ("a.jsonl.gz" if compress is gzip.compress else "a.jsonl.zst")
    lines = [json.dumps({"text": f"text {number}"}).encode() + b"\n" for number in range(3000)]
    path.write_bytes(b"".join(compress(b"".join(lines[start : start + 100])) for start in range(0, 3000, 100)))
    assert [document.text for document in documents.read(path)] == [f"text {number}" for number in range(3000)]


def test_frames_that_decoders_skip(tmp_path):
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
    (tmp_path / "a.jsonl.zst").write_bytes(skippable + zstandard.compress(LINES) + skippable)
    check(tmp_path / "a.jsonl.zst")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_every_cut_is_noticed(tmp_path, name):
    content = gzip.compress(LINES) if name.endswith("gz") else zstandard.compress(LINES)
    for cut in range(1, len(content)):
        (tmp_path / name).write_bytes(content[:cut])
        with pytest.raises(WholeGPTError, match=name):
            list(documents.read(tmp_path / name))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_flipped_bit_is_noticed(tmp_path, name):
    text = LINES * 20
    checked = zstandard.ZstdCompressor(write_checksum=True)
    whole = gzip.compress(text) if name.endswith("gz") else checked.compress(text)
    for place in range(20, len(whole), 7):
        (tmp_path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(WholeGPTError, match=name):
            list(documents.read(tmp_path / name))


def test_a_folder_is_read_by_name(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("b.txt", "a/z.jsonl", "a/a.TXT", "c.jsonl.gz", "notes.md"):
        content = LINES if "jsonl" in name else name.encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    found = [path.relative_to(tmp_path).as_posix() for path in documents.files(tmp_path)]
    assert found == ["a/a.TXT", "a/z.jsonl", "b.txt", "c.jsonl.gz"]
    assert [document.text for document in documents.read(tmp_path)][::3] == ["a/a.TXT", "b.txt"]


def test_a_folder_without_documents(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(WholeGPTError, match=r"holds no documents \(\.jsonl, .*\.txt\)"):
        list(documents.read(tmp_path))


def test_a_part_of_a_corpus(run):
    everything = list(documents.read(run.parent / "corpus"))
    parts = [list(documents.read(run.parent / "corpus", part)) for part in (documents.HELD_OUT, documents.TRAIN)]
    assert everything == parts[0] + parts[1]


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"text": []}, "it is empty"),
        ({"title": ["a"]}, "row 1: found NoneType as `text`"),
        ({"text": ["a", None]}, "row 2: found NoneType as `text`"),
        ({"text": [1]}, "row 1: found int as `text`"),
    ],
)
def test_parquet_without_text(tmp_path, columns, fault):
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(WholeGPTError, match=fault):
        list(documents.read(tmp_path / "a.parquet"))


def test_a_parquet_file_that_was_damaged(tmp_path):
    parquet.write_table(pyarrow.table({"text": [f"text {number}" for number in range(3000)]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    for broken in (content[:-1], content[: len(content) // 2], content[:4] + bytes(200) + content[204:]):
        (tmp_path / "a.parquet").write_bytes(broken)
        with pytest.raises(WholeGPTError, match=r"a\.parquet"):
            list(documents.read(tmp_path / "a.parquet"))


def test_a_long_line(tmp_path):
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(json.dumps({"text": "ab" * 10**6}).encode()))
    (document,) = documents.read(tmp_path / "a.jsonl.zst")
    assert document.text == "ab" * 10**6
