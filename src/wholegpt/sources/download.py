"""One file over HTTP: a break, or the end of this process, loses nothing that is on the disk.

The bytes go to `NAME.partial`; `NAME.partial.json` says what they are the beginning of. The next attempt asks for the
rest (Range), and only if the file has not changed meanwhile: its hash decides where it is known, else the host's own
mark (If-Range). A host that answers with the whole file is taken at its word. NAME appears when the file is whole and
its hash is right.
"""

import hashlib
import re
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wholegpt import __version__, artifact
from wholegpt.errors import WholeGPTError
from wholegpt.progress import bar, say

CHUNK_BYTES = 1 << 16
# Statuses that another attempt may cure.
_PASSING = {408, 425, 429, 500, 502, 503, 504}

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How long a host is given."""

    connect_seconds: float = 20
    """For a connection."""
    silence_seconds: float = 60
    """Between two pieces of an answer."""
    attempts: int = 4
    """In a row that bring nothing new."""
    pause_seconds: float = 1
    """Before the second attempt; doubles with each."""


class Unreachable(WholeGPTError):
    """A host did not give what it was asked for; another may."""


class Broken(Exception):
    """An attempt failed in a way that another may not."""


def download(
    url: str, path: Path, expected: str | None, patience: Patience, headers: Mapping[str, str] | None = None
) -> str:
    """Bring the file at `url` to `path`, whose folder exists; returns its SHA-256.

    `expected` is the SHA-256 it must have, if known. Unreachable where the host does not give it, WholeGPTError where
    it gives something else. One process at a time: the caller holds a lock.
    """
    part = _Part(path, expected, url)
    digest = persist(url, lambda: _attempt(url, part, patience, headers or {}), patience, part.size)
    artifact.sync(part.path)
    part.path.replace(path)
    part.note.unlink(missing_ok=True)
    return digest


def persist(
    what: str, attempt: Callable[[], Result], patience: Patience, reached: Callable[[], int] = lambda: 0
) -> Result:
    """The result of the first attempt that is not Broken; Unreachable when too many in a row got no further.

    `reached` counts what is there already, so that a large file over a poor line is not given up while it grows.
    """
    furthest, failures = reached(), 0
    while True:
        try:
            return attempt()
        except Broken as fault:
            failures = 1 if reached() > furthest else failures + 1
            furthest = max(furthest, reached())
            if failures >= max(patience.attempts, 1):
                raise Unreachable(f"{what}: {fault}") from None
            pause = patience.pause_seconds * 2 ** (failures - 1)
            say(f"{what}: {fault}; again in {pause:g} s")
        time.sleep(pause)


class _Part:
    """What is on the disk of a file that is not whole."""

    def __init__(self, path: Path, expected: str | None, url: str) -> None:
        self.name, self.expected = path.name, expected
        self.path = path.with_name(path.name + ".partial")
        self.note = path.with_name(path.name + ".partial.json")
        # Bytes of a known hash may come from anywhere.
        self.identity = expected or url

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def read_note(self) -> dict[str, Any]:
        """What the bytes are the beginning of; empty where that is unknown, or something else."""
        try:
            note = artifact.read_json(self.note) if self.note.is_file() else {}
        except WholeGPTError:  # a note without sense is no note: the download begins anew
            return {}
        return note if isinstance(note, dict) and note.get("identity") == self.identity else {}

    def start(self, validator: str | None, total: int | None) -> None:
        """Begin at the first byte."""
        self.path.write_bytes(b"")
        artifact.write_json(self.note, {"identity": self.identity, "validator": validator, "total": total})

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _attempt(url: str, part: _Part, patience: Patience, headers: Mapping[str, str]) -> str:
    """Go on from what is there to the end; the SHA-256 of the whole."""
    note = part.read_note()
    resumable = note and (part.expected or note.get("validator"))
    offset = part.size() if resumable else 0
    hasher = hashlib.sha256()
    if offset and offset == note.get("total"):  # whole before: only its name was missing
        _hash_beginning(hasher, part, offset)
        start = offset
    else:
        start = _stream(url, part, offset, note, hasher, patience, headers)
    digest = hasher.hexdigest()
    if part.expected not in (None, digest):
        part.discard()
        if start:
            raise Broken("what was there before does not belong to it")
        raise WholeGPTError(
            f"{url} is not the file it should be (sha256 {digest[:12]}..., expected {str(part.expected)[:12]}...); "
            "nothing of it was kept"
        )
    return digest


def _stream(
    url: str,
    part: _Part,
    offset: int,
    note: Mapping[str, Any],
    hasher: Any,
    patience: Patience,
    headers: Mapping[str, str],
) -> int:
    """Append the answer to the part and to the hash; returns the byte at which it began."""
    asked = {"Accept-Encoding": "identity", "User-Agent": f"wholegpt/{__version__}", **headers}
    if offset:
        asked["Range"] = f"bytes={offset}-"
        if not part.expected:
            asked["If-Range"] = note["validator"]
    with _answer(url, asked, patience) as response:
        start, total = _span(response, offset, part, note.get("total"))
        _check_space(part, total, start)
        if start:
            _hash_beginning(hasher, part, start)
        else:
            part.start(_validator(response), total)
        with part.path.open("ab") as stream, bar(part.name, _megabytes(total), "MB", _megabytes(start) or 0) as shown:
            for chunk in response.iter_content(CHUNK_BYTES):
                stream.write(chunk)
                stream.flush()  # what arrived outlives this process
                hasher.update(chunk)
                shown.advance((_megabytes(stream.tell()) or 0) - shown.done)
    if total is not None and part.size() != total:
        raise Broken(f"the connection broke after {part.size():,} of {total:,} bytes")
    return start


@contextmanager
def _answer(url: str, headers: Mapping[str, str], patience: Patience) -> Iterator[Any]:
    """The response of a host that has the file; its faults, also those while it is read, as Broken or Unreachable."""
    import requests

    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    timeout = (patience.connect_seconds, patience.silence_seconds)
    try:
        with requests.get(url, headers=dict(headers), stream=True, timeout=timeout) as response:
            status = f"{response.status_code} {response.reason}".strip()
            if response.status_code in _PASSING:
                raise Broken(f"the host answered {status}")
            if response.status_code not in (200, 206, 416):
                raise Unreachable(f"{url}: the host answered {status}")
            yield response
    except requests.exceptions.SSLError as error:
        raise Unreachable(f"{url}: {reason(error)}") from None
    except passing as error:
        raise Broken(reason(error)) from None
    except requests.RequestException as error:
        raise Unreachable(f"{url}: {reason(error)}") from None


def _span(response: Any, offset: int, part: _Part, known_total: int | None) -> tuple[int, int | None]:
    """Where the answer begins and how long the whole file is [bytes; None: unsaid].

    Broken, and the part thrown away, if the answer does not go on where the part ends.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise Unreachable(f"{response.url}: the host sends the file as {encoding}, which was not asked for")
    if response.status_code == 200:
        return 0, _length(response, part)
    stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    total = int(stated[2]) if stated and stated[2] != "*" else known_total
    fits = response.status_code == 206 and offset and stated and int(stated[1]) == offset
    if not fits or (known_total is not None and total != known_total):
        part.discard()
        raise Broken(f"the host cannot go on from byte {offset:,}")
    return offset, total


