"""Pages as they were sent: from archives (WARC), archives of ready text (WET) and files of HTML.

What is no page is handed on with the reason: robots.txt, other media types, answers that are none (404, redirects),
revisits, which have no body, what is too large, what cannot be decoded, a broken archive, an unreadable file.

Our crawler, and whoever writes archives for us, may say of a page where its link is from, in fields of the response
record: `WARC-Wholegpt-Karma` (its score), `WARC-Wholegpt-Date` (ISO 8601) and `WARC-Wholegpt-Id` of the submission.
"""

import hashlib
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, ZstdReader
from fastwarc.warc import HeaderMap

from wholegpt.corpus.pages import archives
from wholegpt.corpus.pages.archives import Broken, Record
from wholegpt.corpus.pages.shards import FILES
from wholegpt.runner import Shard

HTML_TYPES = ("text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml")
# Headers of HTTP stand in the same block as the page.
HEADER_BYTES = 2**16
# No server sends more than two content codings on top of each other; more are there to be expensive.
MOST_CODINGS = 3
_PIECE_BYTES = 4096
_CODINGS: dict[str, Callable[[Any], Any]] = {
    "gzip": GzipReader,
    "x-gzip": GzipReader,
    "deflate": partial(GzipReader, zlib=True),
    "br": BrotliReader,
    "zstd": ZstdReader,
}


@dataclass(frozen=True)
class Page:
    """One page; fields that are not known are empty."""

    url: str
    body: bytes
    """HTML in whatever charset, or ready text in UTF-8."""
    sha256: str
    """Of the record's block (headers of HTTP and body as they were sent) or of the file."""
    content_type: str = ""
    """As HTTP gives it: it may name the charset."""
    date: str = ""
    """Of the submission where the record names it, otherwise of the capture; ISO 8601."""
    karma: int | None = None
    submission: str = ""
    """The identifier of the submission."""
    is_text: bool = False


@dataclass(frozen=True)
class Skipped:
    """What is no page, and why."""

    reason: str
    url: str
    explanation: str = ""


Found = Page | Skipped


def read(shard: Shard, largest_bytes: int) -> Iterator[Found]:
    """The pages of a shard of `shards`."""
    if shard.values == (FILES,):
        return read_files(shard.inputs, largest_bytes)
    return chain.from_iterable(read_archive(path, largest_bytes) for path in shard.inputs)


def read_archive(path: Path, largest_bytes: int) -> Iterator[Found]:
    """The pages of a WARC or WET file, each of at most so many bytes, compressed or not."""
    try:
        for record in archives.records(path, largest_bytes + HEADER_BYTES):
            found = _found(record, largest_bytes)
            if found:
                yield found
    except Broken as error:
        yield Skipped("broken-archive", path.name, str(error))
    except OSError as error:
        yield Skipped("unreadable-file", path.name, f"{path.name} cannot be read: {error.strerror}")


def read_files(paths: Iterable[Path], largest_bytes: int) -> Iterator[Found]:
    """One page a file; they have no address but the one that they may name as canonical."""
    for path in paths:
        try:
            with path.open("rb") as stream:
                body = stream.read(largest_bytes + 1)
        except OSError as error:
            yield Skipped("unreadable-file", path.name, f"{path.name} cannot be read: {error.strerror}")
            continue
        if len(body) > largest_bytes:
            yield Skipped("too-large", path.name)
        else:
            yield Page("", body, hashlib.sha256(body).hexdigest())


def _found(record: Record, largest_bytes: int) -> Found | None:
    """What a record holds; None for those that are about others (requests, metadata)."""
    kind, url = record.fields.get("warc-type", "").lower(), record.fields.get("warc-target-uri", "").strip("<>")
    if kind == "revisit":
        return Skipped("revisit", url)
    if kind not in ("response", "resource", "conversion"):
        return None
    if record.block is None:
        return Skipped("too-large", url)
    if _path(url) == "/robots.txt":
        return Skipped("robots.txt", url)
    if kind == "response":
        return _response(record, record.block, url, largest_bytes)
    content_type = record.fields.get("content-type", "")
    if kind == "conversion":
        return _page(record, record.block, url, record.block, content_type, is_text=True)
    if not _is_html(content_type, record.block):
        return Skipped("type", url)
    return _page(record, record.block, url, record.block, content_type)


