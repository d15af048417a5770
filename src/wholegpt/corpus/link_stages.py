"""The two stages of `corpus links`: a dump to accepted submissions, a range of keys to distinct URLs.

`gather` writes one file a dump, whatever the number of partitions: the rows of a run are sorted by key and cut into
small row groups, so whoever reads one range of keys takes the groups whose statistics meet it and skips the others.
`distinct` is DuckDB over one range of all files.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from wholegpt import artifact
from wholegpt.corpus import domains
from wholegpt.corpus.dumps import Dump
from wholegpt.corpus.link_rules import Rule, Sieve, Submission
from wholegpt.runner import Shard
from wholegpt.runner.relational import connection

if TYPE_CHECKING:
    import duckdb

LINKS, REJECTS, BROKEN, DOMAINS = "links.parquet", "rejects.parquet", "broken.txt", "domains.parquet"
# Rows in memory before they are sorted and written, and how finely a run is cut.
RUN_ROWS = 2**17
GROUPS_A_RUN = 64
LEAST_GROUP_ROWS = 2**11
DISTINCT_MEMORY_BYTES = 2**29

LINK = pa.schema(
    [
        ("key", pa.uint64()),  # the first half of the digest; ranges of it are the partitions
        ("key_rest", pa.uint64()),
        ("url", pa.string()),
        ("host", pa.string()),
        ("score", pa.int64()),
        ("created", pa.int64()),
        ("subreddit", pa.string()),
        ("id", pa.string()),
    ]
)
REJECT = pa.schema([("url", pa.string()), ("reason", pa.string()), ("id", pa.string())])
_DECODER = msgspec.json.Decoder(Submission)


def gather(shard: Shard, folder: Path, rule: Rule) -> dict[str, int]:
    """The submissions of a dump (the shard's one input) that are links; the others with their reasons.

    Counts lines, links, reasons, and what the sieve met.
    """
    dump, sieve = Dump(shard.inputs[0], rule.window_bytes), Sieve(rule)
    parse, sift = (_listed, sieve.sift_listed) if dump.holds_urls else (_submissions, sieve.sift)
    reasons: Counter[str] = Counter()
    lines = 0
    with _Runs(folder / LINKS, LINK) as links, _Runs(folder / REJECTS, REJECT) as rejects:
        for block in dump.blocks():
            for submission in parse(block):
                lines += 1
                found = sift(submission) if submission else "broken-line"
                if type(found) is tuple:
                    links.waiting.append(found)
                    continue
                reasons[found] += 1  # type: ignore[index]
                if submission:
                    rejects.waiting.append((submission.url or "", found, submission.id or ""))
                else:
                    rejects.waiting.append(("", found, f"{dump.path.name}:{lines}"))
            links.write(RUN_ROWS)
            rejects.write(RUN_ROWS)
    if dump.broken:
        artifact.write_bytes(folder / BROKEN, dump.broken.encode())
    reasons["too-long-line"] = dump.long_lines
    counts = {"lines": lines + dump.long_lines, "links": links.rows, "bytes": dump.bytes, **sieve.counts}
    return {**counts, **{f"reason {name}": count for name, count in reasons.items()}}


def _submissions(block: bytes) -> Sequence[Submission | None]:
    """One for each line that is not blank, None for a broken one."""
    try:
        found: list[Submission] = _DECODER.decode_lines(block)
        return found
    except (ValueError, RecursionError):  # some line is broken: one by one
        return [_submission(line) for line in block.split(b"\n") if line.strip()]


def _submission(line: bytes) -> Submission | None:
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError):
        return None


def _listed(block: bytes) -> Sequence[Submission | None]:
    """The same of a list of URLs; what is not UTF-8 is broken."""
    return [_listed_url(line) for line in block.split(b"\n") if line.strip()]


def _listed_url(line: bytes) -> Submission | None:
    try:
        return Submission(url=line.decode())
    except UnicodeDecodeError:
        return None


class _Runs:
    """A parquet file that takes tuples in runs; those of links begin with the digest, and a run is sorted by it."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        repeated = [name for name in ("host", "subreddit", "reason") if name in schema.names]
        packing = "lz4" if schema is LINK else "zstd"
        self._file = parquet.ParquetWriter(
            path, schema, compression=packing, use_dictionary=repeated, write_statistics=["key"]
        )
        self.waiting: list[tuple[Any, ...]] = []
        self.rows = 0

    def __enter__(self) -> "_Runs":
        return self

    def __exit__(self, *error: object) -> None:
        if not any(error):
            self.write()
        self._file.close()

    def write(self, least: int = 1) -> None:
        """Write what is waiting, if there are at least so many rows."""
        if len(self.waiting) < least:
            return
        columns: list[Any] = list(zip(*self.waiting, strict=True))
        group = len(self.waiting)
        if self._schema is LINK:
            halves = np.frombuffer(b"".join(columns[0]), ">u8").astype(np.uint64).reshape(-1, 2)
            columns[:1] = [halves[:, 0], halves[:, 1]]
            group = max(group // GROUPS_A_RUN, LEAST_GROUP_ROWS)
        table = pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)],
            schema=self._schema,
        )
        if self._schema is LINK:
            table = table.take(np.argsort(halves[:, 0], kind="stable"))
        self._file.write_table(table, group)
        self.rows += len(self.waiting)
        self.waiting.clear()


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
    return dict(zip(("urls", "reason duplicate", "reason karma"), found or (0, 0, 0), strict=True))


def _copy(database: "duckdb.DuckDBPyConnection", query: str, path: Path) -> None:
    place = str(path).replace("'", "''")
    database.execute(f"COPY ({query}) TO '{place}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480)")
