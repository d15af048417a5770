"""Other people's ways to fetch pages and to write WARC, and a server on this machine; for the benchmark beside."""

import asyncio
import io
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PATHS = b"/page/"


class Server(asyncio.Protocol):
    """Answers `/page/N` with page N modulo all, compressed as a server keeps it; one request after another."""

    pages: Sequence[bytes] = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.transport.write(self.answer(head.split(b" ", 2)[1]))  # type: ignore[attr-defined]

    def answer(self, path: bytes) -> bytes:
        if not path.startswith(PATHS):
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        body = self.pages[int(path.removeprefix(PATHS)) % len(self.pages)]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\n"
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def serve(pages: Sequence[bytes], port: Any) -> None:
    """The body of the server's process; `port` (a connection) gets its number."""

    async def forever() -> None:
        Server.pages = pages
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


async def in_turns(hosts: Sequence[Sequence[str]], get: Any, open_hosts: int) -> None:
    """So many hosts at a time, each asked for its URLs one after another."""
    left = iter(hosts)

    async def work() -> None:
        for urls in left:
            for url in urls:
                await get(url)

    await asyncio.gather(*(work() for _ in range(open_hosts)))


async def with_httpx(hosts: Sequence[Sequence[str]], open_hosts: int, _: Path) -> None:
    """Fetch only: nothing is written."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:

        async def get(url: str) -> None:
            # It takes no names from us: the address stands for them, so all hosts share its connections.
            address = httpx.URL(url)
            answer = await client.get(address.copy_with(host="127.0.0.1"), headers={"Host": address.host})
            answer.raise_for_status()

        await in_turns(hosts, get, open_hosts)


def loopback() -> Any:
    """A resolver of aiohttp that takes all names to this machine."""
    from aiohttp.abc import AbstractResolver

    class Loopback(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> Any:
            return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

        async def close(self) -> None:
            pass

    return Loopback()


async def with_warcio(hosts: Sequence[Sequence[str]], open_hosts: int, path: Path, as_sent: bool = False) -> None:
    """aiohttp, and warcio for requests and responses, as its documentation shows; `as_sent`: bodies left compressed."""
    import aiohttp
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    connector = aiohttp.TCPConnector(limit=0, resolver=loopback())
    with path.open("wb") as stream:
        writer = WARCWriter(stream, gzip=True, warc_version="WARC/1.1")
        async with aiohttp.ClientSession(connector=connector, auto_decompress=not as_sent) as session:

            async def get(url: str) -> None:
                async with session.get(url) as response:
                    body = await response.read()
                asked = list(response.request_info.headers.items())
                headers = [(name.decode(), value.decode("latin-1")) for name, value in response.raw_headers]
                if not as_sent:
                    headers = [pair for pair in headers if pair[0] != "Content-Encoding"]
                status = StatusAndHeaders(f"{response.status} {response.reason}", headers, "HTTP/1.1")
                found = writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=status)
                line = StatusAndHeaders(f"GET {response.url.raw_path} HTTP/1.1", asked, is_http_request=True)
                writer.write_request_response_pair(writer.create_warc_record(url, "request", http_headers=line), found)

            await in_turns(hosts, get, open_hosts)
