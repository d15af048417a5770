"""Pages to documents: counted at every stage, the same whatever the shards; poison costs no page but itself."""

import gzip
import sys
import time
from pathlib import Path

import pytest

from wholegpt.corpus import records
from wholegpt.corpus.pages import extract
from wholegpt.corpus.pages.extract import STAGES, PageOptions, pages_to_documents
from wholegpt.corpus.pages.killable import Killable
from wholegpt.corpus.pages.shards import shards
from wholegpt.errors import UsageError
from wholegpt.runner import Backend, run

from .archiving import answer, article, page, record, write

NOTICE = page("x", "<article><p>Please enable JavaScript in your browser to use this site with us.</p></article>")
GERMAN = page(
    "x", "<article>" + "<p>Der Fluss entspringt in den Hügeln und fließt langsam ins Meer.</p>" * 3 + "</article>"
)
CANONICAL = '<link rel="canonical" href="https://en.wikipedia.org/wiki/Mill">'
# Seconds and minutes for any extractor: half a million elements in one paragraph, a million attributes of one element.
SLOW = page("x", "<article><p>" + "<span>a</span> " * 500_000 + "</p></article>")
ATTRIBUTES = (
    b"<html><body><p " + b" ".join(b'a%d="v"' % number for number in range(500_000)) + b">text</p></body></html>"
)


def response(number, body, url="", **fields):
    return record("response", answer(body), url or f"http://a.example/{number}", **fields)


def build(folder, options, *inputs):
    """Documents, rejects and counts of all shards of the inputs."""
    report = run(pages_to_documents, shards(inputs), folder, options, Backend())
    assert not report.failed
    documents = list(records.rows(done / records.DOCUMENTS for done in report.folders))
    rejects = list(records.rows(done / records.REJECTS for done in report.folders))
    check_funnel(report.counts)
    return documents, rejects, report.counts


def check_funnel(counts):
    before = counts["read/in"]
    for stage in STAGES:
        reasons = sum(count for key, count in counts.items() if key.startswith(f"{stage}/reason/"))
        assert counts[f"{stage}/in"] == before
        assert counts[f"{stage}/out"] == before - reasons
        before = counts[f"{stage}/out"]


def test_each_stage_counts_and_keeps_what_it_drops(tmp_path):
    write(
        tmp_path / "a.warc.gz",
        record("warcinfo", b"x"),
        response(0, article(0), WARC_Wholegpt_Karma="17", WARC_Wholegpt_Date="2012-03-04", WARC_Wholegpt_Id="abc"),
        record("response", answer(b"", 404), "http://a.example/gone"),
        response(1, page("x", "")),
        response(2, GERMAN),
        response(3, NOTICE),
        response(4, article(4), "https://en.wikipedia.org/wiki/Mill"),
        response(5, article(5, CANONICAL)),
        record("conversion", article_text(6).encode(), "http://b.example/6", Content_Type="text/plain"),
    )
    documents, rejects, counts = build(tmp_path / "out", PageOptions(), tmp_path / "a.warc.gz")
    assert {key: count for key, count in counts.items() if "reason" in key} == {
        "read/reason/status": 1,
        "extract/reason/no-text": 1,
        "language/reason/not-en": 1,
        "quality/reason/javascript": 1,
        "wikipedia/reason/host": 1,
        "wikipedia/reason/canonical": 1,
    }
    first, second = documents
    assert "the miller walked down" in first["text"]
    assert {name: first[name] for name in ("url", "host", "date", "karma", "language", "extractor", "extra")} == {
        "url": "http://a.example/0",
        "host": "a.example",
        "date": "2012-03-04",
        "karma": 17,
        "language": "en",
        "extractor": "trafilatura-fast",
        "extra": '{"submission":"abc"}',
    }
    assert first["language_score"] > 0.9 and len(first["id"]) == 32 and len(first["source_sha256"]) == 64
    assert (second["text"], second["extractor"], second["karma"], second["extra"]) == (article_text(6), "wet", None, "")
    assert second["date"] == "2024-05-06T07:08:09Z"
    assert [(row["stage"], row["reason"]) for row in rejects[:2]] == [("read", "status"), ("extract", "no-text")]
    assert rejects[0]["text"] == "404"
    assert rejects[2]["text"].startswith("Der Fluss") and rejects[3]["text"].startswith("Please enable")