def _response(record: Record, block: bytes, url: str, largest_bytes: int) -> Found:
    headers = HeaderMap("latin1")
    body = block[headers.parse(io.BytesIO(block)) :]
    if headers.status_code is None:
        return Skipped("no-http", url)
    if headers.status_code != 200:
        return Skipped("status", url, str(headers.status_code))
    content_type = (headers.get("Content-Type") or "").strip()
    if content_type and not _is_html(content_type, body):
        return Skipped("type", url, content_type[:100])
    try:
        body = _decoded(body, headers, largest_bytes)
    except OSError as error:
        return Skipped("broken-coding", url, str(error)[:200])
    if len(body) > largest_bytes:
        return Skipped("too-large", url)
    if not body.strip():
        return Skipped("no-body", url)
    if not _is_html(content_type, body):
        return Skipped("type", url)
    return _page(record, block, url, body, content_type)


def _page(record: Record, block: bytes, url: str, body: bytes, content_type: str, is_text: bool = False) -> Page:
    karma = record.fields.get("warc-wholegpt-karma", "")
    return Page(
        url=url,
        body=body,
        sha256=hashlib.sha256(block).hexdigest(),
        content_type=content_type.replace("\n", " "),
        date=record.fields.get("warc-wholegpt-date", "") or record.fields.get("warc-date", ""),
        karma=int(karma) if karma.removeprefix("-").isdecimal() and len(karma) < 19 else None,
        submission=record.fields.get("warc-wholegpt-id", ""),
        is_text=is_text,
    )


def _is_html(content_type: str, body: bytes) -> bool:
    """By its type; without one, by how it begins."""
    if content_type:
        return content_type.partition(";")[0].strip().lower() in HTML_TYPES
    start = body[:1024].lower()
    return b"<html" in start or b"<!doctype html" in start


def _decoded(body: bytes, headers: HeaderMap, largest_bytes: int) -> bytes:
    """The body without its codings, up to a byte more than so many.

    Archives often hold bodies that were decoded when they were written, under the old headers: what is no such coding
    and looks like a page is one.
    """
    codings = [coding.strip().lower() for coding in (headers.get("Content-Encoding") or "").split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if len(codings) > MOST_CODINGS or not all(coding in _CODINGS for coding in codings):
        raise OSError(f"unknown content coding {', '.join(codings)[:100]}")
    if "chunked" in (headers.get("Transfer-Encoding") or "").lower():
        body = _through(ChunkedReader, body, len(body))
    for coding in reversed(codings):
        try:
            body = _through(_CODINGS[coding], body, largest_bytes)
        except OSError:
            if coding != "deflate":
                raise
            body = _bare_deflate(body, largest_bytes)
    return body


def _through(reader: Callable[[Any], Any], body: bytes, largest_bytes: int) -> bytes:
    """Decode one coding; of a body that breaks off, what came before."""
    stream, decoded = reader(io.BytesIO(body)), bytearray()
    try:
        while len(decoded) <= largest_bytes and (piece := stream.read(_PIECE_BYTES)):
            decoded += piece
    except OSError:
        if not decoded and not body.lstrip().startswith(b"<"):
            raise
        return bytes(decoded) or body
    return bytes(decoded[: largest_bytes + 1])


def _bare_deflate(body: bytes, largest_bytes: int) -> bytes:
    """What some servers send as deflate: the stream without the header of zlib."""
    try:
        return zlib.decompressobj(wbits=-15).decompress(body, largest_bytes + 1)
    except zlib.error as error:
        raise OSError(str(error)) from None


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""
