"""One request and its answer, within limits of time, size and type that hold while the answer arrives."""

import asyncio
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from aiohttp import ClientResponse
from yarl import URL

from wholegpt import __version__
from wholegpt.corpus.crawl import addresses

if TYPE_CHECKING:
    from aiohttp.connector import Connection

PRODUCT = "wholeGPT"
PAGE_TYPES = ("text/html", "application/xhtml+xml", "text/plain")
ENCODINGS = ("gzip", "x-gzip", "deflate")
# Answers that may be another one later.
PASSING = (429, 500, 502, 503, 504)
# Bodies above the first may be in memory this many at a time.
LARGE_BYTES, LARGE_BODIES = 2**20, 16
HEADER_BYTES = 2**15
# Of the time for a request, to the end of the headers.
HEADER_SHARE = 0.5


class Refusal(Exception):
    """A URL is not stored: the reason, and what else there is to say."""

    def __init__(self, reason: str, detail: str = "", passing: bool = False, retry_after: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail
        # Whether another attempt may succeed, and when, in the host's words.
        self.passing, self.retry_after = passing, retry_after


@dataclass
class Answer:
    """What came back: heads and body as bytes, the body decoded only from chunks (and where it was cut)."""

    url: URL
    status: int
    headers: Any = field(repr=False)
    request: bytes = field(repr=False)
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)
    address: str
    date: str
    is_cut: bool = False

    @property
    def is_packed(self) -> bool:
        """Whether the body is compressed."""
        return bool(_encoding(self.headers)) and not self.is_cut

    def text(self, limit_bytes: int) -> str:
        """The body as text in UTF-8, with a mark of byte order or without, up to a limit."""
        body = Inflater(limit_bytes).feed(self.body) if self.is_packed else self.body
        return body.decode("utf-8-sig", errors="replace")


class _Response(ClientResponse):
    """Remembers the address, which is forgotten with the connection."""

    address = ""

    async def start(self, connection: "Connection") -> ClientResponse:
        peer = connection.transport.get_extra_info("peername") if connection.transport else None
        self.address = str(peer[0]) if peer else ""
        return await super().start(connection)


