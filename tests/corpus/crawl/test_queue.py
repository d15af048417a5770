"""Links in the order in which they are fetched."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from wholegpt.corpus import records
from wholegpt.corpus.crawl import queue
from wholegpt.corpus.crawl.queue import HOSTS, QUEUE, DealOptions, Link
from wholegpt.errors import WholeGPTError
from wholegpt.runner import Shard


def lined_up(folder: Path, sources: list[Path], shards: int = 1) -> tuple[list[list[tuple[str, list[Link]]]], dict]:
    """For each shard its hosts in order with their links; and the counts of dealing."""
    counts: dict[str, int] = {}
    for index, source in enumerate(sources):
        (folder / f"deal-{index}").mkdir()
        for name, number in queue.deal(Shard("d", (source,)), folder / f"deal-{index}", DealOptions(shards)).items():
            counts[name] = counts.get(name, 0) + number
    found = []
    for shard in range(shards):
        work = folder / f"queue-{shard}"
        work.mkdir()
        parts = tuple(folder / f"deal-{index}" / f"{shard:05d}.parquet" for index in range(len(sources)))
        total = queue.line_up(Shard(f"{shard:05d}", parts), work, DealOptions(shards))["links"]
        hosts = list(queue.read_hosts(work / HOSTS))
        positions = [position for host in hosts for position, _ in queue.read_links(work / QUEUE, host)]
        assert positions == list(range(total))
        assert {path.name for path in work.iterdir()} == {QUEUE, HOSTS}
        found.append([(host.host, [link for _, link in queue.read_links(work / QUEUE, host)]) for host in hosts])
    return found, counts


def test_hosts_with_most_links_come_first_and_each_url_once(tmp_path):
    same = "http://b.example/2"
    table = pa.table(
        {
            "url": [same, "http://A.example/#x", "http://b.example/1", same, None, "nope"],
            "score": [3, 4, 5, 9, 1, 1],
            "date": [datetime(2017, 1, day) for day in range(1, 7)],
            "id": ["f", "e", "d", "c", "b", "a"],
        }
    )  # fmt: skip
    parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "b.txt").write_text("http://a.example/\n\nhttps://bücher.example:8443/é x\n", encoding="utf-8")
    [shard], counts = lined_up(tmp_path, queue.files(tmp_path))
    assert counts == {"links": 8, "bad-url": 2}
    assert shard == [
        (
            "b.example",
            [
                Link("http://b.example/1", 5, "2017-01-03T00:00:00", "d"),
                Link("http://b.example/2", 9, "2017-01-01T00:00:00", "c"),
            ],
        ),
        ("a.example", [Link("http://a.example/", 4, "", "")]),
        ("bücher.example", [Link("https://xn--bcher-kva.example:8443/%C3%A9%20x")]),
    ]
    rejects = list(records.rows([tmp_path / "deal-0" / records.REJECTS]))
    assert [(row["url"], row["reason"]) for row in rejects] == [("", "bad-url"), ("nope", "bad-url")]


def test_a_host_belongs_to_one_shard(tmp_path):
    urls = [f"http://host{number % 40}.example/{number}" for number in range(400)]
    (tmp_path / "links.txt").write_text("\n".join(urls))
    shards, _ = lined_up(tmp_path, [tmp_path / "links.txt"], 3)
    hosts = [host for shard in shards for host, _ in shard]
    assert len(hosts) == len(set(hosts)) == 40 and all(shards)
    assert sorted(link.url for shard in shards for _, links in shard for link in links) == sorted(urls)


@pytest.mark.parametrize(
    "url", ["", "ftp://a/", "//a/", "http:///x", "http://[::1", "http://a:99999/", "javascript:x", "http://a/" * 999]
)
def test_what_is_no_url_to_fetch(url):
    with pytest.raises(ValueError):
        queue.parse(url)


def test_what_is_left_of_a_url():
    assert str(queue.parse(" HTTP://user:word@Host.example:80/a?b#c ")) == "http://host.example/a?b"
    assert str(queue.parse("http://host.example.:8080/")) == "http://host.example:8080/"


def test_a_table_without_urls_is_named(tmp_path):
    parquet.write_table(pa.table({"link": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(WholeGPTError, match=r"a\.parquet has no column url"):
        queue.check(tmp_path / "a.parquet")
