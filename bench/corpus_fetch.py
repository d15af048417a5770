"""The crawl beside other people's clients, on a server of this machine: one request at a time a host, many hosts.

    python bench/corpus_fetch.py [--pages 2000] [--hosts 64] [--rounds 5]

Ours writes requests and responses to WARC with digests, keeps its ledger, asks for robots.txt, checks types and sizes;
httpx only fetches; `aiohttp + warcio` writes the same records. Each figure is the median over rounds in which they take
turns, each run a process of its own; the ratio says how many times as fast ours is, in the median of rounds. Beside it:
what `warcio check` says of the last of our files, and whether all pages are in it. Pages are the text of
`builtin:python` as HTML, compressed as servers keep them. Times depend on the machine: trust ratios.
"""

import argparse
import asyncio
import gzip
import html
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import fetching

from wholegpt.corpus import builtin
from wholegpt.corpus.crawl import crawler, queue
from wholegpt.corpus.crawl.crawler import CrawlOptions
from wholegpt.corpus.crawl.queue import DealOptions
from wholegpt.runner import Shard

OURS = ("wholegpt zst", "wholegpt gz")
PEERS = ("httpx", "aiohttp + warcio", "aiohttp + warcio as sent")
ROUND_BYTES = 150_000
# Its command line, by this Python.
WARCIO = (sys.executable, "-c", "from warcio.cli import main; main()")


def pages() -> list[bytes]:
    """Pages of some 150 KB."""
    found, part, size = [], [], 0
    for document in builtin.read("builtin:python"):
        part.append(f"<h2>{document.id}</h2><p>" + html.escape(document.text).replace("\n\n", "</p><p>") + "</p>")
        size += len(part[-1])
        if size > ROUND_BYTES:
            body = f"<!doctype html><title>{document.id}</title>{''.join(part)}"
            found.append(gzip.compress(body.encode(), 6, mtime=0))
            part, size = [], 0
    return found


def run_ours(options: argparse.Namespace, folder: Path) -> float:
    """The stage of `corpus fetch` that crawls, on a queue made ready."""
    (folder / "links.txt").write_text("\n".join(url for urls in options.urls for url in urls))
    rules = CrawlOptions(
        work=folder / "work", shards=1, contact="bench@localhost", delay_seconds=0.0, open_hosts=options.hosts,
        allow_private=True, compression=options.peer.split()[1],
    )  # fmt: skip
    for name in ("deal", "queue", "pages"):
        (folder / name).mkdir()
    queue.deal(Shard("0", (folder / "links.txt",)), folder / "deal", DealOptions(1))
    queue.line_up(Shard("0", (folder / "deal" / "00000.parquet",)), folder / "queue", DealOptions(1))
    shard = Shard("0-00000", (folder / "queue" / queue.QUEUE, folder / "queue" / queue.HOSTS), (0,))
    start = time.perf_counter()
    counts = crawler.crawl(shard, folder / "pages", rules)
    seconds = time.perf_counter() - start
    assert counts == {"stored": options.pages}, counts
    return seconds


def run_peer(options: argparse.Namespace, folder: Path) -> float:
    path = folder / "pages.warc.gz"
    start = time.perf_counter()
    if options.peer == "httpx":
        asyncio.run(fetching.with_httpx(options.urls, options.hosts, path))
    else:
        asyncio.run(fetching.with_warcio(options.urls, options.hosts, path, options.peer.endswith("as sent")))
    return time.perf_counter() - start


def measure(options: argparse.Namespace, peer: str, port: int, folder: Path) -> float:
    """Pages a second, in a process of its own."""
    command = [sys.executable, __file__, "--pages", str(options.pages), "--hosts", str(options.hosts)]
    command += ["--peer", peer, "--port", str(port), "--folder", str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"{peer}: {found.stderr}")
    return options.pages / float(json.loads(found.stdout.splitlines()[-1]))


def check(folder: Path) -> str:
    """What warcio says of the gzip files of ours."""
    files = [str(path) for path in (folder / "pages").glob("*.warc.gz")]
    verdicts = [subprocess.run([*WARCIO, "check", *files], check=False).returncode]
    index = subprocess.run([*WARCIO, "index", "-f", "warc-type", *files], capture_output=True, text=True, check=False)
    verdicts.append(index.returncode)
    return f"warcio check and index exit with {verdicts}; {index.stdout.count('response')} responses"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=2_000)
    parser.add_argument("--hosts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", default="", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        urls = [
            f"http://host{number % options.hosts}.localhost:{options.port}/page/{number}"
            for number in range(options.pages)
        ]
        options.urls = [urls[host :: options.hosts] for host in range(options.hosts)]
        print(json.dumps((run_ours if options.peer in OURS else run_peer)(options, options.folder)))
        return
    show(options)


def show(options: argparse.Namespace) -> None:
    kept = pages()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=fetching.serve, args=(kept, there), daemon=True)
    server.start()
    port = here.recv()
    speeds: dict[str, list[float]] = {peer: [] for peer in (*PEERS, *OURS)}
    verdict = ""
    size = sum(map(len, kept)) / len(kept)
    print(f"{options.pages} pages of {size / 1e3:.0f} KB as sent, {options.hosts} hosts, {options.rounds} rounds")
    for _ in range(options.rounds):
        for peer, found in speeds.items():
            with tempfile.TemporaryDirectory() as folder:
                found.append(measure(options, peer, port, Path(folder)))
                verdict = check(Path(folder)) if peer == "wholegpt gz" else verdict
    server.terminate()
    for peer, found in speeds.items():
        ratios = [
            statistics.median(our / their for our, their in zip(speeds[ours], found, strict=True)) for ours in OURS
        ]
        beside = "  ".join(f"{ours} x{ratio:.2f}" for ours, ratio in zip(OURS, ratios, strict=True))
        print(f"  {peer:<26} {statistics.median(found):>8,.0f} pages/s   {beside if peer in PEERS else ''}")
    print(verdict)


if __name__ == "__main__":
    main()
