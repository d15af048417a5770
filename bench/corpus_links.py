"""`wholegpt corpus links` beside other ways to the same links; every number has its check beside it.

    python bench/corpus_links.py [--dumps shared/data/web/reddit] [--megabytes 300] [--rounds 5]
    python bench/corpus_links.py --sections distinct --millions 5 20 40

Sections: `ingest` a dump with a window of 2^31 to accepted links, beside `json.loads` and a set as in the public
rebuilds of WebText; `stage` all the way to distinct URLs, beside Polars and Dask, which read the same lines unpacked;
`memory` the peak of a worker at 1, 2 and 4 times the input; `distinct` its own memory over millions of URLs. The lines
are those of real dumps where they are given, again and again with other paths and ids, a quarter of them seen before.
"""

import argparse
import hashlib
import importlib.abc
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import zstandard
from peers import linking
from pyarrow import parquet

from wholegpt.corpus import links
from wholegpt.corpus.submissions import batches, stages, urls
from wholegpt.corpus.submissions.dumps import Dump
from wholegpt.runner import Backend, Shard

SECTIONS = ("ingest", "stage", "memory", "distinct")


def submissions(folder: Path | None) -> list[dict[str, Any]]:
    """Real submissions without their authors, or some in the same form."""
    if folder:
        dumps = [Dump(file) for file in sorted(folder.glob("RS_v2_*.xz"))]
        found = [orjson.loads(line) for dump in dumps for block in dump.blocks() for line in block.splitlines()]
        return [{**one, "author": "someone"} for one in found]
    filler = {f"field_{number:02d}": None if number % 3 else "text " * (number % 7) for number in range(50)}
    return [
        {"archived": True, "author": "someone", "created_utc": 1_120_000_000 + number, **filler, "id": "",
         "is_self": False, "over_18": False, "score": number % 11, "subreddit": "reddit.com", "title": f"{number}",
         "url": f"http://www.site{number % 97}.com/{number}/page.html" + ("?id=1&amp;b=2" if number % 4 == 0 else "")}
        for number in range(1000)
    ]  # fmt: skip


def lines(templates: list[dict[str, Any]], size: float) -> Iterator[bytes]:
    """At least so many bytes of lines."""
    written = number = turn = 0
    while written < size:
        page = turn - 1 if turn % 4 == 3 else turn
        for template in templates:
            url = re.sub(r"^(https?://[^/]+)/?", rf"\1/{page}/", template["url"])
            line = orjson.dumps({**template, "id": f"{number:x}", "url": url}) + b"\n"
            number += 1
            written += len(line)
            yield line
        turn += 1


def write_input(folder: Path, templates: list[dict[str, Any]], megabytes: float) -> tuple[Path, Path]:
    """The same lines as a frame with the dumps' window, and unpacked."""
    packed, plain = folder / f"RS_{megabytes:g}.zst", folder / f"RS_{megabytes:g}.ndjson"
    window = zstandard.ZstdCompressionParameters.from_level(3, window_log=31, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=window).compressobj()
    with packed.open("wb") as archive, plain.open("wb") as stream:
        for line in lines(templates, megabytes * 1e6):
            stream.write(line)
            archive.write(compressor.compress(line))
        archive.write(compressor.flush())
    return packed, plain


class WithoutPandas(importlib.abc.MetaPathFinder):
    """pyarrow imports pandas where it is installed, as Dask needs it; what wholegpt installs has none."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def check(rows: Any) -> str:
    return hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()[:16]


def peak_mb() -> float:
    """Of this process since it began; `ru_maxrss` would know its parent's, too."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def cpu_seconds() -> float:
    """Of this process and those it waited for."""
    return sum(os.times()[:4])


def gather(dump: Path, folder: Path) -> dict[str, int]:
    folder.mkdir()
    return stages.gather(Shard("0", (dump,)), folder, links.rule(links.LinksOptions((dump,), folder)))


