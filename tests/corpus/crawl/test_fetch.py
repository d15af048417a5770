"""`wholegpt corpus fetch` from links to an artifact, killed and gone on with."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from wholegpt import artifact
from wholegpt.artifact import read_manifest
from wholegpt.corpus import records
from wholegpt.corpus.crawl import queue
from wholegpt.corpus.crawl.crawler import CrawlOptions
from wholegpt.corpus.fetch import FetchOptions, fetch, forecast, shown
from wholegpt.errors import Interrupted, UsageError, WholeGPTError
from wholegpt.runner import Backend

KILLS = 3


def options(source: Path, output: Path, **changes) -> FetchOptions:
    given = {"contact": "tests@localhost", "delay_seconds": 0.0, "allow_private": True, "shards": 1, **changes}
    return FetchOptions((source,), output, **given)


def write_links(path: Path, urls: list[str]) -> Path:
    columns = {"url": urls, "score": list(range(len(urls))), "id": [f"id{number}" for number in range(len(urls))]}
    parquet.write_table(pa.table({**columns, "date": ["2017-05-06"] * len(urls)}), path)
    return path


def wide(site, number: int = 60) -> list[str]:
    """URLs of seven hosts, some of which lead to another host, some to nothing."""
    urls = [site.url(f"/page/{index}", index % 7) for index in range(number)]
    urls += [site.url(f"/to?url={site.url(f'/page/by{index}', index + 1)}", index) for index in range(6)]
    return [*urls, *(site.url(f"/status/{status}") for status in (404, 410, 304)), "gopher://x/"]


def pages(output: Path, read_pages) -> dict[str, bytes]:
    found = [(fields["WARC-wholeGPT-Url"], body) for fields, body in read_pages(output)]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_links_become_pages_with_a_funnel_and_rejects(site, tmp_path, read_pages, capsys):
    urls = wide(site)
    source = write_links(tmp_path / "links.parquet", [*urls, urls[0]])
    fetch(options(source, tmp_path / "pages", compression="gz"))
    assert read_pages(tmp_path / "pages")[0][0]["WARC-wholeGPT-Date"] == "2017-05-06"
    karma = {fields["WARC-wholeGPT-Url"]: fields["WARC-wholeGPT-Karma"] for fields, _ in read_pages(tmp_path / "pages")}
    assert karma[urls[0]] == str(len(urls)) and karma[urls[5]] == "5"
    assert artifact.read_json(tmp_path / "pages" / "funnel.json") == [
        {"stage": "queue", "in": 71, "out": 69, "reasons": {"bad-url": 1, "duplicate": 1}},
        {"stage": "fetch", "in": 69, "out": 66, "reasons": {"status-3xx": 1, "status-4xx": 2}},
    ]
    counts = read_manifest(tmp_path / "pages")["counts"]
    assert counts == {"pages": 66, "status": {"304": 1, "404": 1, "410": 1}, "crawl_delays_capped": 0}
    rejects = list(records.rows(sorted((tmp_path / "pages" / "rejects").glob("*.parquet"))))
    assert sorted(row["reason"] for row in rejects) == ["bad-url", "status-304", "status-404", "status-410"]
    said = capsys.readouterr().err
    assert "69 URLs of 7 hosts" in said and "host0.localhost" in said
    fetch(options(source, tmp_path / "pages", compression="gz"))
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("shards", [2, 3])
def test_the_same_pages_by_any_number_of_shards_and_no_host_asked_twice_at_once(site, tmp_path, read_pages, shards):
    source = write_links(tmp_path / "links.parquet", wide(site))
    for number, name in ((1, "one"), (shards, "many")):
        fetch(options(source, tmp_path / name, shards=number, backend=Backend(workers=2)))
    one, many = (pages(tmp_path / name, read_pages) for name in ("one", "many"))
    assert one == many and len(one) == 66
    funnels = [artifact.read_json(tmp_path / name / "funnel.json") for name in ("one", "many")]
    assert funnels[0] == funnels[1]
    assert site.most_at_once == 1


def test_hosts_whose_crawl_delay_was_capped_are_reported(site, tmp_path):
    from aiohttp import web

    async def slow(_: web.Request) -> web.Response:
        return web.Response(text="User-agent: *\nCrawl-delay: 86400")

    site.robots["host1.localhost"] = slow
    source = write_links(tmp_path / "links.parquet", [site.url("/page/1", 1), site.url("/page/1", 2)])
    fetch(options(source, tmp_path / "pages", crawl_delay_cap_seconds=0.1))
    assert read_manifest(tmp_path / "pages")["counts"]["crawl_delays_capped"] == 1
    capped = artifact.read_json(tmp_path / "pages" / "crawl_delays.json")
    assert capped == {f"http://host1.localhost:{site.port}": 86400.0}


def test_the_block_list_counts_for_subdomains(site, tmp_path):
    (tmp_path / "block.txt").write_text("# ours\nhost1.localhost\nblocked.example # why\n")
    source = write_links(
        tmp_path / "links.parquet", [site.url("/page/1", 1), site.url("/page/1"), "http://a.blocked.example/"]
    )
    fetch(options(source, tmp_path / "pages", block=(tmp_path / "block.txt",)))
    funnel = artifact.read_json(tmp_path / "pages" / "funnel.json")
    assert funnel[1]["reasons"] == {"blocked": 2}


@pytest.mark.parametrize("contact", ["", "me", "a@b.c\r\nX: y"])
def test_without_a_contact_nothing_is_fetched_and_the_error_says_why(tmp_path, contact):
    with pytest.raises(
        UsageError, match="it is sent with each request, so that those whose sites you fetch can ask you"
    ):
        options(tmp_path, tmp_path / "pages", contact=contact)


@pytest.mark.parametrize(
    "wrong", [{"timeout_seconds": 0}, {"delay_seconds": -1}, {"open_hosts": 0}, {"page_megabytes": 0}, {"shards": -1}]
)
def test_options_out_of_range(tmp_path, wrong):
    with pytest.raises(UsageError):
        options(tmp_path, tmp_path / "pages", **wrong)


def test_inputs_without_links(tmp_path):
    with pytest.raises(UsageError, match=r"expected \.parquet or \.txt files of links"):
        fetch(options(tmp_path, tmp_path / "pages"))
    parquet.write_table(pa.table({"link": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(WholeGPTError, match="has no column url"):
        fetch(options(tmp_path / "a.parquet", tmp_path / "pages"))


def test_the_forecast_names_the_slowest_hosts(tmp_path, capsys):
    rows = [{"host": f"h{number}", "first": 0, "byte": 0, "links": number} for number in range(8, 0, -1)]
    with records.writer(tmp_path / "hosts.parquet", queue.HOST) as writer:
        for row in [{"host": "slow.example", "first": 0, "byte": 0, "links": 10_000}, *rows]:
            writer.write(row)
    forecast([tmp_path / "hosts.parquet"], CrawlOptions(tmp_path, 1, "x@y", delay_seconds=2.0, open_hosts=4))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "10,036 URLs of 9 hosts, each asked every 2 s; slowest:"
    assert lines[1].split() == ["slow.example", "10,000", "URLs", "99.6%", "5:33:20"]
    assert len(lines) == 7 and lines[6].startswith("at least 5:33:20, and up to 6:56:58 ")


def test_a_line_of_progress_sums_the_shards(tmp_path, monkeypatch, capsys):
    state = {
        "urls": 1000,
        "done": 500,
        "now": 100,
        "seconds": 10.0,
        "bytes": 5_000_000,
        "hosts": 7,
        "seconds_left": 80.0,
    }
    for number, outcomes in enumerate([{"stored": 90, "status-404": 5, "status-410": 1}, {"dns": 4}]):
        (tmp_path / str(number)).mkdir()
        content = {**state, "outcomes": outcomes, "seconds_left": 80.0 + number}
        (tmp_path / str(number) / "progress.json").write_text(json.dumps(content))
    monkeypatch.setattr("wholegpt.corpus.fetch.SECONDS_BETWEEN_LINES", 0.01)
    with shown([tmp_path / name for name in ("0", "1", "not begun")]):
        time.sleep(0.2)
    assert capsys.readouterr().err.splitlines()[0] == (
        "fetch: 1,000/2,000 URLs, 90 pages, 20.0 URLs/s, 1.0 MB/s, 14 hosts open, 1:21 left; status-4xx 6, dns 4"
    )


SCRIPT = """
import sys
from pathlib import Path
from wholegpt.corpus.fetch import FetchOptions, fetch
from wholegpt.errors import Interrupted
from wholegpt.runner import Backend

