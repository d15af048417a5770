"""The two stages of `corpus links`: a dump to accepted submissions, a range of keys to distinct URLs.

`gather` writes one file a dump, whatever the number of partitions: the rows of a run are sorted by key and cut into
small row groups, so whoever reads one range of keys takes the groups whose statistics meet it and skips the others.
`distinct` is DuckDB over one range of all files.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from wholegpt import artifact
from wholegpt.corpus.submissions import batches, domains
from wholegpt.corpus.submissions.batches import LINK
from wholegpt.corpus.submissions.dumps import Dump
from wholegpt.corpus.submissions.rules import Rule, Sieve, Submission
from wholegpt.runner import Shard
from wholegpt.runner.relational import connection

if TYPE_CHECKING:
    import duckdb

LINKS, REJECTS, BROKEN, DOMAINS = "links.parquet", "rejects.parquet", "broken.txt", "domains.parquet"
REJECT = pa.schema([("url", pa.string()), ("reason", pa.string()), ("id", pa.string())])
# Lines that are sifted together.
BATCH_LINES = 2**13
# Rows in memory before they are sorted and written, and how finely a run is cut.
RUN_ROWS = 2**16
GROUPS_A_RUN = 64
LEAST_GROUP_ROWS = 2**11
DISTINCT_MEMORY_BYTES = 2**29
_DECODER = msgspec.json.Decoder(Submission)


def gather(shard: Shard, folder: Path, rule: Rule) -> dict[str, int]:
    """The submissions of a dump (the shard's one input) that are links; the others with their reasons.

    Counts lines, links, bytes, reasons, and what the sieve met.
    """
    dump, sieve = Dump(shard.inputs[0], rule.window_bytes), Sieve(rule)
    parse, sift = (_listed, batches.sift_listed) if dump.holds_urls else (_DECODER.decode, batches.sift)
    waiting: list[Submission] = []
    lines = 0
    with _Sifted(folder) as sifted:
        for block in dump.blocks():
            found, broken = _parsed(block, parse)
            places = [Submission(id=f"{dump.path.name}:{lines + number}") for number in broken]
            sifted.reject("broken-line", places)
            lines += len(found) + len(broken)
            waiting += found
            if len(waiting) >= BATCH_LINES:
                sifted.add(*sift(sieve, waiting))
                waiting.clear()
        sifted.add(*sift(sieve, waiting))
    if dump.broken:
        artifact.write_bytes(folder / BROKEN, dump.broken.encode())
    reasons = {f"links/reason/{name}": count for name, count in sifted.reasons.items()}
    reasons["links/reason/too-long-line"] = dump.long_lines
    return {"lines": lines + dump.long_lines, "links": sifted.links, "bytes": dump.bytes, **sieve.counts, **reasons}


def _parsed(block: bytes, parse: Callable[[bytes], Submission]) -> tuple[list[Submission], list[int]]:
    """The submissions of the lines of a block that are not blank, and the numbers, from 1, of the broken ones."""
    if parse == _DECODER.decode:
        try:
            return _DECODER.decode_lines(block), []
        except (ValueError, RecursionError):
            pass  # some line is broken: one by one
    found, broken = [], []
    for number, line in enumerate((line for line in block.split(b"\n") if line.strip()), start=1):
        try:
            found.append(parse(line))
        except (ValueError, RecursionError):
            broken.append(number)
    return found, broken


def _listed(line: bytes) -> Submission:
    """A line of a list of URLs; UnicodeDecodeError where it is not UTF-8."""
    return Submission(url=line.decode())


class _Sifted:
    """The two files of a dump: links in runs that are sorted by key, and rejects."""

    def __init__(self, folder: Path) -> None:
        self._links = parquet.ParquetWriter(
            folder / LINKS, LINK, compression="lz4", use_dictionary=["host", "subreddit"], write_statistics=["key"]
        )
        self._rejects = parquet.ParquetWriter(folder / REJECTS, REJECT, compression="zstd", use_dictionary=["reason"])
        self._tables: list[pa.Table] = []
        self._waiting: dict[str, list[str]] = {name: [] for name in REJECT.names}
        self.links = 0
        self.reasons: Counter[str] = Counter()

    def __enter__(self) -> "_Sifted":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self._write_links()
            self._write_rejects()
        self._links.close()
        self._rejects.close()

    def add(self, links: pa.Table, rejects: batches.Rejects) -> None:
        self._tables.append(links)
        if sum(map(len, self._tables)) >= RUN_ROWS:
            self._write_links()
        for reason, submissions in rejects.items():
            self.reject(reason, submissions)

    def reject(self, reason: str, submissions: Sequence[Submission]) -> None:
        self.reasons[reason] += len(submissions)
        self._waiting["url"] += [one.url or "" for one in submissions]
        self._waiting["reason"] += [reason] * len(submissions)
        self._waiting["id"] += [one.id or "" for one in submissions]
        if len(self._waiting["id"]) >= RUN_ROWS:
            self._write_rejects()

    def _write_links(self) -> None:
        table = pa.concat_tables([LINK.empty_table(), *self._tables])
        self._tables = []
        if len(table):
            order = np.argsort(table["key"].to_numpy(), kind="stable")
            self._links.write_table(table.take(order), max(len(table) // GROUPS_A_RUN, LEAST_GROUP_ROWS))
            self.links += len(table)

    def _write_rejects(self) -> None:
        if self._waiting["id"]:
            self._rejects.write_table(pa.table(self._waiting, schema=REJECT))
            self._waiting = {name: [] for name in REJECT.names}


@dataclass(frozen=True)
class Distinct:
    """The rule of the URLs: how the submissions of one decide."""

    score_rule: str
    min_score: int


def distinct(shard: Shard, folder: Path, rule: Distinct) -> dict[str, int]:
    """The URLs whose key lies in a range: partition number `values[0]` of `values[1]`, over all inputs.

    Of a URL's submissions the one with the highest score stands for it, then the earliest, then the one of the lowest
    id. Writes links, rejects (`duplicate`, `karma`) and the links of each domain; counts URLs and rejects.
    """
    number, partitions = (int(value) for value in shard.values)
    low, high = (2**64 * part // partitions for part in (number, number + 1))
    sums = rule.score_rule == "sum"
    enough = f"(total IS NULL OR total >= {rule.min_score})" if sums else "true"
    files = [str(path) for path in shard.inputs]
    with connection(folder / "spill", DISTINCT_MEMORY_BYTES) as database:
        database.execute(
            f"""
            CREATE TEMP TABLE ranked AS
            SELECT *, row_number() OVER (of_url ORDER BY score DESC NULLS LAST, created, length(id), id, url) AS place,
                   count(*) OVER of_url AS submissions, sum(score) OVER of_url AS total
            FROM read_parquet($files) WHERE key BETWEEN {low} AND {high - 1}
            WINDOW of_url AS (PARTITION BY key, key_rest)
            """,
            {"files": files},
        )
        seconds = "make_timestamp(created * 1000000)"
        _copy(
            database,
            f"""
            SELECT url, host, {"total::BIGINT" if sums else "score"} AS score,
                   coalesce(strftime({seconds}, '%Y-%m-%dT%H:%M:%SZ'), '') AS date, subreddit, id, submissions
            FROM ranked WHERE place = 1 AND {enough} ORDER BY host, url
            """,
            folder / LINKS,
        )
        _copy(
            database,
            f"""
            SELECT url, CASE WHEN {enough} THEN 'duplicate' ELSE 'karma' END AS reason, id
            FROM ranked WHERE place > 1 OR NOT {enough} ORDER BY url, length(id), id
            """,
            folder / REJECTS,
        )
        hosts = database.execute(
            f"SELECT host, count(*) FROM ranked WHERE place = 1 AND {enough} GROUP BY host ORDER BY host"
        ).fetchall()
        found = database.execute(
            f"SELECT count(*) FILTER (place = 1 AND {enough}), count(*) FILTER (place > 1 AND {enough}), "
            f"count(*) FILTER (NOT {enough}) FROM ranked"
        ).fetchone()
    shutil.rmtree(folder / "spill", ignore_errors=True)
    domains.write(folder / DOMAINS, hosts)
    return dict(zip(("urls", "links/reason/duplicate", "links/reason/karma"), found or (0, 0, 0), strict=True))


def _copy(database: "duckdb.DuckDBPyConnection", query: str, path: Path) -> None:
    place = str(path).replace("'", "''")
    database.execute(f"COPY ({query}) TO '{place}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480)")
