"""`wholegpt corpus fetch`: links to pages in WARC files, politely, and going on where it was stopped.

    pages/
    ├── pages-0-00000-00000.warc.zst   round, shard, number (formats: `crawl.warc`)
    ├── rejects/                       every URL without a page, and why
    ├── crawl_delays.json              hosts whose Crawl-delay was too long to obey
    └── funnel.json, manifest.json

Hosts are dealt to shards by their hash, so each is asked by one process. A redirect to a host of another shard is taken
up in the next round, when all links of this one are done: five at most. What a shard has done stays in `state/` from
one attempt to the next. Existing archives need no fetch: `corpus build` reads them.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from pyarrow import parquet

from wholegpt import artifact
from wholegpt.artifact import STATE, Artifact
from wholegpt.corpus import records
from wholegpt.corpus.crawl import crawler, queue, robots
from wholegpt.corpus.crawl.crawler import PROGRESS, REDIRECTED, CrawlOptions
from wholegpt.corpus.crawl.ledger import ELSEWHERE, STORED
from wholegpt.corpus.crawl.queue import DealOptions, HostLinks
from wholegpt.corpus.crawl.warc import Compression
from wholegpt.corpus.funnel import step, write
from wholegpt.errors import UsageError
from wholegpt.progress import duration, say
from wholegpt.runner import Backend, Report, Shard, place, run, writing

SECONDS_BETWEEN_LINES = 10.0
HOSTS_NAMED = 5


@dataclass(frozen=True)
class FetchOptions:
    """Fetch pages politely into WARC files (section 2.1)."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Links of `corpus links`, or .parquet with a column url, or .txt with a URL a line; files or folders."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write; an interrupted crawl in it is resumed."""
    contact: str = ""
    """Required: mail address or web page at which those who run the sites can reach you."""
    delay_seconds: float = 1.0
    """From one request to the same host to the next; a host's Crawl-delay may make it longer."""
    crawl_delay_cap_seconds: float = 30.0
    """Longest Crawl-delay that is obeyed; hosts that ask for more are reported."""
    timeout_seconds: float = 30.0
    """For one request, to the end of the answer."""
    page_megabytes: float = 10.0
    """Longer pages are cut, as sent and as decoded."""
    open_hosts: int = 256
    """Hosts a process asks at the same time."""
    shards: int = 0
    """Processes that the hosts are dealt to; 0: one a worker."""
    block: tuple[Path, ...] = ()
    """Files of domains, one a line, that are not asked, nor their subdomains, also after redirects."""
    allow_private: bool = False
    """Also ask addresses of this machine and its network."""
    compression: Compression = "zst"
    """zst: smaller and faster; gz: for older readers."""
    file_megabytes: int = 1_000
    """Begin another WARC file after so much."""
    backend: Annotated[Backend, tyro.conf.OmitArgPrefixes] = field(default_factory=Backend)
    overwrite: bool = False
    """Replace pages fetched otherwise."""

    def __post_init__(self) -> None:
        web_or_mail = self.contact.startswith(("http://", "https://")) or "@" in self.contact
        if not web_or_mail or not self.contact.isprintable():
            raise UsageError(
                f"--contact is {self.contact!r}, expected a mail address or a URL: it is sent with each request, so "
                "that those whose sites you fetch can ask you to stop before they block you"
            )
        for name in ("timeout_seconds", "page_megabytes", "open_hosts", "file_megabytes"):
            if getattr(self, name) <= 0:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}, expected more than 0")
        if self.delay_seconds < 0 or self.shards < 0:
            raise UsageError("--delay-seconds and --shards cannot be below 0")


def fetch(options: FetchOptions) -> Artifact:
    """Fetch the pages; counts of what became of the URLs stand in the manifest.

    Killed at any moment, the same command goes on where it was, and fetches nothing twice.
    """
    sources = _sources(options.inputs)
    incidental = ("backend", "shards", "open_hosts")
    pages = Artifact(
        options.output, "corpus fetch", options, [*options.inputs, *options.block], options.overwrite, incidental
    )
    if pages.exists():
        say(f"{options.output} is there already")
        return pages
    with writing(pages, options.backend) as folder:
        funnel, pages.counts = _fetch(folder, sources, options)
        if options.backend.leads:
            write(folder, funnel)
            artifact.write_json(folder / "crawl_delays.json", _capped(folder / STATE, options))
    return pages


