"""Pages to text beside other people's extractors: quality, speed, two processes, a page that hangs, memory.

    python bench/corpus_extract.py ../shared/data [--sections quality speed] [--rounds 5]

Quality is asked of the 181 pages of the article-extraction benchmark and of 160 pages in several languages. Speed is
CPU time, of all processes that take part, over the same pages in alternating rounds, each peer in a process of its own
that has begun before the clock; the ratio is the median over rounds. Where wall time counts (two processes, a page that
hangs) it is said. Peers that are not installed are left out and named: readability-lxml with html-text, resiliparse.
"""

import argparse
import functools
import importlib.util
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, response
from peers import extracting

from wholegpt.corpus.pages import charset, extractors, killable, quality
from wholegpt.corpus.pages.extract import PageOptions, pages_to_documents
from wholegpt.corpus.pages.shards import shards

OURS = "wholegpt"
DEFAULT = "trafilatura-fast"


def run_quality(options: argparse.Namespace) -> None:
    """Every extractor on both sets of pages."""
    articles, annotated = extracting.articles(options.data), extracting.annotated(options.data)
    peers: dict[str, Callable[[bytes], str]] = {
        f"wholegpt {name}": functools.partial(_extract, name) for name in extractors.EXTRACTORS
    }
    peers |= {"trafilatura": extracting.trafilatura(False), "trafilatura fast": extracting.trafilatura(True)}
    peers |= {name: function for name, (_, function) in installed().items()}
    print(f"\n{'extractor':<32}  F1     prec.  recall  F1 of segments in several languages")
    for name, function in peers.items():
        score = extracting.score_articles([function(article.html) for article in articles], articles)
        segments = extracting.score_segments([_safely(function, page.html) for page in annotated], annotated)
        print(f"{name:<32}  {score.f1:.4f} {score.precision:.4f} {score.recall:.4f}  {segments.f1:.4f}")


def _extract(name: str, page: bytes) -> str:
    return extractors.extract(charset.decode(page), name)[0]


def _safely(function: Callable[[bytes], str], page: bytes) -> str:
    try:
        return function(page)
    except Exception:  # peers fail on single pages: no text then
        return ""


def run_rules(options: argparse.Namespace) -> None:
    """How many of the 181 articles each rule would drop: of their true texts, and of the extracted."""
    articles = extracting.articles(options.data)
    sets = {
        "true": [article.text for article in articles],
        "extracted": [_extract(DEFAULT, article.html) for article in articles],
    }
    for name, texts in sets.items():
        dropped = Counter({rule: sum(map(drops, texts)) for rule, drops in quality.RULES.items()})
        any_rule = sum(bool(quality.reason(text)) for text in texts)
        print(f"\n{name} texts of {len(texts)} articles, dropped: {any_rule}; by rule: {dict(dropped)}")


def installed() -> dict[str, tuple[str, Callable[[bytes], str]]]:
    missing = [name for name, (module, _) in extracting.PEERS.items() if not importlib.util.find_spec(module)]
    if missing:
        print(f"absent: {', '.join(missing)}")
    return {name: peer for name, peer in extracting.PEERS.items() if name not in missing}


def child_run(options: argparse.Namespace) -> None:
    """One peer: over the pages each time that a line arrives on standard input; answers with CPU and wall seconds."""
    pages = [article.html for article in extracting.articles(options.data)]
    with killable_extractor() as extractor:
        functions: dict[str, Callable[[bytes], Any]] = {
            OURS: lambda page: extractor.call(b"\n" + page, 60.0),
            "trafilatura": extracting.trafilatura(False),
            "trafilatura fast": extracting.trafilatura(True),
        }
        function = functions[options.peer]
        for page in pages[:20]:
            function(page)
        print("ready")
        for _ in sys.stdin:
            start, cpu = time.perf_counter(), cpu_seconds()
            for page in extracting.pages_in_turn(pages, options.count):
                function(page)
            print(json.dumps([cpu_seconds() - cpu, time.perf_counter() - start]))


@contextmanager
def killable_extractor() -> Iterator[killable.Killable]:
    """The process that extracts, as the stage starts it."""
    extractor = killable.Killable([sys.executable, "-P", "-m", "wholegpt.corpus.pages.extractors", DEFAULT])
    yield extractor
    extractor.close()


