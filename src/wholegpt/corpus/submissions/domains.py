"""The domains of a set of links, how many links each has, and how that compares with a published table.

A domain is what its owner registered (`bbc.co.uk`), by the list of public suffixes that tldextract carries; an address
is its own domain.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from wholegpt.errors import WholeGPTError
from wholegpt.runner.relational import connection

if TYPE_CHECKING:
    import tldextract

DOMAIN = pa.schema([("domain", pa.string()), ("label", pa.string()), ("links", pa.int64())])
# Names that are printed of those a published table has and these links have not.
MISSING_NAMED = 20


@functools.cache
def _extractor() -> "tldextract.TLDExtract":
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list that comes with it: no network


def domain(host: str) -> tuple[str, str]:
    """The registered domain of a host, and its label without the public suffix.

    >>> domain("news.bbc.co.uk"), domain("127.0.0.1")
    (('bbc.co.uk', 'bbc'), ('127.0.0.1', '127.0.0.1'))
    """
    found = _extractor().extract_str(host)
    return (f"{found.domain}.{found.suffix}", found.domain) if found.domain and found.suffix else (host, host)


def write(path: Path, hosts: Iterable[tuple[str, int]]) -> None:
    """The table of domains of hosts with their links, by name."""
    links: Counter[tuple[str, str]] = Counter()
    for host, count in hosts:
        links[domain(host)] += count
    rows = [(name, label, links[name, label]) for name, label in sorted(links)]
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    parquet.write_table(pa.table(columns, schema=DOMAIN), path, compression="zstd")


def merge(paths: Sequence[Path], folder: Path, temporary: Path, memory_bytes: int) -> int:
    """One table of all, most links first: `domains.parquet` and, a line `LINKS DOMAIN` each, `domains.txt`; returns the
    number of domains."""
    with connection(temporary, memory_bytes) as database:
        database.execute(
            "CREATE TEMP TABLE domains AS SELECT domain, any_value(label) AS label, sum(links)::BIGINT AS links "
            "FROM read_parquet($files) GROUP BY domain",
            {"files": [str(path) for path in paths]},
        )
        ordered = "SELECT {} FROM domains ORDER BY links DESC, domain"
        for columns, name, form in (
            ("*", "domains.parquet", "FORMAT parquet, COMPRESSION zstd"),
            ("links || ' ' || domain", "domains.txt", "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\\t'"),
        ):
            place = str(folder / name).replace("'", "''")
            database.execute(f"COPY ({ordered.format(columns)}) TO '{place}' ({form})")
        (count,) = database.execute("SELECT count(*) FROM domains").fetchone() or (0,)
    return int(count)


def compare(table: Path, published: Path) -> dict[str, Any]:
    """How the ranks of a published table, lines of a name and a number in either order, agree with those of `table`.

    A published name without a dot (`bbc`) is compared with all domains of that label. Returns `spearman` over the names
    that both have (None where they have no order), their number, and the names that are missing here, most links first.
    """
    theirs = _published(published)
    column = "domain" if any("." in name for name in theirs) else "label"
    ours: Counter[str] = Counter()
    for batch in parquet.ParquetFile(table).iter_batches(columns=[column, "links"]):
        for name, links in zip(*(values.to_pylist() for values in batch.columns), strict=True):
            if name in theirs:
                ours[name] += links
    shared = [name for name in theirs if name in ours]
    missing = sorted((name for name in theirs if name not in ours), key=lambda name: -theirs[name])
    correlation = spearman([theirs[name] for name in shared], [ours[name] for name in shared])
    return {
        "published": len(theirs),
        "in both": len(shared),
        "spearman": None if np.isnan(correlation) else round(correlation, 4),
        "missing": len(missing),
        "missing first": missing[:MISSING_NAMED],
    }


def spearman(left: Sequence[float], right: Sequence[float]) -> float:
    """The rank correlation of two lists, equal values at their mean rank; nan where one of them has no order.

    >>> round(spearman([10, 20, 30, 40], [1, 3, 2, 4]), 3)
    0.8
    """
    if len(set(left)) < 2 or len(set(right)) < 2:
        return float("nan")
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    _, positions, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[positions]


def _published(path: Path) -> dict[str, int]:
    """The names and numbers of a table of two columns; WholeGPTError where the file is none."""
    found: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WholeGPTError(f"{path} cannot be read as a table of domains ({error})") from None
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        name, count = (words[1], words[0]) if words[0].isdecimal() else (words[0], words[-1])
        if len(words) != 2 or not count.isdecimal():
            if number == 1:
                continue  # names of the columns
            raise WholeGPTError(f"{path}, line {number}: expected a domain and a number of links, found {line[:80]!r}")
        found[name.lower()] = found.get(name.lower(), 0) + int(count)
    if not found:
        raise WholeGPTError(f"{path} holds no domains: expected lines of a domain and a number of links")
    return found