def _fetch(folder: Path, sources: Sequence[Path], options: FetchOptions) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All rounds; the funnel and the counts."""
    state = folder / STATE
    rules = _rules(state, options)
    deal = DealOptions(rules.shards)
    shards = [f"{number:05d}" for number in range(rules.shards)]
    links, funnel, outcomes = list(sources), [], Counter[str]()
    (folder / "rejects").mkdir(exist_ok=True)
    for number in range(crawler.MOST_REDIRECTS + 1):
        files = [Shard(f"{index:05d}", (file,)) for index, file in enumerate(links)]
        dealt = _run(queue.deal, files, state / f"deal-{number}", deal, options)
        parts = [Shard(name, tuple(part / f"{name}.parquet" for part in dealt.folders)) for name in shards]
        queued = _run(queue.line_up, parts, state / f"queue-{number}", deal, options)
        unqueued = _unqueued(dealt, queued)
        if number == 0:
            funnel.append(step("queue", dealt.counts["links"], unqueued))
            forecast([part / queue.HOSTS for part in queued.folders], rules)
        else:
            outcomes.update(unqueued)
        fetched = _crawl(queued, number, state, rules, options)
        outcomes.update(fetched.counts)
        if options.backend.leads:
            _collect(folder, [*dealt.folders, *fetched.folders])
        links = [part / REDIRECTED for part in fetched.folders]
        if not outcomes.pop(ELSEWHERE, 0):
            break
    stored = outcomes.pop(STORED, 0)
    funnel.append(step("fetch", funnel[0]["out"], _grouped(outcomes)))
    capped = _capped(state, options)
    statuses = {reason[7:]: number for reason, number in sorted(outcomes.items()) if reason.startswith("status-")}
    return funnel, {"pages": stored, "status": statuses, "crawl_delays_capped": len(capped)}


def _rules(state: Path, options: FetchOptions) -> CrawlOptions:
    """What the shards are told. How many they are is decided once: what they have done is kept by shard."""
    state.mkdir(exist_ok=True)
    decided = state / "shards.json"
    if not decided.exists():
        workers = options.backend.workers or os.cpu_count() or 1
        artifact.write_json(decided, options.shards or workers * options.backend.world_size)
    return CrawlOptions(
        work=state / "work",
        shards=artifact.read_json(decided),
        contact=options.contact,
        delay_seconds=options.delay_seconds,
        crawl_delay_cap_seconds=options.crawl_delay_cap_seconds,
        timeout_seconds=options.timeout_seconds,
        page_bytes=int(options.page_megabytes * 1e6),
        open_hosts=options.open_hosts,
        blocked=_domains(options.block),
        allow_private=options.allow_private,
        compression=options.compression,
        file_bytes=options.file_megabytes * 1_000_000,
    )


def _crawl(queued: Report, number: int, state: Path, rules: CrawlOptions, options: FetchOptions) -> Report:
    shards = [
        Shard(f"{number}-{part.name}", (part / queue.QUEUE, part / queue.HOSTS), (index,))
        for index, part in enumerate(queued.folders)
    ]
    folders = [rules.work / shard.name for shard in shards]
    with shown(folders) if options.backend.leads else nullcontext():
        return _run(crawler.crawl, shards, state / f"crawl-{number}", rules, options)


def _run(stage: Any, shards: Sequence[Shard], output: Path, rules: Any, options: FetchOptions) -> Report:
    return run(stage, shards, output, rules, options.backend).whole()


def _collect(folder: Path, parts: Sequence[Path]) -> None:
    """Give what shards wrote its names in the artifact."""
    for part in parts:
        if parquet.ParquetFile(part / records.REJECTS).metadata.num_rows:
            place(part / records.REJECTS, folder / "rejects" / f"{part.parent.name}-{part.name}.parquet")
        for file in part.glob("*.warc.*"):
            place(file, folder / file.name)


def _unqueued(dealt: Report, queued: Report) -> dict[str, int]:
    bad = dealt.counts["bad-url"]
    return {"bad-url": bad, "duplicate": dealt.counts["links"] - bad - queued.counts["links"]}


def _grouped(outcomes: Counter[str]) -> dict[str, int]:
    """The reasons with all statuses of a class as one: status-4xx."""
    grouped: Counter[str] = Counter()
    for reason, number in outcomes.items():
        grouped[f"{reason[:8]}xx" if reason.startswith("status-") else reason] += number
    return grouped


def _capped(state: Path, options: FetchOptions) -> dict[str, float]:
    """The origins whose Crawl-delay was too long to obey, with what they asked for [seconds]."""
    found = (fetched for path in sorted((state / "work").glob("robots-*.jsonl")) for fetched in robots.read(path))
    cap = options.crawl_delay_cap_seconds
    return {one.origin: one.crawl_delay_seconds for one in found if one.crawl_delay_seconds > cap}


def _sources(inputs: Sequence[Path]) -> list[Path]:
    """The files of links; an error for those that are none."""
    found = [file for path in inputs for file in queue.files(path)]
    if not found:
        raise UsageError(f"{', '.join(map(str, inputs)) or 'no input'}: expected .parquet or .txt files of links")
    for file in found:
        queue.check(file)
    return found


def _domains(files: Sequence[Path]) -> tuple[str, ...]:
    lines = (line.partition("#")[0].strip() for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return tuple(sorted({line.lower() for line in lines if line}))


def forecast(tables: Sequence[Path], rules: CrawlOptions) -> None:
    """Say how long the crawl will take at least, and which hosts it waits for."""
    hosts = links = 0
    longest: list[HostLinks] = []
    slowest_shard = 0
    for table in tables:
        of_shard = 0
        for host in queue.read_hosts(table):
            hosts, of_shard = hosts + 1, of_shard + host.links
            if len(longest) < HOSTS_NAMED or host.links > longest[-1].links:
                longest = sorted([*longest, host], key=lambda one: (-one.links, one.host))[:HOSTS_NAMED]
        links, slowest_shard = links + of_shard, max(slowest_shard, of_shard)
    delay = rules.delay_seconds
    say(f"{links:,} URLs of {hosts:,} hosts, each asked every {delay:g} s; slowest:")
    for host in longest:
        say(f"  {host.host:<40} {host.links:>10,} URLs {host.links / links:6.1%}  {duration(host.links * delay)}")
    slowest = longest[0].links * delay if longest else 0.0
    # No host waits longer than until all before it in its shard are done.
    most = slowest + slowest_shard * delay / rules.open_hosts
    say(
        f"at least {duration(slowest)}, and up to {duration(most)} where hosts answer within their {delay:g} s; "
        "robots.txt, Crawl-delay and retries come on top"
    )


@contextmanager
def shown(folders: Sequence[Path]) -> Iterator[None]:
    """Say every few seconds how far the shards are that work in these folders."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(SECONDS_BETWEEN_LINES):
            states = [artifact.read_json(one) for folder in folders if (one := folder / PROGRESS).exists()]
            if states:
                say(_line(states))

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _line(states: Sequence[dict[str, Any]]) -> str:
    """The state of all shards in a line."""
    total = {name: sum(state[name] for state in states) for name in ("urls", "done", "hosts")}
    speeds = [(state["now"] / state["seconds"], state["bytes"] / state["seconds"] / 1e6) for state in states]
    reasons: Counter[str] = Counter()
    for state in states:
        reasons.update(state["outcomes"])
    pages = reasons.pop(STORED, 0)
    why = ", ".join(f"{reason} {number:,}" for reason, number in _grouped(reasons).items())
    return (
        f"fetch: {total['done']:,}/{total['urls']:,} URLs, {pages:,} pages, "
        f"{sum(urls for urls, _ in speeds):.1f} URLs/s, {sum(size for _, size in speeds):.1f} MB/s, "
        f"{total['hosts']:,} hosts open, {duration(max(state['seconds_left'] for state in states))} left"
        + (f"; {why}" if why else "")
    )