def article_text(number):
    return (
        f"On day {number} the miller wrote to his daughter that the river had risen above the old bridge. "
        "She answered from the city, where it rained as well, that he should look after the wheel and dogs, that she "
        "would come as soon as the school closed for the summer, and that he was to leave the heavy sacks to the boys."
    )


def test_options_choose(tmp_path):
    write(tmp_path / "a.warc", response(1, GERMAN), response(2, NOTICE), response(3, article(3)))
    every = PageOptions(languages=("all",), without_rules=("short", "javascript", "repeated-lines", "repeated-words"))
    assert len(build(tmp_path / "every", every, tmp_path / "a.warc")[0]) == 3
    german = PageOptions("paragraphs", ("de",), every.without_rules)
    documents, _, counts = build(tmp_path / "german", german, tmp_path / "a.warc")
    assert [(row["language"], row["extractor"]) for row in documents] == [("de", "paragraphs")]
    assert counts["language/reason/not-de"] == 2


@pytest.mark.parametrize(
    "fields",
    [{"without_rules": ("none",)}, {"languages": ("klingon",)}, {"page_seconds": 0}, {"page_bytes": 0}],
)
def test_options_that_make_no_sense(fields):
    with pytest.raises(UsageError):
        PageOptions(**fields)


def test_the_same_documents_whatever_the_shards(tmp_path):
    pages = [response(number, article(number)) for number in range(6)]
    whole = write(tmp_path / "whole.warc.gz", *pages)
    parts = [write(tmp_path / f"part{start}.warc", *pages[start : start + 2]) for start in (4, 0, 2)]
    one = build(tmp_path / "one", PageOptions(), whole)[0]
    three = build(tmp_path / "three", PageOptions(), *parts)[0]
    assert sorted(three, key=lambda row: row["id"]) == sorted(one, key=lambda row: row["id"])
    again = build(tmp_path / "again", PageOptions(), whole)[0]
    assert again == one
    file = f"{shards([whole])[0].name}/{records.DOCUMENTS}"
    assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_files_of_html(tmp_path):
    (tmp_path / "in/deeper").mkdir(parents=True)
    (tmp_path / "in/a.html").write_bytes(article(1, '<link rel="canonical" href="https://c.example/1">'))
    (tmp_path / "in/deeper/b.htm").write_bytes(article(2))
    (tmp_path / "in/c.xhtml").write_bytes(article(3, CANONICAL))
    documents, rejects, _ = build(tmp_path / "out", PageOptions(), tmp_path / "in")
    assert [(row["url"], row["host"], row["date"]) for row in documents] == [
        ("https://c.example/1", "c.example", ""),
        ("", "", ""),
    ]
    assert [row["reason"] for row in rejects] == ["host"]