def family(process: int) -> list[int]:
    """A process and all below it that live."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(_stat(stat)[1]), []).append(int(stat.parent.name))
    found = [process]
    for member in found:
        found += children.get(member, [])
    return found


def _stat(path: Path) -> list[str]:
    return path.read_text().rpartition(")")[2].split()


def cpu_seconds() -> float:
    """CPU time of this process and of all below it."""
    ticks = sum(sum(map(int, _stat(Path(f"/proc/{member}/stat"))[11:13])) for member in family(os.getpid()))
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_megabytes(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


class Peer:
    """A peer in its own process, ready to run."""

    def __init__(self, options: argparse.Namespace, name: str, count: int) -> None:
        command = [sys.executable, __file__, str(options.data), "--peer", name, "--count", str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lines: Iterator[str] = iter(self._process.stdout or ())
        next(self._lines)

    def begin(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> tuple[float, float]:
        cpu, wall = json.loads(next(self._lines))
        return cpu, wall

    def close(self) -> None:
        self._process.communicate()


def run_speed(options: argparse.Namespace) -> None:
    peers = {name: Peer(options, name, 181) for name in ("trafilatura", "trafilatura fast", OURS)}
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(options.rounds):
        for name, peer in peers.items():
            peer.begin()
            seconds[name].append(peer.end()[0])
    for peer in peers.values():
        peer.close()
    print("\n181 pages, CPU seconds (wholegpt: decoding, pipes and both processes)")
    for name, found in seconds.items():
        ratios = [base / own for base, own in zip(seconds["trafilatura"], found, strict=True)]
        median = statistics.median(found)
        print(f"  {name:<18} {median:.2f} s, {181 / median:.1f} pages/s   x{statistics.median(ratios):.2f}")


def run_processes(options: argparse.Namespace) -> None:
    """The same pages by one process and by two, wall time."""
    whole, halves = Peer(options, OURS, 362), [Peer(options, OURS, 181) for _ in range(2)]
    ratios = []
    for _ in range(options.rounds):
        whole.begin()
        one = whole.end()[1]
        for half in halves:
            half.begin()
        ratios.append(one / max(half.end()[1] for half in halves))
    for peer in (whole, *halves):
        peer.close()
    print(f"\ntwo processes beside one, wall time: x{statistics.median(ratios):.2f} ({[f'{r:.2f}' for r in ratios]})")


def run_hang(options: argparse.Namespace) -> None:
    """What a page costs that would take minutes: wall time lost, with the limit at 2 s."""
    pages = [article.html for article in extracting.articles(options.data)][:20]
    hanging = b"\n<html><body><article><p>" + b"<span>a</span> " * 300_000
    lost = []
    with killable_extractor() as extractor:
        for page in pages:
            extractor.call(b"\n" + page, 2.0)
        for _ in range(options.rounds):
            start = time.perf_counter()
            try:
                extractor.call(hanging, 2.0)
                raise SystemExit("the page that hangs did not hang")
            except killable.Hung:
                stopped = time.perf_counter() - start
            extractor.call(b"\n<html><body><p>The next page is here.</p></body></html>", 2.0)
            lost.append((stopped, time.perf_counter() - start))
    print("\na page that hangs, limit 2 s: stopped after / next page done after [s]")
    print("  " + "  ".join(f"{stopped:.2f} / {following:.2f}" for stopped, following in lost))


def run_memory(options: argparse.Namespace) -> None:
    """Peak memory of the stage over archives of 1, 2 and 4 times the size, each in a process of its own."""
    pages = [article.html for article in extracting.articles(options.data)]
    print(
        "\na WARC of n times 181 pages: MB of HTML, documents, peak MB of the reading process and of the largest else"
    )
    for times in (1, 2, 4, 8):
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "pages.warc.gz"
            write_archive(archive, extracting.pages_in_turn(pages, 181 * times))
            command = [sys.executable, __file__, str(archive), "--peer", "stage"]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        megabytes = sum(map(len, pages)) * times / 1e6
        print(f"  x{times}: {megabytes:6.1f}, {found['documents']}, {found['own']:.0f} and {found['largest']:.0f}")


def write_archive(path: Path, pages: Iterator[bytes]) -> None:
    with path.open("wb") as file:
        writer = GzipWriter(file, compression_level=1)
        for number, page in enumerate(pages):
            record = WarcRecord()
            record.init_headers(response)
            record.headers["WARC-Target-URI"] = f"http://localhost/{number}"
            record.set_bytes_content(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page)
            record.write(writer)
            writer.finish()


def stage_run(options: argparse.Namespace) -> None:
    """The stage over one archive; the peak of this process, and the largest of those that it started."""
    with tempfile.TemporaryDirectory() as folder:
        counts = pages_to_documents(shards([options.data])[0], Path(folder), PageOptions())
    own, *others = map(peak_megabytes, family(os.getpid()))
    print(json.dumps({"documents": counts["wikipedia/out"], "own": own, "largest": max(others)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with web/article-extraction-benchmark, web/html-multilang")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", default="", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer == "stage":
        stage_run(options)
    elif options.peer:
        child_run(options)
    else:
        for section in options.sections:
            SECTIONS[section](options)


SECTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "quality": run_quality,
    "rules": run_rules,
    "speed": run_speed,
    "processes": run_processes,
    "hang": run_hang,
    "memory": run_memory,
}

if __name__ == "__main__":
    print = functools.partial(print, flush=True)  # noqa: A001
    logging.disable()  # libraries' remarks about single pages
    main()
