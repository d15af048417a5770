"""WARC files, read by warcio and fastwarc."""

import gzip
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import zstandard
from fastwarc.warc import ArchiveIterator
from multidict import CIMultiDict
from yarl import URL

from wholegpt.corpus.crawl.queue import Link
from wholegpt.corpus.crawl.requests import Answer
from wholegpt.corpus.crawl.warc import WarcWriter, record

BODY = b"<p>" + bytes(range(256)) * 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


def answer(number: int, body: bytes = BODY, is_cut: bool = False, **headers: str) -> Answer:
    url = URL(f"http://host.example/{number}")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    head = HEAD + "".join(f"{name}: {value}\r\n" for name, value in named.items()).encode() + b"\r\n"
    request = b"GET / HTTP/1.1\r\nHost: host.example\r\n\r\n"
    return Answer(url, 200, CIMultiDict(named), request, head, body, "192.0.2.1", "2026-11-24T12:00:00Z", is_cut)


def write(folder: Path, compression: str, file_bytes: int = 10**9) -> list[Path]:
    packed = gzip.compress(BODY)
    writer = WarcWriter(folder, "pages", compression, file_bytes, "robots: RFC 9309\r\n")
    link = Link("http://host.example/0", 7, "2017-01-01", "abc", origin="http://other.example/\r\nX: y")
    places = [
        writer.write(link, answer(0)),
        writer.write(Link("http://host.example/1"), answer(1, packed, Content_Encoding="gzip")),
        writer.write(Link("http://host.example/2"), answer(2, is_cut=True)),
        writer.write(Link("http://host.example/3"), answer(3, b"")),
    ]
    writer.close()
    assert [place.end for place in places if place.file == places[-1].file][-1] == (
        folder / places[-1].file
    ).stat().st_size
    return sorted(folder.glob("pages-*"))


@pytest.mark.parametrize("compression", ["zst", "gz"])
def test_fastwarc_reads_every_record_and_its_digests(tmp_path, compression):
    [path] = write(tmp_path, compression)
    types, pages = [], []
    with path.open("rb") as stream:
        for found in ArchiveIterator(stream, parse_http=True):
            types.append(found.headers["WARC-Type"])
            if found.headers["WARC-Type"] == "response":
                pages.append(dict(found.headers))
                assert found.verify_payload_digest()
    with path.open("rb") as stream:
        assert all(found.verify_block_digest() for found in ArchiveIterator(stream, parse_http=False))
    assert types == ["warcinfo", *["response", "request"] * 4]
    assert pages[0]["WARC-Target-URI"] == "http://host.example/0"
    assert pages[0]["WARC-IP-Address"] == "192.0.2.1"
    submitted = {name: pages[0][f"WARC-wholeGPT-{name}"] for name in ("Url", "Karma", "Date", "Id")}
    assert submitted == {"Url": "http://other.example/ X: y", "Karma": "7", "Date": "2017-01-01", "Id": "abc"}
    assert "WARC-wholeGPT-Karma" not in pages[1]
    assert [page.get("WARC-Truncated") for page in pages] == [None, None, "length", None]


def test_the_request_points_to_its_response(tmp_path):
    [path] = write(tmp_path, "gz")
    with path.open("rb") as stream:
        heads = [dict(found.headers) for found in ArchiveIterator(stream)]
    for response, request in zip(heads[1::2], heads[2::2], strict=True):
        assert request["WARC-Concurrent-To"] == response["WARC-Record-ID"]
    assert len({head["WARC-Record-ID"] for head in heads}) == len(heads)


def warcio(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "import sys; from warcio.cli import main; sys.exit(main())", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("compression", ["zst", "gz"])
def test_warcio_checks_and_indexes(tmp_path, compression):
    [path] = write(tmp_path, compression)
    if compression == "zst":  # which it does not read
        with path.open("rb") as stream, (tmp_path / "plain.warc").open("wb") as plain:
            zstandard.ZstdDecompressor().copy_stream(stream, plain)
        path = tmp_path / "plain.warc"
    checked = warcio("check", "-v", path)
    assert checked.returncode == 0 and checked.stdout.count("digest pass") == 9
    indexed = warcio("index", "-f", "warc-type,warc-target-uri", path)
    assert indexed.returncode == 0 and indexed.stdout.count('"response"') == 4
    broken = bytearray(path.read_bytes() if compression == "zst" else gzip.decompress(path.read_bytes()))
    broken[broken.index(b"<p>") + 100] ^= 1
    (tmp_path / "broken.warc").write_bytes(broken)
    assert warcio("check", tmp_path / "broken.warc").returncode == 1


@pytest.mark.parametrize("compression", ["zst", "gz"])
def test_each_record_is_a_member_of_its_own(tmp_path, compression):
    [path] = write(tmp_path, compression)
    content, members = path.read_bytes(), 0
    while content:
        decoder = zstandard.ZstdDecompressor().decompressobj() if compression == "zst" else zlib.decompressobj(31)
        assert decoder.decompress(content).startswith(b"WARC/1.1\r\n")
        content, members = decoder.unused_data, members + 1
    assert members == 9


def test_a_full_file_is_followed_by_another(tmp_path):
    paths = write(tmp_path, "gz", file_bytes=1)
    assert [path.name for path in paths] == [f"pages-{number:05d}.warc.gz" for number in range(4)]
    for path in paths:
        with path.open("rb") as stream:
            assert next(iter(ArchiveIterator(stream))).headers["WARC-Filename"] == path.name


def test_a_file_is_gone_on_with(tmp_path):
    for number in range(2):
        writer = WarcWriter(tmp_path, "pages", "zst", 10**9, "")
        writer.write(Link("x"), answer(number))
        writer.close()
    with (tmp_path / "pages-00000.warc.zst").open("rb") as stream:
        found = [record.headers["WARC-Type"] for record in ArchiveIterator(stream)]
    assert found == ["warcinfo", *["response", "request"] * 2]


def test_a_record_to_the_byte():
    assert record({"WARC-Type": "resource"}, b"abc") == (
        b"WARC/1.1\r\nWARC-Type: resource\r\nWARC-Block-Digest: sha1:VGMT4NSHA2AWVOR6EVYXQUGCNSONBWE5\r\n"
        b"Content-Length: 3\r\n\r\nabc\r\n\r\n"
    )
