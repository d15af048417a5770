"""Single requests to the test site: what is had, what is refused and why, and that limits hold on the way."""

import asyncio
import gzip
import zlib

import pytest
from aiohttp import TCPConnector
from yarl import URL

from wholegpt.corpus.crawl import addresses
from wholegpt.corpus.crawl.requests import LARGE_BYTES, PAGE_TYPES, Answer, Client, Inflater, Refusal

LIMIT = 200_000


def get(url: str, limit: int = LIMIT, seconds: float = 5.0, allow_private: bool = True) -> Answer:
    async def run():
        async with Client("tests@localhost", seconds, allow_private) as client:
            return await client.get(URL(url), limit, PAGE_TYPES)

    return asyncio.run(run())


def refused(url: str, **options) -> tuple[str, bool]:
    with pytest.raises(Refusal) as caught:
        get(url, **options)
    return caught.value.reason, caught.value.passing


def test_a_page_comes_as_it_was_sent(site):
    answer = get(site.url("/gzip/a?b=%20c"))
    assert gzip.decompress(answer.body).decode().startswith("<!doctype html><title>/gzip/a")
    assert (answer.status, answer.address, answer.is_cut) == (200, "127.0.0.1", False)
    assert answer.head.startswith(b"HTTP/1.1 200 OK\r\n") and answer.head.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Encoding: gzip\r\n" in answer.head
    lines = answer.request.decode().split("\r\n")
    assert lines[0] == "GET /gzip/a?b=%20c HTTP/1.1"
    assert f"Host: host0.localhost:{site.port}" in lines
    assert any(line.startswith("User-Agent: wholeGPT/") and "+tests@localhost" in line for line in lines)
    assert not any(line.startswith(("Cookie", "Referer")) for line in lines)


def test_chunks_are_joined_and_the_head_says_so(site):
    answer = get(site.url("/chunked"))
    assert answer.body == b"<p>chunk 0</p><p>chunk 1</p><p>chunk 2</p>"
    assert b"\r\nX-Crawl-Transfer-Encoding: chunked\r\n" in answer.head


def test_bare_deflate_and_odd_charsets_pass_untouched(site):
    assert zlib.decompress(get(site.url("/deflate/a")).body, wbits=-15).startswith(b"<!doctype")
    answer = get(site.url("/latin"))
    assert answer.body == "<p>café".encode("latin-1")
    assert b"charset=no-such-charset" in answer.head


def test_an_endless_body_is_cut(site):
    answer = get(site.url("/endless"), limit=LARGE_BYTES + 1000)
    assert answer.is_cut and len(answer.body) == LARGE_BYTES + 1000
    assert answer.body.startswith(b"<p>and on it goes</p>")


@pytest.mark.parametrize(("path", "begin"), [("/bomb", b"\0\0\0"), ("/two-members", b"<p>one<p>two")])
def test_what_a_body_decodes_to_is_cut_and_then_stored_decoded(site, path, begin):
    answer = get(site.url(path))
    assert answer.is_cut and len(answer.body) == LIMIT
    assert answer.body.startswith(begin)
    assert b"\r\nX-Crawl-Content-Encoding: gzip\r\n" in answer.head


@pytest.mark.parametrize(("path", "reason"), [("/brotli", "broken-encoding"), ("/no-gzip", "broken-encoding")])
def test_encodings_that_were_not_asked_for_or_are_broken(site, path, reason):
    assert refused(site.url(path)) == (reason, False)


@pytest.mark.parametrize("kind", ["application/pdf", "image/png", "text/css", ""])
def test_other_types_are_refused_before_the_body(site, kind):
    assert refused(site.url(f"/type?type={kind}")) == ("type", False)


@pytest.mark.parametrize("kind", ["text/html;charset=x", "TEXT/HTML", "application/xhtml%2Bxml", "text/plain"])
def test_types_of_pages(site, kind):
    assert get(site.url(f"/type?type={kind}")).body == b"%PDF"


@pytest.mark.parametrize("path", ["/drip", "/silent", "/slow-head"])
def test_slow_answers_end_in_time(site, path):
    assert refused(site.url(path), seconds=0.6) == ("time-out", True)


@pytest.mark.parametrize("name", ["garbage", "long-header", "no-colon", "bad-chunks"])
def test_broken_answers(site, name):
    assert refused(site.url(f"/raw/{name}")) == ("broken-http", False)


@pytest.mark.parametrize("path", ["/raw/nothing", "/cut-off"])
def test_connections_that_break(site, path):
    assert refused(site.url(path)) == ("connection", True)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_be_another_answer_later(site, status):
    assert refused(site.url(f"/status/{status}")) == (f"status-{status}", True)


def test_other_statuses_are_answers_without_a_body(site):
    answer = get(site.url("/status/404"))
    assert (answer.status, answer.body) == (404, b"")


def test_failures_before_the_request():
    assert refused("http://no-such-name.invalid/")[0] == "dns"
    assert refused("http://127.0.0.1:9/") == ("connection", True)
    assert refused("http://2130706433/") == ("bad-url", False)
    assert refused("ftp://host/") == ("bad-url", False)


def test_speaking_tls_to_a_plain_server(site):
    assert refused(site.url("/page/1").replace("http:", "https:")) == ("tls", False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "host0.localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_private_addresses_are_not_connected_to(site, host):
    assert refused(f"http://{host}:{site.port}/page/1", allow_private=False) == ("private-address", False)
    assert not site.asked


def test_the_address_that_counts_is_the_one_connected_to(site, monkeypatch):
    """A name that is public when first looked up, and this machine the second time."""
    answers = ["8.8.8.8", "127.0.0.1"]

    async def resolve(_resolver, host, port, **_):
        entry = {"hostname": host, "port": port, "family": 2, "proto": 0, "flags": 0}
        return [{**entry, "host": answers.pop(0)}]

    monkeypatch.setattr(addresses.Names, "resolve", resolve)
    connected = []

    async def connect(self, *arguments, addr_infos, **options):
        connected.append(addr_infos[0][4][0])
        if connected == ["8.8.8.8"]:
            raise ConnectionRefusedError
        return await original(self, *arguments, addr_infos=addr_infos, **options)

    original = TCPConnector._wrap_create_connection
    monkeypatch.setattr(TCPConnector, "_wrap_create_connection", connect)
    url = f"http://rebinding.example:{site.port}/page/1"
    assert refused(url, allow_private=False)[0] == "connection"
    assert refused(url, allow_private=False) == ("private-address", False)
    assert connected == ["8.8.8.8", "127.0.0.1"] and not site.asked


def test_inflating_stops_at_the_limit_in_pieces_of_any_size():
    packed = gzip.compress(bytes(range(256)) * 100)
    for size in (1, 7, 1000):
        inflater, found = Inflater(10_000), b""
        for start in range(0, len(packed), size):
            found += inflater.feed(packed[start : start + size])
            if inflater.is_full:
                break
        assert inflater.is_full and found == (bytes(range(256)) * 100)[:10_000]
