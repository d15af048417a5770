"""`wholegpt corpus links`: dumps of submissions, or lists of URLs, to the distinct links worth fetching (section 2.1).

    links/
    ├── part-00000.parquet ...   url, host, score, date, subreddit, id, submissions; ordered by host in each
    ├── domains.parquet .txt     links of each registered domain, most first
    ├── funnel.json              what went into each stage, what came out, why the rest did not
    └── rejects/                 url, reason and id of what was left out: lines-* of each dump, urls-* of each partition

The same files whatever the order of the dumps, the workers, or how often it was killed. Left out on purpose: whether an
address may be asked (private networks, robots.txt), which is `corpus fetch`'s business.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from wholegpt.artifact import STATE, Artifact
from wholegpt.corpus import funnel
from wholegpt.corpus.submissions import domains, dumps, lists, rules, stages
from wholegpt.corpus.submissions.dumps import ZSTD_WINDOW_BYTES
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.progress import say
from wholegpt.runner import Backend, Report, Shard, place, run, writing

# Submissions that make a partition of their own worth its files.
PARTITION_ROWS = 2**14
# What a worker needs beside the window of a zstd frame.
WORKER_BYTES = 2**28


@dataclass(frozen=True)
class LinksOptions:
    """Find the links worth fetching in dumps of Reddit's submissions or lists of URLs (section 2.1)."""

    dumps: tyro.conf.Positional[tuple[Path, ...]]
    """Dumps (.zst, .zst_blocks, .xz, .bz2, .gz, .ndjson or none), lists of URLs (.txt), or folders of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write; an interrupted work in it is resumed."""
    preset: Literal["webtext", "openwebtext"] = "webtext"
    """webtext: what the paper says; openwebtext: no last date, nothing over 18, more hosts blocked."""
    score_rule: Literal["any", "sum"] = "any"
    """The karma that counts: of any one submission of the URL, or the sum over all."""
    min_score: int | None = None
    """Least karma; default 3."""
    since: str = ""
    """First day [YYYY-MM-DD, UTC]."""
    until: str | None = None
    """Last day [YYYY-MM-DD, UTC]; default 2017-12-31 in webtext, none in openwebtext; "" for none."""
    exclude_over_18: bool = False
    """Leave out what was posted as not safe for work, as openwebtext does."""
    block_domains: Path | None = None
    """File of more hosts to leave out, with all below them, one a line."""
    block_extensions: Path | None = None
    """File of more endings of paths to leave out, one a line."""
    compare_domains: Path | None = None
    """File of a published domain table (a name and a number a line) to compare ranks with."""
    partitions: int = 64
    """Most parts of the output; few links make fewer."""
    window_bytes: int = ZSTD_WINDOW_BYTES
    """Memory that a zstd frame may ask of each worker [bytes]."""
    backend: Annotated[Backend, tyro.conf.OmitArgPrefixes] = field(default_factory=Backend)
    overwrite: bool = False
    """Replace links made otherwise."""

    def __post_init__(self) -> None:
        if not 0 < self.partitions <= 4096:
            raise UsageError(f"--partitions is {self.partitions}, expected 1 to 4096")
        for name, value in (("since", self.since), ("until", self.until)):
            if value:
                _day(value, name)


def build(options: LinksOptions) -> Artifact:
    """Write the links and print their funnel; killed at any moment, the same command goes on."""
    files = sorted({file for given in options.dumps for file in dumps.files(given)}, key=lambda file: (file.name, file))
    if not files:
        raise UsageError("no dumps were given")
    beside = [path for path in (options.block_domains, options.block_extensions, options.compare_domains) if path]
    links = Artifact(
        options.output, "corpus links", options, [*options.dumps, *beside], options.overwrite,
        incidental=("backend",),
    )  # fmt: skip
    if links.exists():
        say(f"{options.output} is there already")
    else:
        with writing(links, options.backend) as folder:
            found = write(folder, files, options)
            if options.backend.leads:
                links.counts = publish(folder, files, *found, options)
    if options.backend.leads:
        show(links.counts, options.backend.json)
    return links


def rule(options: LinksOptions) -> rules.Rule:
    """The options over the preset's defaults."""
    preset = rules.PRESETS[options.preset]
    until = preset.until if options.until is None else options.until
    hosts = [name for chosen in preset.hosts for name in lists.load(chosen)]
    extensions = [name for chosen in preset.extensions for name in lists.load(chosen)]
    hosts += lists.read(options.block_domains) if options.block_domains else ()
    extensions += lists.read(options.block_extensions) if options.block_extensions else ()
    endings = tuple(name.removeprefix(".") for name in extensions)
    if long := [name for name in endings if len(name.encode()) > rules.LONGEST_ENDING_BYTES]:
        raise UsageError(f"an ending to block has at most {rules.LONGEST_ENDING_BYTES} letters, found {long[0]}")
    return rules.Rule(
        score_rule=options.score_rule,
        min_score=preset.min_score if options.min_score is None else options.min_score,
        since=_day(options.since, "since") if options.since else 0,
        until=_day(until, "until") + 86_400 if until else rules.LAST_DATE_SECONDS,
        exclude_over_18=options.exclude_over_18 or preset.exclude_over_18,
        hosts=tuple(hosts),
        extensions=endings,
        window_bytes=options.window_bytes,
    )


