"""A web site on 127.0.0.1 with all that a crawl meets; each path says what it does.

Its hosts are `host0.localhost`, `host1.localhost`, ...; what a host's robots.txt is stands in `robots`.
"""

import asyncio
import gc
import gzip
import shutil
import threading
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fastwarc.warc import ArchiveIterator, WarcRecordType

from wholegpt.corpus import records
from wholegpt.corpus.crawl import crawler, queue
from wholegpt.corpus.crawl.crawler import CrawlOptions
from wholegpt.corpus.crawl.queue import DealOptions
from wholegpt.runner import Shard

# Handlers are found by name and called alike, whether they look at the request or not.
# ruff: noqa: ARG002
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def host(number: int) -> str:
    """One of many names of this machine."""
    return f"host{number}.localhost"


def page(text: str, repeat: int = 20) -> str:
    return f"<!doctype html><title>{text}</title>" + f"<p>The page {text} of the test site.</p>" * repeat


class Site:
    """The server, in a thread of its own; it counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.times: list[tuple[str, float]] = []
        self.agents: set[str] = set()
        # Requests of a host that are being answered, and the most there ever were.
        self.running: Counter[str] = Counter()
        self.most_at_once = 0
        self.hosts_at_once = 0
        self.robots: dict[str, Handler] = {}
        self.delay = 0.0
        self.port = 0

    def url(self, path: str, number: int = 0) -> str:
        return f"http://{host(number)}:{self.port}{path}"

    @contextmanager
    def serve(self) -> Iterator["Site"]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._begin(), loop).result()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _begin(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return runner

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.host.partition(":")[0]
        self.asked[f"{name}{request.path}"] += 1
        self.times.append((name, time.monotonic()))
        self.agents.add(request.headers.get("User-Agent", ""))
        self.running[name] += 1
        self.most_at_once = max(self.most_at_once, self.running[name])
        self.hosts_at_once = max(self.hosts_at_once, sum(number > 0 for number in self.running.values()))
        try:
            await asyncio.sleep(self.delay)
            if request.path == "/robots.txt":
                return await self.robots[name](request) if name in self.robots else web.Response(status=404)
            handler = getattr(self, "_" + request.path.split("/")[1].replace("-", "_"))
            return await handler(request)
        finally:
            self.running[name] -= 1

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=page(request.path), content_type="text/html")

    async def _gzip(self, request: web.Request) -> web.StreamResponse:
        body = gzip.compress(page(request.path).encode(), mtime=0)
        return web.Response(body=body, content_type="text/html", headers={"Content-Encoding": "gzip"})

    async def _deflate(self, request: web.Request) -> web.StreamResponse:
        body = zlib.compress(page(request.path).encode(), wbits=-15)
        return web.Response(body=body, content_type="text/html", headers={"Content-Encoding": "deflate"})

    async def _two_members(self, request: web.Request) -> web.StreamResponse:
        body = gzip.compress(b"<p>one", mtime=0) + gzip.compress(b"<p>two" * 100_000, mtime=0)
        return web.Response(body=body, content_type="text/html", headers={"Content-Encoding": "gzip"})

    async def _brotli(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\x0b\x02", content_type="text/html", headers={"Content-Encoding": "br"})

    async def _no_gzip(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"plain", content_type="text/html", headers={"Content-Encoding": "gzip"})

    async def _bomb(self, request: web.Request) -> web.StreamResponse:
        body = gzip.compress(b"\0" * 60_000_000, 9, mtime=0)
        return web.Response(body=body, content_type="text/html", headers={"Content-Encoding": "gzip"})

    async def _chunked(self, request: web.Request) -> web.StreamResponse:
        response = await _stream(request)
        for number in range(3):
            await response.write(f"<p>chunk {number}</p>".encode())
        return response

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = await _stream(request)
        while True:
            await response.write(b"<p>and on it goes</p>" * 5_000)

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        response = await _stream(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.05)

    async def _silent(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=int(request.path.split("/")[2]))

    async def _busy(self, request: web.Request) -> web.StreamResponse:
        """503 or 429 at first, with `Retry-After: 1`; then a page."""
        if self.asked[f"{request.host.partition(':')[0]}{request.path}"] == 1:
            return web.Response(status=int(request.path.split("/")[2]), headers={"Retry-After": "1"})
        return await self._page(request)

    async def _tomorrow(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "86400"})

    async def _type(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"%PDF", headers={"Content-Type": request.query["type"]})

    async def _latin(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/html; charset=no-such-charset"}
        return web.Response(body="<p>café".encode("latin-1"), headers=headers)

    async def _to(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.query["url"]})

    async def _loop(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=301, headers={"Location": str(request.url)})

    async def _chain(self, request: web.Request) -> web.StreamResponse:
        left = int(request.path.split("/")[2])
        return web.Response(status=307, headers={"Location": f"/chain/{left - 1}" if left > 1 else "/page/end"})

    async def _nowhere(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302)

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        """Answers that no server should give, written to the connection by hand."""
        answers = {
            "garbage": b"SSH-2.0-OpenSSH\r\n\r\n",
            "long-header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
            "no-colon": b"HTTP/1.1 200 OK\r\nContent-Type text/html\r\n\r\n",
            "bad-chunks": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "nothing": b"",
        }
        assert request.transport
        request.transport.write(answers[request.path.split("/")[2]])
        request.transport.close()
        return web.Response()

    async def _slow_head(self, request: web.Request) -> web.StreamResponse:
        assert request.transport
        request.transport.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100):
            request.transport.write(b"X-%d: 1\r\n" % number)
            await asyncio.sleep(0.1)
        return web.Response()

    async def _cut_off(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "text/html"})
        await response.prepare(request)
        await response.write(b"<p>not all")
        request.transport.close()
        return response


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/html"})
    await response.prepare(request)
    return response


@dataclass
class Crawled:
    """What came of a crawl: the body of each page by its URL as submitted, the reason for each URL without one."""

    counts: dict[str, int]
    pages: dict[str, bytes]
    reasons: dict[str, str]
    redirected: list[dict[str, Any]]


@pytest.fixture
def read_pages() -> Callable[[Path], list[tuple[dict[str, str], bytes]]]:
    return responses


def responses(folder: Path) -> list[tuple[dict[str, str], bytes]]:
    """Fields and bodies of all responses in the WARC files of a folder."""
    found = []
    for path in sorted(folder.glob("*.warc.*")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=True):
                found.append((dict(record.headers), record.reader.read()))
    return found


@pytest.fixture
def crawl(tmp_path: Path) -> Callable[..., Crawled]:
    """Crawl URLs as one shard, in this process."""

    def run(urls: list[str], shards: int = 1, **rules: Any) -> Crawled:
        for name in ("deal", "queue", "pages"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            (tmp_path / name).mkdir()
        (tmp_path / "links.txt").write_text("\n".join(urls))
        queue.deal(Shard("0", (tmp_path / "links.txt",)), tmp_path / "deal", DealOptions(shards))
        queue.line_up(Shard("0", (tmp_path / "deal" / "00000.parquet",)), tmp_path / "queue", DealOptions(shards))
        shard = Shard("0-00000", (tmp_path / "queue" / queue.QUEUE, tmp_path / "queue" / queue.HOSTS), (0,))
        given = {"delay_seconds": 0.0, "timeout_seconds": 5.0, "allow_private": True, **rules}
        options = CrawlOptions(tmp_path / "work", shards, "tests@localhost", **given)
        counts = crawler.crawl(shard, tmp_path / "pages", options)
        pages = responses(tmp_path / "pages")
        rejects = list(records.rows([tmp_path / "pages" / records.REJECTS]))
        redirected = list(records.rows([tmp_path / "pages" / crawler.REDIRECTED]))
        bodies = {fields["WARC-wholeGPT-Url"]: body for fields, body in pages}
        assert len(bodies) == len(pages) == counts.get("stored", 0)
        return Crawled(counts, bodies, {row["url"]: row["reason"] for row in rejects}, redirected)

    return run


@pytest.fixture(scope="module", autouse=True)
def swept() -> Iterator[None]:
    """Finalizers of servers and clients run here: in the middle of another test's `ast.parse` Python 3.11 fails."""
    yield
    gc.collect()


@pytest.fixture
def site() -> Iterator[Site]:
    """The test site, running."""
    with Site().serve() as running:
        yield running