def run_ingest(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways once over a small dump, then timed; the check is the hash of the digests of the URLs found."""
    small, _ = write_input(options.folder, submissions(None), 10)
    if options.peer == "wholegpt":
        gather(small, options.folder / "warm")
        start, before = time.perf_counter(), time.process_time()
        counts = gather(options.input, options.folder / "out")
        seconds, busy = time.perf_counter() - start, time.process_time() - before
        table = parquet.ParquetFile(options.folder / "out" / stages.LINKS).read(["key"])
        keys = set(table["key"].to_pylist())
        return {"seconds": seconds, "CPU": busy, "MB/s": counts["bytes"] / 1e6 / seconds, "check": check(keys)}
    linking.json_and_set(small)
    start, before = time.perf_counter(), time.process_time()
    found = linking.json_and_set(options.input)
    seconds, busy = time.perf_counter() - start, time.process_time() - before
    keys = {int.from_bytes(urls.digest((urls.normalise(url) or ("", ""))[0])[:8], "big") for url in found}
    return {"seconds": seconds, "CPU": busy, "MB/s": options.input_bytes / 1e6 / seconds, "check": check(keys)}


def run_stage(options: argparse.Namespace) -> dict[str, Any]:
    """From the start of the process to distinct URLs; the check is of normal form, score and number of each."""
    start = options.started
    if options.peer == "wholegpt":
        output = options.folder / "links"
        links.build(links.LinksOptions((options.input,), output, backend=Backend(workers=1)))
        seconds, busy = time.time() - start, cpu_seconds()
        rows = [
            ((urls.normalise(row["url"]) or ("", ""))[0], row["score"], row["submissions"])
            for path in output.glob("part-*.parquet")
            for row in parquet.ParquetFile(path).read().to_pylist()
        ]
    else:
        way = linking.with_dask if options.peer == "dask" else linking.with_polars
        rows = way(options.input)
        seconds, busy = time.time() - start, cpu_seconds()
    return {"seconds": seconds, "CPU": busy, "URLs": len(rows), "check": check(rows), "MB": peak_mb()}


def run_memory(options: argparse.Namespace) -> dict[str, Any]:
    start = time.perf_counter()
    counts = gather(options.input, options.folder / "out")
    seconds = time.perf_counter() - start
    return {"MB": peak_mb(), "MB/s": counts["bytes"] / 1e6 / seconds, "check": "", "GB": counts["bytes"] / 1e9}


def run_distinct(options: argparse.Namespace) -> dict[str, Any]:
    """The reduce of `options.millions` million rows in the form of `gather`, four of five URLs seen once."""
    rows, parts = int(options.millions * 1e6), 64
    files = write_keys(options.folder, rows)
    start, found, peak = time.perf_counter(), 0, 0.0
    for number in range(parts):
        folder = options.folder / f"part{number}"
        folder.mkdir()
        shard = Shard(str(number), tuple(files), (number, parts))
        found += stages.distinct(shard, folder, stages.Distinct("any", 3))["urls"]
        shutil.rmtree(folder)
    peak = peak_mb()
    expected = len(np.unique(numbers(rows)))
    size = sum(file.stat().st_size for file in files) / 1e9
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "MB": peak, "URLs": found, "GB": size, "check": "" if found == expected else "WRONG"}


def numbers(rows: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, rows * 2, rows)


def write_keys(folder: Path, rows: int) -> list[Path]:
    """Runs of links of 80 bytes, a file for each 5 million, written by the stage's own writer."""
    files = []
    for first in range(0, rows, 5_000_000):
        part = folder / f"keys{first}"
        part.mkdir()
        with stages._Sifted(part) as sifted:
            for begin in range(first, min(first + 5_000_000, rows), stages.RUN_ROWS):
                chosen = numbers(rows)[begin : min(begin + stages.RUN_ROWS, first + 5_000_000)]
                sifted.add(key_table(chosen), {})
        files.append(part / stages.LINKS)
    return files


def key_table(chosen: np.ndarray) -> pa.Table:
    names = [f"http://www.site{number % 9973}.com/{'a' * 30}/{number:020d}.html" for number in chosen.tolist()]
    mixed = chosen.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    count = len(names)
    columns = [mixed, chosen.astype(np.uint64), names, [name[7:25] for name in names], chosen % 100, chosen]
    return pa.table([*columns, ["pics"] * count, [f"{n:x}" for n in range(count)]], schema=batches.LINK)


JOBS = {"ingest": run_ingest, "stage": run_stage, "memory": run_memory, "distinct": run_distinct}


def measure(job: str, peer: str, input_file: Path, size: int = 0, millions: float = 0) -> dict[str, Any]:
    """One job in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--job", job, "--peer", peer, "--input", str(input_file)]
        command += ["--folder", folder, "--input-bytes", str(size), "--millions", str(millions)]
        command += ["--started", str(time.time())]
        environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
        found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if found.returncode:
        sys.exit(f"{job} {peer}: {found.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return result


def compare(title: str, job: str, ways: dict[str, Path], rounds: int, size: int) -> None:
    """Alternating rounds; of each way the medians, and the medians of the ratios of clock and CPU time."""
    turns = [{peer: measure(job, peer, source, size) for peer, source in ways.items()} for _ in range(rounds)]
    checks = {found["check"] for turn in turns for found in turn.values()}
    print(f"\n{title}: {'the same URLs from all' if len(checks) == 1 else 'THE URLS DIFFER, no time counts'}")
    for peer in ways:
        names = [name for name, value in turns[0][peer].items() if isinstance(value, int | float)]
        medians = {name: statistics.median(turn[peer][name] for turn in turns) for name in names}
        ratios = [
            statistics.median(turn[peer][name] / turn["wholegpt"][name] for turn in turns)
            for name in ("seconds", "CPU")
        ]
        print(f"  {peer:<16}" + "  ".join(f"{name} {value:,.2f}" for name, value in medians.items()), end="")
        words = f"   wholegpt is x{ratios[0]:.2f} as fast, x{ratios[1]:.2f} by CPU" if peer != "wholegpt" else ""
        print(words, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dumps", type=Path, help="folder of real dumps, RS_v2_*.xz")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=["ingest", "stage"])
    parser.add_argument("--megabytes", type=float, default=300.0, help="of lines")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--millions", type=float, nargs="+", default=[5.0], help="rows of the section distinct")
    for name, kind in (("job", str), ("peer", str), ("input", Path), ("folder", Path), ("input-bytes", int)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        if options.peer == "wholegpt":
            sys.meta_path.insert(0, WithoutPandas())
        options.millions = options.millions[0]
        print(json.dumps(JOBS[options.job](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        show(options, Path(folder))


def show(options: argparse.Namespace, folder: Path) -> None:
    templates = submissions(options.dumps)
    if {"ingest", "stage"} & set(options.sections):
        packed, plain = write_input(folder, templates, options.megabytes)
        size = plain.stat().st_size
        print(f"{size / 1e6:.0f} MB of lines, {packed.stat().st_size / 1e6:.1f} MB packed")
    if "ingest" in options.sections:
        compare("ingest", "ingest", {"wholegpt": packed, "json and a set": packed}, options.rounds, size)
    if "stage" in options.sections:
        peers = {name: plain for name in ("polars", "dask") if importlib.util.find_spec(name)}
        compare("to distinct URLs", "stage", {"wholegpt": packed, **peers}, options.rounds, size)
    if "memory" in options.sections:
        for times in (1, 2, 4):
            packed, plain = write_input(folder, templates, options.megabytes * times)
            plain.unlink()
            print(f"memory of a worker: {measure('memory', 'wholegpt', packed)}", flush=True)
    if "distinct" in options.sections:
        for millions in options.millions:
            print(f"distinct: {measure('distinct', 'wholegpt', folder, millions=millions)}", flush=True)


if __name__ == "__main__":
    main()