def write(folder: Path, files: Sequence[Path], options: LinksOptions) -> tuple[Report, Report]:
    """Both stages: links and rejects of each dump, distinct URLs of each partition."""
    chosen, state = rule(options), folder / STATE
    backend = replace(options.backend, workers=_workers(files, options))
    dealt = [Shard(f"{number:05d}", (file,)) for number, file in enumerate(files)]
    gathered = run(stages.gather, dealt, state / "gather", chosen, backend)
    if not gathered.folders:
        raise WholeGPTError(f"none of the {len(files)} dumps could be read: {gathered.faults()[0]}")
    rows = gathered.counts["links"]
    partitions = max(1, min(options.partitions, rows // PARTITION_ROWS))
    inputs = tuple(part / stages.LINKS for part in gathered.folders)
    ranges = [Shard(f"{number:05d}", inputs, (number, partitions)) for number in range(partitions)]
    how = stages.Distinct(chosen.score_rule, chosen.min_score)
    return gathered, run(stages.distinct, ranges, state / "distinct", how, backend).whole()


def publish(
    folder: Path, files: Sequence[Path], gathered: Report, found: Report, options: LinksOptions
) -> dict[str, Any]:
    """Give the results their names, and sum them up; returns the counts."""
    (folder / "rejects").mkdir(exist_ok=True)
    for part in found.folders:
        place(part / stages.LINKS, folder / f"part-{part.name}.parquet")
        place(part / stages.REJECTS, folder / "rejects" / f"urls-{part.name}.parquet")
    for part in gathered.folders:
        place(part / stages.REJECTS, folder / "rejects" / f"lines-{part.name}.parquet")
    tables = [part / stages.DOMAINS for part in found.folders]
    count = domains.merge(tables, folder, folder / STATE / "spill", stages.DISTINCT_MEMORY_BYTES)
    broken = [path.read_text() for part in gathered.folders if (path := part / stages.BROKEN).is_file()]
    broken += [f"{files[int(name)]}: {why}" for name, why in zip(gathered.failed, gathered.faults(), strict=True)]
    for sentence in broken:
        say(sentence)
    steps = funnel_of(gathered.counts, found.counts, options.score_rule)
    funnel.write(folder, steps)
    met = {name: gathered.counts[name] for name in ("escaped", "crossposts", "over_18", "dates_as_text", "bytes")}
    compared = domains.compare(folder / "domains.parquet", options.compare_domains) if options.compare_domains else {}
    return {
        "lines": gathered.counts["lines"], "links": found.counts["urls"], "domains": count, **met,
        "broken": broken, "funnel": steps, **({"compared": compared} if compared else {}),
    }  # fmt: skip


def funnel_of(gathered: dict[str, int], found: dict[str, int], score_rule: str) -> list[dict[str, Any]]:
    """The stages in order, each with what went in, came out, and the reasons of the rest."""
    steps, left = [], gathered["lines"]
    for stage, names in rules.FUNNEL.items():
        if stage == "karma" and score_rule == "sum":
            continue
        steps.append(funnel.step(stage, left, {name: gathered.get(f"links/reason/{name}", 0) for name in names}))
        left = steps[-1]["out"]
    names = ("duplicate", "karma") if score_rule == "sum" else ("duplicate",)
    steps.append(funnel.step("urls", left, {name: found.get(f"links/reason/{name}", 0) for name in names}))
    if steps[-1]["out"] != found["urls"]:
        raise AssertionError(f"{steps[-1]['out']} links by the funnel, {found['urls']} written")
    return steps


def show(counts: dict[str, Any], as_json: bool) -> None:
    """Print what a set of links is, for people or machines."""
    if as_json:
        print(json.dumps(counts, ensure_ascii=False))
        return
    for step in counts["funnel"]:
        reasons = ", ".join(f"{name} {count:,}" for name, count in step["reasons"].items() if count)
        print(f"{step['stage']:<8}{step['in']:>13,} -> {step['out']:>13,}  {reasons}".rstrip())
    print(f"{counts['links']:,} links of {counts['domains']:,} domains")
    if compared := counts.get("compared"):
        print(
            f"domains: Spearman {compared['spearman']} over {compared['in both']:,} of {compared['published']:,}, "
            f"{compared['missing']:,} missing: {' '.join(compared['missing first'])}"
        )


def _workers(files: Sequence[Path], options: LinksOptions) -> int:
    """Processes, so that the windows of the zstd frames fit into this machine's memory together."""
    if options.backend.name == "ray":
        return options.backend.workers
    wanted = options.backend.workers or os.cpu_count() or 1
    window = max((dumps.window(file) for file in files), default=0)
    each = WORKER_BYTES + (window if window <= options.window_bytes else 0)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**33
    fitting = max(1, memory // each)
    if fitting < wanted:
        say(f"{fitting} workers, not {wanted}: each may take {each / 1e9:.1f} GB")
    return min(wanted, fitting)


def _day(text: str, name: str) -> int:
    """The beginning of a day in UTC [seconds since 1970]."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"--{name} is {text}, expected a day such as 2017-12-31") from None
    return int(day.timestamp())
