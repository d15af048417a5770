"""What a record holds: codings undone within bounds, what is no page named with its reason."""

import gzip
import hashlib
import tracemalloc
import zlib
from collections import Counter

import brotli
import pytest
import zstandard

from wholegpt.corpus.pages import reading
from wholegpt.corpus.pages.reading import Page, Skipped
from wholegpt.corpus.pages.shards import shards

from .archiving import answer, article, record, write

URL = "http://a.example/page"
BODY = article()
LARGEST = 200_000


def found(path, *records):
    return list(reading.read_archive(write(path / "a.warc", *records), LARGEST))


def of_answer(path, body, **headers):
    """What is found for one answer."""
    (one,) = found(path, record("response", answer(body, **headers), URL))
    return one


def chunked(body, size=700):
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def bare_deflate(body):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


CODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "deflate": zlib.compress,
    "Deflate": bare_deflate,
    "gzip, br": lambda body: brotli.compress(gzip.compress(body)),
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_codings_are_undone(tmp_path, coding):
    body = CODINGS[coding](BODY)
    assert of_answer(tmp_path, body, Content_Encoding=coding).body == BODY
    both = of_answer(tmp_path, chunked(body), Content_Encoding=coding, Transfer_Encoding="chunked")
    assert both.body == BODY


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_not_unpacked(tmp_path, coding):
    bomb = CODINGS[coding](b"<html>" + bytes(20_000_000))
    if len(bomb) > LARGEST:
        assert coding == "identity"
        return
    tracemalloc.start()
    try:
        assert of_answer(tmp_path, bomb, Content_Encoding=coding) == Skipped("too-large", URL)
        # The compressed body a few times, the limit, room for Python; of 20 MB no trace.
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_an_archive_may_hold_decoded_bodies_under_the_old_headers(tmp_path):
    for coding in CODINGS:
        assert of_answer(tmp_path, BODY, Content_Encoding=coding, Transfer_Encoding="chunked").body == BODY


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "Deflate", "zstd"])
def test_a_body_that_breaks_off_comes_as_far(tmp_path, coding):
    large = b"<html>" + b"".join(hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(3000))
    part = of_answer(tmp_path, CODINGS[coding](large)[:-2000], Content_Encoding=coding).body
    assert len(part) > len(large) / 2 and large.startswith(part)
    part = of_answer(tmp_path, chunked(large)[:-2000], Transfer_Encoding="chunked").body
    assert len(part) > len(large) / 2 and large.startswith(part)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (answer(BODY, 404), "status"),
        (answer(b"", 301, Location="/"), "status"),
        (answer(BODY, 206), "status"),
        (answer(b"%PDF", Content_Type="application/pdf"), "type"),
        (answer(b"{}", Content_Type="application/json; charset=utf-8"), "type"),
        (answer(b"no page", Content_Type=""), "type"),
        (answer(b" \n"), "no-body"),
        (answer(b"\xff\xfe not gzip", Content_Encoding="gzip"), "broken-coding"),
        (answer(BODY, Content_Encoding="compress"), "broken-coding"),
        (answer(BODY, Content_Encoding=", ".join(["gzip"] * 9)), "broken-coding"),
        (b"no http at all", "no-http"),
        (b"", "no-http"),
        (answer(b"<html>" + b"a" * LARGEST), "too-large"),
        (answer(b"<html>" + b"a" * 2 * LARGEST), "too-large"),
    ],
)
def test_what_is_no_page(tmp_path, block, reason):
    (one,) = found(tmp_path, record("response", block, URL))
    assert (one.reason, one.url) == (reason, URL)


def test_kinds_of_records(tmp_path):
    (tmp_path / "warc").mkdir()
    one, two, three, *rest = found(
        tmp_path,
        record("warcinfo", b"software: none"),
        record("request", b"GET / HTTP/1.1", URL),
        record("resource", BODY, URL, Content_Type="text/html"),
        record("conversion", "Ein schöner Text".encode(), URL, Content_Type="text/plain"),
        record("response", answer(BODY), f"<{URL}>"),
        record("revisit", b"HTTP/1.1 200 OK\r\n\r\n", URL),
        record("response", answer(b"User-agent: *", Content_Type="text/html"), "http://a.example/robots.txt"),
        record("resource", b"%PDF", URL, Content_Type="application/pdf"),
        record("metadata", b"a: b", URL),
    )
    assert (one.body, one.is_text) == (BODY, False)
    assert (two.body.decode(), two.is_text) == ("Ein schöner Text", True)
    assert three.url == URL
    assert [skipped.reason for skipped in rest] == ["revisit", "robots.txt", "type"]


def test_a_page_carries_where_it_is_from(tmp_path):
    block = answer(BODY, Content_Type="text/html; charset=koi8-r")
    fields = {"WARC_Wholegpt_Karma": "-12", "WARC_Wholegpt_Date": "2011-01-02", "WARC_Wholegpt_Id": "f00"}
    plain, told = found(tmp_path, record("response", block, URL), record("response", block, URL, **fields))
    digest = hashlib.sha256(block).hexdigest()
    assert plain == Page(URL, BODY, digest, "text/html; charset=koi8-r", "2024-05-06T07:08:09Z")
    assert (told.karma, told.date, told.submission) == (-12, "2011-01-02", "f00")
    for karma in ("", "many", "1.5", "9" * 30, "²"):
        (one,) = found(tmp_path, record("response", block, URL, WARC_Wholegpt_Karma=karma))
        assert one.karma is None


def test_a_truncated_archive_is_said_after_its_pages(tmp_path):
    whole = record("response", answer(BODY), URL)
    write(tmp_path / "a.warc", whole, whole[:-200])
    first, second, end = reading.read_archive(tmp_path / "a.warc", LARGEST)
    assert first.body == BODY
    assert BODY.startswith(second.body) and len(second.body) == len(BODY) - 196
    assert (end.reason, end.url) == ("broken-archive", "a.warc")
    assert "a.warc breaks off" in end.explanation and "2 records were read" in end.explanation


def test_files_that_cannot_be_read_are_counted(tmp_path):
    (tmp_path / "a.html").write_bytes(BODY)
    (tmp_path / "b.html").write_bytes(bytes(LARGEST + 1))
    shard = shards([tmp_path])[0]
    (tmp_path / "c.html").mkdir()
    first, *rest = reading.read_files([*shard.inputs, tmp_path / "c.html", tmp_path / "gone.html"], LARGEST)
    assert first == Page("", BODY, hashlib.sha256(BODY).hexdigest())
    assert [(skipped.reason, skipped.url) for skipped in rest] == [
        ("too-large", "b.html"),
        ("unreadable-file", "c.html"),
        ("unreadable-file", "gone.html"),
    ]
    (skipped,) = reading.read_archive(tmp_path / "c.html", LARGEST)
    assert skipped.reason == "unreadable-file"


def test_real_archives(shared):
    kinds: Counter[str] = Counter()
    for shard in shards([shared / "web/warc"]):
        for one in reading.read(shard, 10_000_000):
            kinds[one.reason if isinstance(one, Skipped) else "text" if one.is_text else "page"] += 1
            if isinstance(one, Page) and not one.is_text:
                assert b"<" in one.body[:300] and b"</" in one.body
    # 16 of Common Crawl's part, its Wikipedia page, example.com twice, iana.org (chunked), bl.uk, the clipped one.
    assert kinds == {"page": 22, "text": 1, "revisit": 3, "broken-archive": 1}
