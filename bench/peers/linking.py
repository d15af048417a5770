"""Other ways to the links of a dump, under the rules of the preset webtext; for the benchmark beside this folder."""

import html
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import zstandard

from wholegpt.corpus.submissions import lists, urls

UNTIL = 1_514_764_800  # 2018-01-01
BLOCKED = tuple("." + host for host in (*lists.load("media_hosts"), "wikipedia.org", "wikipedia.com"))
ENDINGS = frozenset(lists.load("media_extensions"))


def passes(submission: dict[str, Any]) -> str | None:
    """The URL of a submission that counts, in plain Python."""
    if not submission["url"] or submission["score"] is None or submission["is_self"]:
        return None
    if submission["score"] < 3 or int(submission["created_utc"]) >= UNTIL:
        return None
    url = html.unescape(submission["url"])
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or ("." + host).endswith(BLOCKED):
        return None
    if parts.path.rpartition(".")[2].lower() in ENDINGS:
        return None
    return url


def json_and_set(dump: Path) -> set[str]:
    """As the public rebuilds of WebText read a dump: lines of text, `json.loads`, the rules, a set of URLs."""
    found = set()
    with dump.open("rb") as stream:
        reader = zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(stream)
        for line in io.TextIOWrapper(reader, encoding="utf-8"):
            try:
                url = passes(json.loads(line))
            except (KeyError, ValueError):
                continue
            if url:
                found.add(url)
    return found


def with_polars(unpacked: Path) -> list[tuple[str, int, int]]:
    """Normal form, highest score and number of submissions of each URL, from ndjson: Polars reads no such window."""
    import polars as pl

    fields = {"url": pl.String, "score": pl.Int64, "created_utc": pl.Int64, "is_self": pl.Boolean}
    hosts = "|".join(host.replace(".", r"\.") for host in BLOCKED)
    host = pl.concat_str(pl.lit("."), pl.col("normal").str.extract("^([^/?:#]*)"))
    ending = pl.col("normal").str.extract(r"/[^?]*\.([^./?]*)(?:\?|$)").str.to_lowercase()
    table = (
        pl.scan_ndjson(unpacked, schema=fields)
        .filter(~pl.col("is_self") & (pl.col("score") >= 3) & (pl.col("created_utc") < UNTIL))
        .with_columns(
            pl.col("url").str.replace_all("&lt;", "<", literal=True).str.replace_all("&gt;", ">", literal=True)
            .str.replace_all("&amp;", "&", literal=True)
        )
        .with_columns(pl.col("url").map_elements(_normal, return_dtype=pl.String).alias("normal"))
        .filter(pl.col("normal").is_not_null() & ~host.str.contains(f"(?:{hosts})$"))
        .filter(~ending.is_in(list(ENDINGS)).fill_null(False))
        .group_by("normal")
        .agg(pl.col("score").max(), pl.len())
    )  # fmt: skip
    return [tuple(row) for row in table.collect(engine="streaming").rows()]


def with_dask(unpacked: Path) -> list[tuple[str, int, int]]:
    """The same with Dask: a bag of lines, a data frame of URLs."""
    import dask
    import dask.bag

    with dask.config.set(scheduler="processes", num_workers=2):
        lines = dask.bag.read_text(str(unpacked), blocksize=2**25)
        table = lines.map_partitions(_rows).to_dataframe(meta={"normal": "string", "score": "int64"})
        found = table.groupby("normal").score.agg(["max", "count"]).compute()
    return list(found.itertuples(name=None))


def _rows(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        submission = json.loads(line)
        url = passes(submission)
        normal = _normal(url) if url else None
        if normal:
            yield normal, submission["score"]


def _normal(url: str) -> str | None:
    found = urls.normalise(url)
    return found[0] if found else None
