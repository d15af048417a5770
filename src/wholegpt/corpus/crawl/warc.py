"""WARC 1.1 files (ISO 28500:2017) of what a crawl stored: each record one gzip member or one zstd frame.

    warcinfo    once a file: software, contact, rules
    response    a page as it was sent: head and body, the coding of its content kept. The chunks of a transfer are
                joined, its header is then called X-Crawl-Transfer-Encoding; of a body that was cut, the coding is
                undone too, and WARC-Truncated says `length`
    request     what was sent for it, WARC-Concurrent-To the response

A response also carries what the link said, in fields of its own, where it is known: WARC-wholeGPT-Url (as submitted,
WARC-Target-URI is where it led to), -Karma, -Date and -Id. Files get a new number when they reach their size.
"""

import base64
import hashlib
import io
import os
import threading
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import zstandard

from wholegpt import __version__
from wholegpt.corpus.crawl.queue import Link
from wholegpt.corpus.crawl.requests import Answer

Compression = Literal["zst", "gz"]
ZSTD_LEVEL, GZIP_LEVEL = 3, 6


@dataclass(frozen=True)
class Place:
    """Where the records of a page stand: from the first byte to the one behind the last."""

    file: str
    begin: int
    end: int


class WarcWriter:
    """Appends pages to numbered files in a folder; nothing is buffered."""

    def __init__(
        self, folder: Path, prefix: str, compression: Compression, file_bytes: int, description: str, number: int = 0
    ) -> None:
        """Go on with file `number`, which holds whole records only, or begin it with the first page."""
        self._folder, self._prefix, self._ending, self._number = folder, prefix, compression, number
        self._file_bytes, self._description = file_bytes, description
        self._compress = _compressor(compression)
        self._stream: io.FileIO | None = None
        # `sync` runs in a thread of its own.
        self._lock = threading.Lock()

    def write(self, link: Link, answer: Answer) -> Place:
        """Append a page: its response, and the request for it."""
        stream = self._open()
        begin = stream.tell()
        identity = _new_identity()
        target = {"WARC-Target-URI": str(answer.url), "WARC-Date": answer.date, "WARC-IP-Address": answer.address}
        response = {
            "WARC-Type": "response",
            "WARC-Record-ID": identity,
            **target,
            "WARC-Payload-Digest": digest(answer.body),
            **({"WARC-Truncated": "length"} if answer.is_cut else {}),
            **submission(link),
            "Content-Type": "application/http; msgtype=response",
        }
        request = {
            "WARC-Type": "request",
            "WARC-Record-ID": _new_identity(),
            "WARC-Concurrent-To": identity,
            **target,
            "Content-Type": "application/http; msgtype=request",
        }
        page = self._compress(record(response, answer.head + answer.body), answer.is_packed)
        _append(stream, page + self._compress(record(request, answer.request), False))
        return Place(self._name(), begin, stream.tell())

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        with self._lock:
            if self._stream:
                os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Sync and close the file; the next page begins another one."""
        self.sync()
        with self._lock:
            if self._stream:
                self._stream.close()
            self._stream = None

    def _open(self) -> io.FileIO:
        """The file for the next page: the one before, or where that is full another one."""
        if self._stream and self._stream.tell() >= self._file_bytes:
            self.close()
            self._number += 1
        if self._stream is None:
            self._stream = io.FileIO(self._folder / self._name(), "a")
            if not self._stream.seek(0, os.SEEK_END):
                _append(self._stream, self._compress(self._first_record(), False))
        return self._stream

    def _name(self) -> str:
        return f"{self._prefix}-{self._number:05d}.warc.{self._ending}"

    def _first_record(self) -> bytes:
        fields = {
            "WARC-Type": "warcinfo",
            "WARC-Record-ID": _new_identity(),
            "WARC-Date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "WARC-Filename": self._name(),
            "Content-Type": "application/warc-fields",
        }
        lines = f"software: wholeGPT/{__version__}\r\nformat: WARC File Format 1.1\r\n{self._description}"
        return record(fields, lines.encode())


def record(fields: dict[str, str], block: bytes) -> bytes:
    """A record in its plain form; digest and length of the block are added."""
    fields = {**fields, "WARC-Block-Digest": digest(block), "Content-Length": str(len(block))}
    lines = ["WARC/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + block + b"\r\n\r\n"


def digest(content: bytes) -> str:
    """SHA-1 in base 32, as the field writes it.

    >>> digest(b"")
    'sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ'
    """
    return "sha1:" + base64.b32encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()


def submission(link: Link) -> dict[str, str]:
    """What is known of a link, as fields of its page; a line break in it would end the field."""
    known = {"Url": link.origin or link.url, "Karma": link.karma, "Date": link.date, "Id": link.id}
    words = {name: " ".join(str(value).split()) for name, value in known.items() if value is not None}
    return {f"WARC-wholeGPT-{name}": value for name, value in words.items() if value}


def _compressor(compression: Compression) -> Callable[[bytes, bool], bytes]:
    """Makes a member of a record; gzip, slow, leaves alone what is packed already (zstd sees it for itself)."""
    if compression == "zst":
        frame = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress
        return lambda content, _: frame(content)
    return lambda content, is_packed: zlib.compress(content, 0 if is_packed else GZIP_LEVEL, wbits=zlib.MAX_WBITS | 16)


def _append(stream: io.FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[stream.write(left) :]


def _new_identity() -> str:
    return f"<urn:uuid:{uuid.uuid4()}>"