def test_poisoned_pages_are_counted_and_the_rest_arrives(tmp_path):
    write(
        tmp_path / "a.warc.gz",
        response(0, article(0)),
        response(1, SLOW),
        response(2, ATTRIBUTES),
        response(3, b"<html><body><p " + b'a="v" ' * 20_000_000 + b">text</p>"),
        record("response", answer(gzip.compress(bytes(100_000_000)), Content_Encoding="gzip"), "http://a.example/bomb"),
        response(4, b"<html>" + b"<div>" * 100_000 + b"deep"),
        response(5, b"<html><body><p>\0\0" + b"\xff\xfe\x80" * 100),
        response(6, article(6).replace(b"miller", b"mil\0ler").replace(b"storm", b"st\xf6rm")),
    )
    cut = gzip.compress(response(7, article(7)))[:50]
    (tmp_path / "b.warc.gz").write_bytes((tmp_path / "a.warc.gz").read_bytes() + cut)
    start = time.monotonic()
    options = PageOptions(page_seconds=0.5)
    documents, rejects, counts = build(tmp_path / "out", options, tmp_path / "a.warc.gz", tmp_path / "b.warc.gz")
    seconds = time.monotonic() - start
    assert counts["extract/reason/time-out"] == 4
    assert counts["read/reason/too-large"] == 4
    assert counts["read/reason/broken-archive"] == 1
    assert [row["url"][-1] for row in documents if row["host"]] == ["0", "6", "0", "6"]
    assert "the miller walked" in documents[1]["text"] and "störm" in documents[1]["text"]
    (broken,) = [row for row in rejects if row["reason"] == "broken-archive"]
    assert "b.warc.gz breaks off" in broken["text"]
    assert seconds < 20


def test_a_page_that_crashes_the_process_is_counted(tmp_path, monkeypatch):
    script = tmp_path / "crashing.py"
    script.write_text(
        "import os\n"
        "from wholegpt.corpus.pages import extractors, killable\n"
        "def answer(message):\n"
        "    if b'CRASH' in message: os.abort()\n"
        "    return extractors._answer(message, 'trafilatura-fast')\n"
        "killable.serve(answer)\n"
    )
    child = Killable([sys.executable, str(script)])
    monkeypatch.setattr(extract, "_extractor", lambda *_: child)
    write(tmp_path / "a.warc", response(0, article(0)), response(1, b"<html>CRASH"), response(2, article(2)))
    (tmp_path / "out").mkdir()
    (shard,) = shards([tmp_path / "a.warc"])
    counts = pages_to_documents(shard, tmp_path / "out", PageOptions())  # in this process, which has the other child
    documents = list(records.rows([tmp_path / "out" / records.DOCUMENTS]))
    rejects = list(records.rows([tmp_path / "out" / records.REJECTS]))
    child.close()
    assert [row["url"][-1] for row in documents] == ["0", "2"]
    assert [(row["url"][-1], row["reason"]) for row in rejects] == [("1", "crash")]
    assert counts["extract/reason/crash"] == 1


def test_an_unreadable_file_is_counted(tmp_path):
    source = write(tmp_path / "a.warc", response(0, article(0)))
    (shard,) = shards([source])
    source.unlink()
    (tmp_path / "out").mkdir()
    counts = pages_to_documents(shard, tmp_path / "out", PageOptions())
    assert counts == {"read/in": 1, "read/reason/unreadable-file": 1}


def test_real_archives(tmp_path, shared):
    """16 answers of Common Crawl, one of them English; its Wikipedia page is removed in both forms."""
    folder = shared / "web/warc"
    documents, _, counts = build(tmp_path / "part", PageOptions(), folder / "resiliparse-warcfile.warc.gz")
    assert (counts["read/in"], counts["extract/out"]) == (16, 16)
    assert [row["host"] for row in documents] == ["037426.cn"]
    every = PageOptions(languages=("all",), without_rules=("symbols",))
    wikipedia = [Path(folder / f"commoncrawl-whirlwind.warc.{ending}gz") for ending in ("", "wet.")]
    documents, rejects, _ = build(tmp_path / "whirlwind", every, *wikipedia)
    assert documents == []
    assert [(row["stage"], row["reason"]) for row in rejects] == [("wikipedia", "host")] * 2
    documents, rejects, _ = build(tmp_path / "clipped", PageOptions(), folder / "resiliparse-clipped.warc.gz")
    assert [row["host"] for row in documents] == ["www.houstonpress.com"]
    assert [row["reason"] for row in rejects] == ["broken-archive"]
