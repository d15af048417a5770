"""The links of a crawl in the order in which they are fetched: on the disk, host by host, those with most links first.

deal      a file of links to one file for each shard, by the hash of the host
line_up   a shard's links, each URL once, to `queue.jsonl` (a line a link) and `hosts.parquet` (where each host's
          lines begin, and how many there are)
"""

import itertools
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from pyarrow import parquet
from yarl import URL

from wholegpt.corpus import records
from wholegpt.errors import WholeGPTError
from wholegpt.runner import Shard
from wholegpt.runner.relational import connection

QUEUE, HOSTS = "queue.jsonl", "hosts.parquet"
LARGEST_URL_CHARACTERS = 8_000
MEMORY_BYTES = 2**30
LINK = pa.schema(
    [
        ("url", pa.string()),
        ("host", pa.string()),
        ("karma", pa.int64()),
        ("date", pa.string()),
        ("id", pa.string()),
        ("origin", pa.string()),  # the URL as submitted, where a redirect led to `url`; "" where it is the same
        ("hops", pa.int64()),
    ]
)
HOST = pa.schema([("host", pa.string()), ("first", pa.int64()), ("byte", pa.int64()), ("links", pa.int64())])
_ORDER = """
    SELECT url, min(host) AS host, max(karma) AS karma, min(date) AS date, min(id) AS id, min(origin) AS origin,
        min(hops) AS hops, count(*) OVER (PARTITION BY min(host)) AS links
    FROM read_parquet(?) GROUP BY url ORDER BY links DESC, host, url
"""


@dataclass(frozen=True)
class Link:
    """A URL to fetch and what is known of it."""

    url: str
    karma: int | None = None
    date: str = ""
    id: str = ""
    origin: str = ""
    hops: int = 0


@dataclass(frozen=True)
class DealOptions:
    """How many shards there are."""

    shards: int


@dataclass(frozen=True)
class HostLinks:
    """A host and where its links stand in the queue: the position of the first, its byte, and how many they are."""

    host: str
    first: int
    byte: int
    links: int


def deal(shard: Shard, folder: Path, options: DealOptions) -> dict[str, int]:
    """The stage: the links of a file, to the shards that their hosts belong to."""
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        dealt = [
            stack.enter_context(records.writer(folder / f"{number:05d}.parquet", LINK))
            for number in range(options.shards)
        ]
        rejects = stack.enter_context(records.writer(folder / records.REJECTS, records.REJECT))
        for link in _links(shard.inputs[0]):
            counts["links"] += 1
            try:
                url = parse(link.url)
            except ValueError as error:
                counts["bad-url"] += 1
                rejects.write(
                    {"id": link.id, "url": link.url, "stage": "queue", "reason": "bad-url", "text": str(error)}
                )
                continue
            host = str(url.host)
            row = {**asdict(link), "url": str(url), "host": host}
            dealt[shard_of(host, options.shards)].write(row)
    return dict(counts)


def line_up(shard: Shard, folder: Path, options: DealOptions) -> dict[str, int]:  # noqa: ARG001
    """The stage: what was dealt to a shard, in order and without doubles."""
    position = 0
    with (
        connection(folder / "temporary", MEMORY_BYTES) as database,
        (folder / QUEUE).open("wb") as queue,
        records.writer(folder / HOSTS, HOST) as hosts,
    ):
        rows = database.execute(_ORDER, [[str(path) for path in shard.inputs]])
        names = [column[0] for column in rows.description]
        found = (dict(zip(names, row, strict=True)) for row in iter(rows.fetchone, None))
        for host, group in itertools.groupby(found, key=lambda row: str(row["host"])):
            first, byte = position, queue.tell()
            for row in group:
                row = {name: value for name, value in row.items() if name not in ("host", "links")}
                queue.write(orjson.dumps(row) + b"\n")
                position += 1
            hosts.write({"host": host, "first": first, "byte": byte, "links": position - first})
    shutil.rmtree(folder / "temporary", ignore_errors=True)
    return {"links": position}


def read_hosts(path: Path) -> Iterator[HostLinks]:
    """The hosts of a queue, those with most links first."""
    return (HostLinks(**row) for row in records.rows([path]))


def read_links(path: Path, host: HostLinks) -> Iterator[tuple[int, Link]]:
    """The links of a host with their positions in the queue."""
    with path.open("rb") as stream:
        stream.seek(host.byte)
        for position in range(host.first, host.first + host.links):
            yield position, Link(**orjson.loads(stream.readline()))


def parse(text: str) -> URL:
    """A URL that can be asked for, without its fragment; ValueError says what is wrong with it."""
    if len(text) > LARGEST_URL_CHARACTERS:
        raise ValueError(f"longer than {LARGEST_URL_CHARACTERS} characters")
    url = URL(text.strip()).with_fragment(None)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("no http or https URL with a host")
    url = url.with_host(url.host.rstrip(".")) if url.host.endswith(".") else url
    return url.with_user(None)


def shard_of(host: str, shards: int) -> int:
    """The shard that a host belongs to."""
    return zlib.crc32(host.encode()) % shards


def files(path: Path) -> list[Path]:
    """The files of links that an input stands for."""
    if path.is_file():
        return [path]
    return sorted(file for pattern in ("*.parquet", "*.txt") for file in path.glob(pattern))


def check(path: Path) -> None:
    """WholeGPTError where a table has no column of URLs."""
    if path.suffix == ".parquet" and "url" not in parquet.ParquetFile(path).schema_arrow.names:
        raise WholeGPTError(f"{path} has no column url; expected links of `wholegpt corpus links`, or such a table")


def _links(path: Path) -> Iterator[Link]:
    if path.suffix != ".parquet":
        with path.open(encoding="utf-8", errors="replace") as stream:
            yield from (Link(line.strip()) for line in stream if line.strip())
        return
    columns = set(parquet.ParquetFile(path).schema_arrow.names)
    for row in records.rows([path], sorted(columns & {"url", "score", "date", "id", "origin", "hops"})):
        yield _link(row)


def _link(row: dict[str, Any]) -> Link:
    score, date = row.get("score"), row.get("date") or ""
    return Link(
        url=row["url"] or "",
        karma=None if score is None else int(score),
        date=date if isinstance(date, str) else date.isoformat(),
        id=str(row.get("id") or ""),
        origin=row.get("origin") or "",
        hops=row.get("hops") or 0,
    )