def _length(response: Any, part: _Part) -> int | None:
    """What the host says of the length of a whole file; Unreachable where nothing at all would show a break."""
    length = response.headers.get("Content-Length", "")
    if length.isdecimal():
        return int(length)
    if not part.expected and response.headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise Unreachable(f"{response.url}: the host does not say how long the file is, so a break would go unnoticed")
    return None


def _validator(response: Any) -> str | None:
    """What marks this version of the file for If-Range, which weak marks cannot."""
    etag = response.headers.get("ETag", "W/")
    mark = response.headers.get("Last-Modified") if etag.startswith("W/") else etag
    return None if mark is None else str(mark)


def _check_space(part: _Part, total: int | None, start: int) -> None:
    free = shutil.disk_usage(part.path.parent).free + (0 if start else part.size())
    if total is not None and total - start > free:
        raise WholeGPTError(
            f"{part.name} takes {(total - start) / 1e6:,.0f} MB more and {part.path.parent} has {free / 1e6:,.0f} MB "
            "free; free some and run the same command again"
        )


def _hash_beginning(hasher: Any, part: _Part, size: int) -> None:
    with part.path.open("rb") as stream:
        while size and (chunk := stream.read(min(size, 1 << 20))):
            hasher.update(chunk)
            size -= len(chunk)


def _megabytes(size: int | None) -> int | None:
    """Rounded up, so that the last byte completes the bar."""
    return None if size is None else -(-size // 1_000_000)


def reason(error: BaseException) -> str:
    """What happened, in words, from the cause at the bottom of an HTTP library's exceptions."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            return "the host's name was not found (is there a network?)"
        if isinstance(cause, ConnectionRefusedError):
            return "the host refused the connection"
        if isinstance(cause, ssl.SSLError):
            return f"no secure connection ({cause.reason or type(cause).__name__})"
    if any("Timeout" in type(cause).__name__ or isinstance(cause, TimeoutError) for cause in chain):
        connecting = any("ConnectTimeout" in type(cause).__name__ for cause in chain)
        return "no connection came about in time" if connecting else "the host fell silent"
    if any("Redirects" in type(cause).__name__ for cause in chain):
        return "the host sends from one address to the next without end"
    return f"the connection broke ({type(error).__name__})"