if __name__ == "__main__":
    given = dict(contact="tests@localhost", delay_seconds=0.0, allow_private=True, shards=2, backend=Backend(workers=2))
    try:
        fetch(FetchOptions((Path(sys.argv[1]),), Path(sys.argv[2]), **given))
    except Interrupted:
        sys.exit(130)
"""


def command(source: Path, output: Path) -> list[str]:
    (source.parent / "command.py").write_text(SCRIPT)
    return [sys.executable, str(source.parent / "command.py"), str(source), str(output)]


def journal_bytes(output: Path) -> int:
    return sum(path.stat().st_size for path in output.parent.glob(f"{output.name}.partial/state/work/*/journal.jsonl"))


def interrupted(source: Path, output: Path, how: signal.Signals, seconds: float) -> int | None:
    """Run the verb and stop it some time after it got ahead; None where it was done before."""
    before = journal_bytes(output)
    process = subprocess.Popen(command(source, output), stderr=subprocess.PIPE, start_new_session=True)
    while process.poll() is None and journal_bytes(output) <= before:
        time.sleep(0.002)
    time.sleep(seconds)
    if process.poll() is None:
        process.send_signal(how)
    process.communicate()
    return process.returncode if process.returncode else None


def test_killed_at_random_moments(site, tmp_path, read_pages):
    """Until the work is done; what comes out is that of an uninterrupted crawl, and what was done is not asked for."""
    site.delay, numbers = 0.02, random.Random()
    source = write_links(tmp_path / "links.parquet", wide(site, 250))
    fetch(options(source, tmp_path / "whole", shards=2))
    whole, asked = pages(tmp_path / "whole", read_pages), sum(site.asked.values())
    site.asked.clear()
    kills = 0
    while kills < KILLS and interrupted(source, tmp_path / "pages", signal.SIGKILL, numbers.uniform(0, 0.15)):
        kills += 1
    assert kills == KILLS
    assert subprocess.run(command(source, tmp_path / "pages"), capture_output=True, check=False).returncode == 0
    assert pages(tmp_path / "pages", read_pages) == whole
    funnels = [artifact.read_json(tmp_path / name / "funnel.json") for name in ("whole", "pages")]
    assert funnels[0] == funnels[1]
    assert sum(site.asked.values()) - asked <= KILLS * 7  # one a host
    assert not (tmp_path / "pages.partial").exists()


def test_interrupted_it_says_so_and_goes_on(site, tmp_path, read_pages):
    site.delay = 0.05  # long enough to be met at work
    source = write_links(tmp_path / "links.parquet", wide(site, 200))
    assert interrupted(source, tmp_path / "pages", signal.SIGINT, 0.05) == 130
    assert subprocess.run(command(source, tmp_path / "pages"), capture_output=True, check=False).returncode == 0
    assert len(pages(tmp_path / "pages", read_pages)) == 206


def test_an_interrupt_here_is_an_exit_with_the_work_kept(site, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("wholegpt.corpus.fetch.run", stopped)
    with pytest.raises(Interrupted, match="the same command goes on where it was"):
        fetch(options(write_links(tmp_path / "links.parquet", wide(site)), tmp_path / "pages"))


def test_a_failed_shard_ends_the_verb_with_the_place_of_its_traceback(site, tmp_path, monkeypatch):
    from wholegpt.runner import Report

    (tmp_path / "00000.txt").write_text("key\nthe queue is broken\ninputs\ntraceback")
    report = Report(failed=["00000"], notes=tmp_path)
    monkeypatch.setattr("wholegpt.corpus.fetch.run", lambda *_, **__: report)
    with pytest.raises(WholeGPTError, match=r"the queue is broken \(in .* is why; the same command tries it again\)"):
        fetch(options(write_links(tmp_path / "links.parquet", wide(site)), tmp_path / "pages"))