class Client:
    """Sends requests; `async with` opens and closes its connections."""

    def __init__(self, contact: str, timeout_seconds: float, allow_private: bool) -> None:
        self._agent = f"{PRODUCT}/{__version__} (+{contact})"
        self._timeout_seconds, self._allow_private = timeout_seconds, allow_private
        self._large = asyncio.Semaphore(LARGE_BODIES)
        self.bytes = 0

    async def __aenter__(self) -> "Client":
        connector = aiohttp.TCPConnector(
            limit=0,  # politeness bounds them: one a host
            resolver=addresses.Names(),
            use_dns_cache=False,  # theirs grows with the hosts
            socket_factory=None if self._allow_private else addresses.open_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            response_class=_Response,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
            headers={
                "User-Agent": self._agent,
                "Accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.1",
                "Accept-Encoding": "gzip, deflate",
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, url: URL, limit_bytes: int, types: Sequence[str] = ()) -> Answer:
        """One GET, redirects not followed; the body of an answer 200 is cut at `limit_bytes`, as sent and as decoded.

        Raises Refusal for what cannot be had now or ever, and for a page of none of the `types`, if there are any.
        """
        try:
            return await self._get(url, limit_bytes, types)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise refusal(error) from None

    async def _get(self, url: URL, limit_bytes: int, types: Sequence[str]) -> Answer:
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        async with asyncio.timeout(HEADER_SHARE * self._timeout_seconds):
            response = cast(_Response, await self._session.get(url, allow_redirects=False))
        async with response:
            if response.status in PASSING:
                retry_after = response.headers.get("Retry-After", "")
                raise Refusal(f"status-{response.status}", passing=True, retry_after=retry_after)
            body, is_cut = b"", False
            if response.status == 200:
                _check_type(response, types)
                body, is_cut = await self._body(response, limit_bytes)
            decoded = is_cut and bool(_encoding(response.headers))
            return Answer(
                url,
                response.status,
                response.headers,
                _request_head(response),
                _response_head(response, decoded),
                body,
                response.address,
                date,
                is_cut,
            )

    async def _body(self, response: ClientResponse, limit_bytes: int) -> tuple[bytes, bool]:
        """The body as sent; where it, or what it decodes to, is too long: the beginning, decoded."""
        pieces: list[bytes] = []
        size, is_large = 0, False
        inflater = Inflater(limit_bytes) if _encoding(response.headers) else None
        try:
            async for piece in response.content.iter_any():
                self.bytes += len(piece)
                size += len(piece)
                pieces.append(piece)
                if inflater:
                    inflater.feed(piece)
                if size > limit_bytes or (inflater and inflater.is_full):
                    body = b"".join(pieces)[:limit_bytes]
                    return (Inflater(limit_bytes).feed(body) if inflater else body), True
                if size > LARGE_BYTES and not is_large:
                    is_large = await self._large.acquire()
        finally:
            if is_large:
                self._large.release()
        return b"".join(pieces), False


class Inflater:
    """Undoes gzip and deflate up to a limit, so that a small bomb stays small."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._stream: Any = None
        self.is_full = False

    def feed(self, piece: bytes) -> bytes:
        """What the piece decodes to, or its beginning once the limit is reached; Refusal for broken data."""
        decoded = []
        try:
            for part in self._inflate(piece):
                decoded.append(part[: self._left])
                self.is_full = len(part) > self._left
                self._left -= len(decoded[-1])
                if self.is_full:
                    break
        except zlib.error as error:
            raise Refusal("broken-encoding", str(error)) from None
        return b"".join(decoded)

    def _inflate(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            if self._stream is None:
                # Deflate is meant to have zlib's header (low half 8); many servers send it bare.
                is_bare = piece[0] & 15 != 8 and piece[:1] != b"\x1f"
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS | 32)
            yield self._stream.decompress(piece, self._left + 1)
            piece = self._stream.unconsumed_tail
            if self._stream.eof:
                # Another member, or what some servers leave behind the last.
                piece = self._stream.unused_data
                piece, self._stream = (piece, None) if piece[:1] == b"\x1f" else (b"", self._stream)


def refusal(error: Exception) -> Refusal:
    """The reason for a failed request."""
    cause = getattr(error, "os_error", error)
    if isinstance(error, TimeoutError):
        return Refusal("time-out", passing=True)
    if isinstance(cause, addresses.PrivateAddress):
        return Refusal("private-address")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Refusal("dns", passing=addresses.may_pass(error.os_error))
    if isinstance(error, aiohttp.ClientSSLError):
        return Refusal("tls", str(error)[:200])
    if isinstance(error, aiohttp.ClientResponseError):
        return Refusal("broken-http", error.message[:200])
    # The last from the encoding of a host's name.
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError | ValueError):
        return Refusal("bad-url", str(error)[:200])
    return Refusal("connection", str(error)[:200], passing=True)


def _encoding(headers: Any) -> str:
    """How the body is compressed, "" if it is not."""
    encoding = headers.get("Content-Encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


def _check_type(response: ClientResponse, types: Sequence[str]) -> None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if types and kind not in types:
        raise Refusal("type", kind[:100])
    if _encoding(response.headers) not in ("", *ENCODINGS):
        raise Refusal("broken-encoding", _encoding(response.headers)[:100])


def _request_head(response: ClientResponse) -> bytes:
    asked = response.request_info
    lines = [f"GET {asked.url.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def _response_head(response: ClientResponse, is_decoded: bool) -> bytes:
    """The head as sent, but that codings which the stored body has no more are marked so."""
    undone = {b"transfer-encoding", *((b"content-encoding",) if is_decoded else ())}
    version = response.version or aiohttp.HttpVersion11
    first = f"HTTP/{version.major}.{version.minor} {response.status} {response.reason or ''}".rstrip()
    lines = [first.encode("utf-8", "surrogateescape")]
    for name, value in response.raw_headers:
        lines.append((b"X-Crawl-" if name.lower() in undone else b"") + name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])
