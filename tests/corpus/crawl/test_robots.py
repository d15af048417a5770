"""robots.txt in all its states."""

import asyncio
import gzip
import time
from itertools import pairwise
from pathlib import Path

import pytest
from multidict import CIMultiDict
from yarl import URL

from wholegpt.corpus.crawl import robots
from wholegpt.corpus.crawl.requests import Answer, Refusal
from wholegpt.corpus.crawl.robots import LIMIT_BYTES, Fetched, Robots

ORIGIN = "http://a.example"
RULES = "User-agent: *\nDisallow: /private\nCrawl-delay: 7\nUser-agent: wholeGPT\nDisallow: /ours\nCrawl-delay: 3\n"


def answer(url: str, status: int, body: bytes = b"", **headers: str) -> Answer:
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Answer(URL(url), status, named, b"", b"", body[:LIMIT_BYTES], "", "", len(body) > LIMIT_BYTES)


class Web:
    """Answers by URL; asked for anything else it refuses."""

    def __init__(self, **pages: Answer) -> None:
        self.pages, self.asked = pages, []

    async def ask(self, url: URL, limit: int) -> Answer:
        self.asked.append(str(url))
        assert limit == 512 * 1024
        await asyncio.sleep(0)
        found = self.pages.get(str(url))
        if found is None:
            raise Refusal("connection", passing=True)
        return found


def verdicts(web: Web, path: Path, *urls: str) -> list[str]:
    """What the rules say of each URL, "" where it is allowed; all asked at once."""

    async def one(rules: Robots, url: str) -> str:
        try:
            (await rules.of(URL(url))).check(URL(url))
        except Refusal as refusal:
            return refusal.reason
        return ""

    async def run() -> list[str]:
        rules = Robots(path, web.ask)
        return list(await asyncio.gather(*(one(rules, url) for url in urls)))

    return asyncio.run(run())


def test_the_group_of_our_name_counts_and_is_fetched_once(tmp_path):
    web = Web(**{f"{ORIGIN}/robots.txt": answer(f"{ORIGIN}/robots.txt", 200, RULES.encode())})
    urls = [f"{ORIGIN}/private/1", f"{ORIGIN}/ours/1", f"{ORIGIN}/ours?x", f"{ORIGIN}/", f"{ORIGIN}/robots.txt"]
    assert verdicts(web, tmp_path / "kept", *urls) == ["", "robots", "robots", "", ""]
    assert len(web.asked) == 1
    assert [fetched.crawl_delay_seconds for fetched in robots.read(tmp_path / "kept")] == [3.0]


def test_each_origin_has_its_own(tmp_path):
    forbidding = answer("http://a.example:81/robots.txt", 200, b"User-agent: *\nDisallow: /")
    pages = {"http://a.example:81/robots.txt": forbidding, f"{ORIGIN}/robots.txt": answer(ORIGIN, 404)}
    assert verdicts(Web(**pages), tmp_path / "kept", f"{ORIGIN}/x", "http://a.example:81/x") == ["", "robots"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_where_there_is_none_all_is_allowed(tmp_path, status):
    web = Web(**{f"{ORIGIN}/robots.txt": answer(ORIGIN, status)})
    assert verdicts(web, tmp_path / "kept", f"{ORIGIN}/x") == [""]


def test_out_of_reach_nothing_is_allowed(tmp_path):
    assert verdicts(Web(), tmp_path / "kept", f"{ORIGIN}/x") == ["connection"]
    web = Web(**{f"{ORIGIN}/robots.txt": answer(ORIGIN, 501)})
    assert verdicts(web, tmp_path / "other", f"{ORIGIN}/x") == ["robots-unavailable"]


def chain(length: int) -> dict[str, Answer]:
    """So many redirects over other hosts, then rules that forbid everything."""
    urls = [f"{ORIGIN}/robots.txt", *(f"http://b{number}.example/r" for number in range(length))]
    pages = {url: answer(url, 301, Location=after) for url, after in pairwise(urls)}
    return {**pages, urls[-1]: answer(urls[-1], 200, b"User-agent: *\nDisallow: /")}


@pytest.mark.parametrize(("length", "verdict"), [(1, "robots"), (5, "robots"), (6, "")])
def test_five_redirects_are_followed(tmp_path, length, verdict):
    web = Web(**chain(length))
    assert verdicts(web, tmp_path / "kept", f"{ORIGIN}/x") == [verdict]
    assert len(web.asked) == min(length, 5) + 1


def test_the_first_512_kib_count(tmp_path):
    long = b"User-agent: *\nDisallow: /early\n" + b"#" * LIMIT_BYTES + b"\nDisallow: /late\n"
    web = Web(**{f"{ORIGIN}/robots.txt": answer(ORIGIN, 200, long)})
    assert verdicts(web, tmp_path / "kept", f"{ORIGIN}/early", f"{ORIGIN}/late") == ["robots", ""]


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (gzip.compress(b"User-agent: *\nDisallow: /x"), "robots"),
        (b"\xef\xbb\xbfUser-agent: *\nDisallow: /x", "robots"),
        (b"\xff\xfe\0\0 no text at all \0", ""),
        (b"<html>not found", ""),
        (b"", ""),
    ],
)
def test_what_servers_send_for_it(tmp_path, body, verdict):
    headers = {"Content_Encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
    web = Web(**{f"{ORIGIN}/robots.txt": answer(ORIGIN, 200, body, **headers)})
    assert verdicts(web, tmp_path / "kept", f"{ORIGIN}/x") == [verdict]


@pytest.mark.parametrize(("age", "asked"), [(23, 0), (25, 1)])
def test_kept_for_a_day_over_a_restart(tmp_path, age, asked):
    line = b'{"origin":"http://a.example","at":%f,"text":"User-agent: *\\nDisallow: /","crawl_delay_seconds":0.0}\n'
    (tmp_path / "kept").write_bytes(line % (time.time() - age * 3600) + b'{"origin":"http://b.exa')
    web = Web(**{f"{ORIGIN}/robots.txt": answer(ORIGIN, 404)})
    assert verdicts(web, tmp_path / "kept", f"{ORIGIN}/x") == ["" if asked else "robots"]
    assert len(web.asked) == asked
    assert [type(fetched) for fetched in robots.read(tmp_path / "kept")] == [Fetched] * (1 + asked)


@pytest.mark.parametrize(
    ("delay", "seconds"), [("2.5", 2.5), ("nan", 0), ("inf", 0), ("-3", 0), ("1e300", 1e9), ("x", 0)]
)
def test_odd_crawl_delays(tmp_path, delay, seconds):
    web = Web(**{f"{ORIGIN}/robots.txt": answer(ORIGIN, 200, f"User-agent: *\nCrawl-delay: {delay}".encode())})
    assert verdicts(web, tmp_path / "kept", f"{ORIGIN}/x") == [""]
    assert [fetched.crawl_delay_seconds for fetched in robots.read(tmp_path / "kept")] == [seconds]
