"""The crawl of one shard: so many hosts open at a time, each asked for its links one after the other.

A host with most links begins first, since it takes longest. Redirects are followed where every hop passes the same
rules as a link: the block list, the host's turn, its robots.txt, and the addresses. A hop to a host of another shard
is handed over to it, so that no two processes ask the same host (but where a robots.txt is redirected there).
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
from filelock import FileLock
from yarl import URL

from wholegpt.corpus import records
from wholegpt.corpus.crawl import ledger, queue, robots
from wholegpt.corpus.crawl.ledger import ELSEWHERE, JOURNAL, STORED, Files, Ledger
from wholegpt.corpus.crawl.politeness import Host, Hosts
from wholegpt.corpus.crawl.queue import HOSTS, QUEUE, HostLinks, Link
from wholegpt.corpus.crawl.requests import PAGE_TYPES, Answer, Client, Refusal
from wholegpt.corpus.crawl.robots import REDIRECTS, Robots, Rules
from wholegpt.corpus.crawl.warc import Compression
from wholegpt.runner import Shard, place

MOST_REDIRECTS = 5
NAME_THREADS = 32
LOCK_SECONDS = 60.0
PROGRESS, REDIRECTED = "progress.json", "redirected.parquet"


@dataclass(frozen=True)
class CrawlOptions:
    """The rules of a crawl, and the folder that its shards keep their work in."""

    work: Path
    shards: int
    contact: str
    delay_seconds: float = 1.0
    crawl_delay_cap_seconds: float = 30.0
    timeout_seconds: float = 30.0
    page_bytes: int = 10_000_000
    open_hosts: int = 256
    blocked: tuple[str, ...] = ()
    allow_private: bool = False
    compression: Compression = "zst"
    file_bytes: int = 1_000_000_000

    def description(self) -> str:
        """For the warcinfo records."""
        return f"robots: RFC 9309\r\nhttp-header-from: {self.contact}\r\n"


def crawl(shard: Shard, folder: Path, options: CrawlOptions) -> dict[str, int]:
    """The stage: fetch what is missing of a shard's queue, then give its files to `folder`.

    The work is in a folder of its own and outlives an attempt, which the runner's does not.
    """
    work = options.work / shard.name
    work.mkdir(parents=True, exist_ok=True)
    # Of a driver that was killed, a worker may outlive it for a moment.
    with FileLock(work / "lock", timeout=LOCK_SECONDS):
        return _crawl(shard, work, folder, options)


def _crawl(shard: Shard, work: Path, folder: Path, options: CrawlOptions) -> dict[str, int]:
    hosts = queue.read_hosts(shard.inputs[0].parent / HOSTS)
    files = Files(f"pages-{shard.name}", options.compression, options.file_bytes, options.description())
    book = Ledger(work, sum(host.links for host in hosts), files)
    try:
        asyncio.run(Crawler(shard, work, book, options).run())
    finally:
        book.close()
    for path in work.glob("*.warc.*"):
        place(path, folder / path.name)
    _write_tables(work / JOURNAL, folder)
    return dict(book.outcomes)


class Crawler:
    """One process's crawl."""

    def __init__(self, shard: Shard, work: Path, book: Ledger, options: CrawlOptions) -> None:
        self._options, self._book, self._work = options, book, work
        self._number = int(shard.values[0])
        self._queue = shard.inputs[0].parent
        self._blocked = frozenset(options.blocked)
        self._client = Client(options.contact, options.timeout_seconds, options.allow_private)
        self._hosts = Hosts(options.delay_seconds)
        self._robots = Robots(options.work / f"robots-{self._number:05d}.jsonl", self._ask)
        # Of the hosts that are open: URLs still to do.
        self._open: dict[str, int] = {}
        self._before = book.finished
        self._start = time.monotonic()

    async def run(self) -> None:
        """Fetch what is not done."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(NAME_THREADS))
        hosts = self._unfinished()
        async with self._client, asyncio.TaskGroup() as group:
            watch = group.create_task(self._keep_book())
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._options.open_hosts):
                    workers.create_task(self._work_through(hosts))
            watch.cancel()
        self._report()

    def _unfinished(self) -> Iterator[HostLinks]:
        for host in queue.read_hosts(self._queue / HOSTS):
            if self._book.done.find(0, host.first, host.first + host.links) >= 0:
                yield host

    async def _work_through(self, hosts: Iterator[HostLinks]) -> None:
        for host in hosts:
            self._open[host.host] = self._book.done.count(0, host.first, host.first + host.links)
            for position, link in queue.read_links(self._queue / QUEUE, host):
                if not self._book.done[position]:
                    await self._fetch(position, link)
                    self._open[host.host] -= 1
            del self._open[host.host]

    async def _fetch(self, position: int, link: Link) -> None:
        """Bring one URL to its end, whatever that is."""
        try:
            found = await self._follow(link)
        except Refusal as refusal:
            self._book.refuse(position, link, refusal)
            return
        except (ValueError, TypeError, LookupError, RecursionError) as error:  # what strangers' bytes make of a library
            self._book.refuse(position, link, Refusal("fault", repr(error)[:500]))
            return
        if isinstance(found, Answer):
            self._book.store(position, link, found)
        else:
            self._book.hand_over(position, link, found)

    async def _follow(self, link: Link) -> Answer | Link:
        """The page that a link leads to; or, at the border of the shard, the link for the next."""
        url = queue.parse(link.url)
        for hops in range(link.hops, MOST_REDIRECTS + 1):
            name = str(url.host)
            if queue.shard_of(name, self._options.shards) != self._number:
                return replace(link, url=str(url), origin=link.origin or link.url, hops=hops)
            self._check_host(name)
            self._slow_down(self._hosts[name], rules := await self._robots.of(url))
            rules.check(url)
            answer = await self._ask(url, self._options.page_bytes, PAGE_TYPES)
            if answer.status == 200:
                return answer
            if answer.status not in REDIRECTS:
                raise Refusal(f"status-{answer.status}")
            url = _target(answer)
        raise Refusal("redirects", f"more than {MOST_REDIRECTS}")

    def _check_host(self, name: str) -> None:
        labels = name.split(".")
        if self._blocked and any(".".join(labels[first:]) in self._blocked for first in range(len(labels))):
            raise Refusal("blocked", name)

    def _slow_down(self, host: Host, rules: Rules) -> None:
        asked = min(rules.fetched.crawl_delay_seconds, self._options.crawl_delay_cap_seconds)
        host.delay_seconds = max(self._options.delay_seconds, asked)

    async def _ask(self, url: URL, limit_bytes: int, types: tuple[str, ...] = ()) -> Answer:
        """Request a URL in its host's turn, again where a failure may pass."""
        host = self._hosts[str(url.host)]
        for attempt in itertools.count():
            async with host.turn():
                if host.given_up:
                    raise Refusal(host.given_up, "the host was given up")
                try:
                    answer = await self._client.get(url, limit_bytes, types)
                except Refusal as refusal:
                    if not host.may_be_asked_again(refusal, attempt):
                        raise
                else:
                    host.failures = 0
                    return answer
        raise AssertionError("the last attempt returns or raises")

    async def _keep_book(self) -> None:
        """Until cancelled: the ledger to the disk and the state of things to a file, every second."""
        while True:
            await asyncio.sleep(ledger.SECONDS_BETWEEN_SYNCS)
            await asyncio.to_thread(self._book.sync)
            self._report()

    def _report(self) -> None:
        done, urls = self._book.finished, len(self._book.done)
        seconds = max(time.monotonic() - self._start, 1e-3)
        rate = (done - self._before) / seconds
        longest = (left * self._hosts[name].delay_seconds for name, left in self._open.items())
        state = {
            "urls": urls,
            "done": done,
            "now": done - self._before,
            "seconds": seconds,
            "bytes": self._client.bytes,
            "hosts": len(self._open),
            "seconds_left": max(max(longest, default=0.0), (urls - done) / rate if rate else 0.0),
            "outcomes": dict(self._book.outcomes),
        }
        temporary = self._work / f"{PROGRESS}.partial"
        temporary.write_bytes(orjson.dumps(state))
        temporary.replace(self._work / PROGRESS)


def _target(answer: Answer) -> URL:
    """Where a redirect leads to."""
    target = robots.redirection(answer)
    if target is None:
        raise Refusal("redirects", "without a target")
    try:
        return queue.parse(str(target))
    except ValueError as error:
        raise Refusal("redirects", f"{error}: {str(target)[:200]}") from None


def _write_tables(journal: Path, folder: Path) -> None:
    """The URLs that have no page, each with its reason; and those that other shards go on with."""
    with (
        records.writer(folder / records.REJECTS, records.REJECT) as rejects,
        records.writer(folder / REDIRECTED, queue.LINK) as redirected,
    ):
        for line in ledger.whole_lines(journal):
            entry = orjson.loads(line)
            if entry["outcome"] == ELSEWHERE:
                redirected.write(entry["link"])
            elif entry["outcome"] != STORED:
                row = {"id": entry["id"], "url": entry["url"], "stage": "fetch", "reason": entry["outcome"]}
                rejects.write({**row, "text": entry["detail"]})
