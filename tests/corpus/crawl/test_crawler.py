"""Crawls of the test site: who is asked, when and how often; where redirects may lead; going on after an end."""

import time

import pytest
from aiohttp import web

from wholegpt.corpus.crawl import addresses, crawler, politeness, requests, robots
from wholegpt.corpus.crawl.ledger import Ledger


def says(text: str, **options):
    """A robots.txt."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, **options)

    return answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(politeness, "FIRST_RETRY_SECONDS", 0.01)


def test_every_url_is_asked_for_once_by_one_connection_a_host(site, crawl):
    site.delay = 0.005
    urls = [site.url(f"/page/{number}", number % 5) for number in range(50)]
    found = crawl(urls)
    assert found.counts == {"stored": 50} and set(found.pages) == set(urls) and not found.reasons
    assert found.pages[urls[7]].startswith(b"<!doctype html><title>/page/7<")
    assert site.most_at_once == 1
    assert set(site.asked.values()) == {1} and len(site.asked) == 55
    assert sum(count for path, count in site.asked.items() if path.endswith("robots.txt")) == 5


@pytest.mark.parametrize(("open_hosts", "most"), [(2, 2), (100, 6)])
def test_hosts_are_open_at_the_same_time_up_to_a_number(site, crawl, open_hosts, most):
    site.delay = 0.05
    crawl([site.url("/page/1", number) for number in range(6)], open_hosts=open_hosts)
    assert site.hosts_at_once == most


def test_requests_to_a_host_are_apart(site, crawl):
    crawl([site.url(f"/page/{number}", number % 2) for number in range(6)], delay_seconds=0.2)
    for name in ("host0.localhost", "host1.localhost"):
        times = [at for host, at in site.times if host == name]
        assert len(times) == 4 and times[-1] - times[0] > 0.5


def test_a_crawl_delay_is_obeyed_up_to_the_cap(site, crawl):
    site.robots["host0.localhost"] = says("User-agent: *\nCrawl-delay: 0.2")
    site.robots["host1.localhost"] = says("User-agent: *\nCrawl-delay: 3600")
    crawl([site.url(f"/page/{number}", number % 2) for number in range(4)], crawl_delay_cap_seconds=0.3)
    for name, seconds in (("host0.localhost", 0.2), ("host1.localhost", 0.3)):
        first, second = [at for host, at in site.times if host == name][1:]
        assert second - first > seconds - 0.1


def test_what_robots_forbid_is_not_asked_for(site, crawl):
    site.robots["host0.localhost"] = says("User-agent: *\nDisallow: /page/secret")
    secret, free = site.url("/page/secret"), site.url("/page/free")
    found = crawl([secret, free])
    assert found.reasons == {secret: "robots"} and set(found.pages) == {free}
    assert "host0.localhost/page/secret" not in site.asked


@pytest.mark.parametrize("status", [500, 503, 429])
def test_robots_out_of_reach_are_tried_again_and_then_the_host_is_left(site, crawl, status):
    site.robots["host0.localhost"] = says("", status=status)
    urls = [site.url(f"/page/{number}") for number in range(3)]
    assert crawl(urls).reasons == dict.fromkeys(urls, "robots-unavailable")
    assert site.asked == {"host0.localhost/robots.txt": politeness.ATTEMPTS}


def test_robots_are_not_asked_for_again_by_a_crawl_that_goes_on(site, crawl):
    crawl([site.url("/page/1")])
    crawl([site.url("/page/1"), site.url("/page/2")])
    assert site.asked["host0.localhost/robots.txt"] == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_host_is_asked_again_after_the_time_it_says(site, crawl, status):
    urls = [site.url(f"/busy/{status}"), site.url("/page/1")]
    assert crawl(urls).counts == {"stored": 2}
    (_, first), (_, after) = site.times[1:3]  # nothing else in between
    assert after - first > 0.99


def test_a_host_that_wants_no_requests_today_gets_none(site, crawl):
    urls = [site.url(path) for path in ("/page/1", "/tomorrow/1", "/tomorrow/2")]
    found = crawl(urls)
    assert found.reasons == dict.fromkeys(urls[1:], "status-429") and set(found.pages) == {urls[0]}
    assert site.asked["host0.localhost/tomorrow/2"] == 0


def test_a_dead_host_is_given_up(site, crawl, monkeypatch):
    tried = []

    async def get(client, url, *arguments):
        tried.append(str(url))
        return await original(client, url, *arguments)

    original = requests.Client.get
    monkeypatch.setattr(requests.Client, "get", get)
    site.robots["host0.localhost"] = says("")
    urls = [site.url(f"/cut-off/{number}") for number in range(8)]
    assert crawl(urls).reasons == dict.fromkeys(urls, "connection")
    assert len(tried) == 1 + politeness.FAILURES_IN_A_ROW * politeness.ATTEMPTS


def test_each_failure_has_its_reason(site, crawl):
    reasons = {
        site.url("/status/404", 0): "status-404",
        site.url("/status/304", 1): "status-304",
        site.url("/status/501", 2): "status-501",
        site.url("/status/502", 3): "status-502",
        site.url("/type?type=image/png", 4): "type",
        site.url("/brotli", 5): "broken-encoding",
        site.url("/raw/garbage", 6): "broken-http",
        site.url("/loop", 7): "redirects",
        site.url("/nowhere", 8): "redirects",
        site.url("/chain/6", 9): "redirects",
        site.url("/silent", 10): "time-out",
        site.url("/drip", 11): "time-out",
        "http://no-such-host.invalid/": "dns",
    }
    found = crawl(list(reasons), timeout_seconds=0.3)
    assert found.reasons == reasons and not found.pages
    assert found.counts["redirects"] == 3


def test_pages_within_the_limits_are_stored_and_longer_ones_cut(site, crawl):
    urls = [site.url(path, number) for number, path in enumerate(("/chain/5", "/endless", "/bomb", "/chunked"))]
    found = crawl(urls, page_bytes=100_000)
    assert found.counts == {"stored": 4}
    assert [len(found.pages[url]) for url in urls[1:3]] == [100_000] * 2


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/page/secret", "robots"),
        ("http://host2.localhost:{port}/page/secret", "robots"),
        ("http://10.0.0.1/", "private-address"),
        ("http://[::1]:{port}/page/1", "private-address"),
        ("http://[::ffff:7f00:1]:{port}/page/1", "private-address"),
        ("http://169.254.169.254/latest/meta-data/", "private-address"),
        ("//192.168.0.1/x", "private-address"),
        ("ftp://host2.localhost/x", "redirects"),
        ("file:///etc/passwd", "redirects"),
        ("http://wiki.blocked.example/x", "blocked"),
        ("http://[::1", "redirects"),
        ("http://a:99999/", "redirects"),
    ],
)
def test_redirects_do_not_lead_into_forbidden_ground(site, crawl, monkeypatch, target, reason):
    """The rule of addresses as it is, but that the test site counts as public."""
    public = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1" or public(address))
    for name in ("host0.localhost", "host2.localhost"):
        site.robots[name] = says("User-agent: *\nDisallow: /page/secret")
    url = site.url("/to?url=" + target.format(port=site.port))
    found = crawl([url], allow_private=False, blocked=("blocked.example",))
    assert list(found.reasons.values()) == [reason] and not found.pages
    asked = {path for path in site.asked if not path.endswith("robots.txt")}
    assert asked == {"host0.localhost/to"}


def test_private_addresses_are_refused_with_their_reason(site, crawl):
    url = site.url("/page/1")
    found = crawl([url], allow_private=False)
    assert found.reasons == {url: "private-address"} and not site.asked


def test_a_redirect_to_another_host_waits_for_its_turn(site, crawl):
    site.delay = 0.02
    urls = [site.url(f"/page/{number}", 1) for number in range(6)]
    urls += [site.url(f"/to?url={site.url(f'/page/from{number}', 1)}", 2 + number) for number in range(6)]
    assert crawl(urls).counts == {"stored": 12}
    assert site.most_at_once == 1


def test_a_redirect_to_another_shard_is_handed_over(site, crawl):
    from wholegpt.corpus.crawl.queue import shard_of

    names = {shard: next(n for n in range(50) if shard_of(f"host{n}.localhost", 2) == shard) for shard in (0, 1)}
    there = site.url("/page/there", names[1])
    url = site.url(f"/to?url={there}", names[0])
    found = crawl([url, there], shards=2)
    assert found.counts == {"elsewhere": 1} and not found.reasons and not found.pages
    link = {"url": there, "origin": url, "hops": 1, "karma": None, "date": "", "id": "", "host": None}
    assert found.redirected == [link]
    assert "host" + str(names[1]) not in str(site.asked)


def test_stopped_in_the_middle_it_goes_on_and_asks_for_nothing_twice(site, crawl, monkeypatch):
    urls = [site.url(f"/page/{number}", number % 3) for number in range(30)]
    with monkeypatch.context() as context:
        stored = []

        def store(book, position, link, answer):
            original(book, position, link, answer)
            stored.append(link.url)
            if len(stored) == 11:
                raise KeyboardInterrupt

        original = Ledger.store
        context.setattr(Ledger, "store", store)
        with pytest.raises(KeyboardInterrupt):
            crawl(urls)
    asked = set(site.asked)
    found = crawl(urls)
    assert set(found.pages) == set(urls)
    twice = {path for path, count in site.asked.items() if count > 1}
    assert twice <= asked and len(twice) <= 3  # what was in flight
    assert not any(url.endswith(path.partition("/")[2]) for path in twice for url in stored)
    before = time.monotonic()
    assert crawl(urls).counts == {"stored": 30} and time.monotonic() - before < 5
    assert sum(site.asked.values()) == 33 + len(twice)


def test_memory_holds_open_hosts_only(site, crawl, monkeypatch):
    """Links are read when their turn comes."""
    read, most = [], []

    def links(path, host):
        read.append(host.host)
        most.append(len(read) - sum(path.endswith("/page/1") for path in site.asked))
        return original(path, host)

    original = crawler.queue.read_links
    monkeypatch.setattr(crawler.queue, "read_links", links)
    crawl([site.url("/page/1", number) for number in range(12)], open_hosts=2)
    assert len(read) == 12 and max(most) <= 2


def test_what_a_library_stumbles_over_is_counted_and_the_crawl_goes_on(site, crawl, monkeypatch):
    def redirection(answer):
        if "host1" not in str(answer.url):
            return None
        raise LookupError("no such thing")

    monkeypatch.setattr(robots, "redirection", redirection)
    odd, good = site.url("/page/odd", 1), site.url("/page/good")
    found = crawl([odd, good])
    assert found.reasons == {odd: "fault"} and set(found.pages) == {good}
