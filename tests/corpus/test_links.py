"""The verb: the whole way, duplicates, funnel, broken dumps, any order and cutting, killed at any moment."""

import gzip
import json
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import orjson
import pytest
from pyarrow import parquet

from wholegpt import artifact
from wholegpt.corpus import links
from wholegpt.corpus.links import LinksOptions
from wholegpt.corpus.submissions import stages, urls
from wholegpt.errors import WholeGPTError
from wholegpt.runner import Backend

BACKEND = Backend(workers=1)


def submission(number: int, url: str, score: int = 5, **changed: object) -> dict[str, object]:
    fields = {"id": f"{number:x}", "url": url, "score": score, "created_utc": 1_200_000_000 + number}
    return {"author": f"user{number}", **fields, "subreddit": "pics", "is_self": False, "over_18": False, **changed}


def generated(count: int, seed: int = 1) -> list[dict[str, object]]:
    """Submissions of which many are of the same pages in other words."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        page = chance.randrange(count // 2)
        host = chance.choice(["", "www."]) + f"site{page % 40}.com"
        end = chance.choice(["", "/", "?utm_source=reddit", "#top"])
        found.append(submission(number, f"http://{host}/page/{page}{end}", chance.randrange(8)))
    return found


def write(path: Path, submissions: list[dict[str, object]], extra: bytes = b"") -> Path:
    content = b"".join(orjson.dumps(one) + b"\n" for one in submissions) + extra
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def rows(folder: Path, pattern: str = "part-*.parquet") -> list[dict[str, object]]:
    return [row for path in sorted(folder.glob(pattern)) for row in parquet.ParquetFile(path).read().to_pylist()]


def contents(folder: Path) -> dict[str, str]:
    """The hash of each file but the manifest, which has times."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != artifact.MANIFEST]
    return {file.relative_to(folder).as_posix(): artifact.sha256(file) for file in files}


def make(tmp_path: Path, *dumps: Path, name: str = "links", **options: object) -> Path:
    links.build(LinksOptions(dumps, tmp_path / name, **({"backend": BACKEND} | options)))
    return tmp_path / name


def test_the_submission_that_stands_for_a_url(tmp_path):
    dump = write(
        tmp_path / "RS.ndjson",
        [
            submission(1, "http://www.example.com/a/", 4, created_utc=1_200_000_009),
            submission(2, "https://example.com/a", 7, created_utc=1_200_000_009, subreddit="science"),
            submission(3, "http://example.com/a#x", 7, created_utc=1_200_000_008),
            submission(0x20, "http://example.com/a?utm_source=x", 7, created_utc=1_200_000_008),
            submission(0x100, "http://example.com/b?x=1&amp;y=2", 3),
        ],
    )
    first, second = rows(make(tmp_path, dump))
    assert first == {
        "url": "http://example.com/a#x", "host": "example.com", "score": 7, "date": "2008-01-10T21:20:08Z",
        "subreddit": "pics", "id": "3", "submissions": 4,
    }  # fmt: skip
    assert next(iter(first)) == "url"
    assert (second["url"], second["submissions"]) == ("http://example.com/b?x=1&y=2", 1)
    assert {row["reason"] for row in rows(tmp_path / "links", "rejects/urls-*.parquet")} == {"duplicate"}


def test_any_and_sum(tmp_path):
    dump = write(
        tmp_path / "RS.ndjson",
        [
            submission(1, "http://a.com/x", 2),
            submission(2, "http://www.a.com/x", 2),
            submission(3, "http://b.com/", 3),
            submission(4, "http://b.com/", -2),
            submission(5, "http://c.com/", 1),
        ],
    )
    found = {rule: make(tmp_path, dump, name=rule, score_rule=rule) for rule in ("any", "sum")}
    assert [(row["url"], row["score"]) for row in rows(found["any"])] == [("http://b.com/", 3)]
    assert [(row["url"], row["score"]) for row in rows(found["sum"])] == [("http://a.com/x", 4)]
    assert json.loads((found["any"] / "funnel.json").read_text())[3]["reasons"] == {"karma": 4}
    assert json.loads((found["sum"] / "funnel.json").read_text())[-1] == {
        "stage": "urls", "in": 5, "out": 1, "reasons": {"duplicate": 1, "karma": 3},
    }  # fmt: skip


def test_funnel_and_rejects(tmp_path, capsys):
    dump = write(
        tmp_path / "RS.ndjson",
        [
            submission(1, "http://a.com/x"),
            submission(2, "http://a.com/x"),
            submission(3, "http://a.com/y", 1),
            submission(4, "http://reddit.com/y"),
            submission(5, "http://a.com/self", is_self=True),
        ],
        b'{"id": "6", "author": "user6"\n\n[1]\nnot json\n' + b'{"id": "\xff"}\n' + b"[" * 100_000 + b'\n{"url": 5}',
    )
    folder = make(tmp_path, dump, backend=Backend(workers=1, json=True))
    steps = json.loads((folder / "funnel.json").read_text())
    assert [step["stage"] for step in steps] == ["lines", "links", "date", "karma", "pages", "urls"]
    assert [(step["in"], step["out"]) for step in steps] == [(11, 5), (5, 4), (4, 4), (4, 3), (3, 2), (2, 1)]
    assert all(step["in"] - step["out"] == sum(step["reasons"].values()) for step in steps)
    rejected = rows(folder, "rejects/*.parquet")
    assert len(rejected) == 10
    assert {(row["reason"], row["id"]) for row in rejected if row["reason"] != "broken-line"} == {
        ("karma", "3"), ("blocked-host", "4"), ("self", "5"), ("duplicate", "2"),
    }  # fmt: skip
    assert [row["id"] for row in rejected if row["reason"] == "broken-line"] == [f"RS.ndjson:{n}" for n in range(6, 12)]
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (counts["links"], counts["lines"], counts["funnel"]) == (1, 11, steps)
    everything = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert b"user" not in everything


def test_distinct_urls_are_those_of_a_set(tmp_path):
    """Against a dictionary in memory, over more rows than a run has."""
    submissions = generated(3000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "RUN_ROWS", 500)
        patch.setattr(stages, "LEAST_GROUP_ROWS", 4)
        patch.setattr(links, "PARTITION_ROWS", 100)
        folder = make(tmp_path, write(tmp_path / "RS.ndjson.gz", submissions), partitions=7)
    expected = defaultdict(list)
    for one in submissions:
        if one["score"] >= 3:
            expected[urls.normalise(one["url"])[0]].append(one)
    found = rows(folder)
    assert len(list(folder.glob("part-*.parquet"))) == 7
    assert len(found) == len(expected)
    for row in found:
        same = expected[urls.normalise(row["url"])[0]]
        best = min(same, key=lambda one: (-one["score"], one["created_utc"], len(one["id"]), one["id"]))
        assert (row["id"], row["url"], row["submissions"]) == (best["id"], best["url"], len(same))


def test_the_order_of_dumps_and_their_cutting_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(links, "PARTITION_ROWS", 100)
    submissions = generated(1000)
    first, second = write(tmp_path / "RS_1.ndjson", submissions[:300]), write(tmp_path / "RS_2.gz", submissions[300:])
    whole = write(tmp_path / "RS.ndjson", submissions)
    several = make(tmp_path, first, second, name="several")
    assert contents(several) == contents(make(tmp_path, second, first, name="turned"))
    alone = make(tmp_path, whole, name="alone")
    assert rows(several) == rows(alone)
    assert (several / "domains.txt").read_text() == (alone / "domains.txt").read_text()


def test_broken_dumps_are_said_and_the_rest_arrives(tmp_path, capsys):
    submissions = generated(2000)
    good = write(tmp_path / "RS_1.ndjson", submissions[:1000])
    cut = write(tmp_path / "RS_2.gz", submissions[1000:])
    cut.write_bytes(cut.read_bytes()[:-2000])
    (tmp_path / "RS_3.zst").write_bytes(b"<html>404</html>")
    folder = make(tmp_path, good, cut, tmp_path / "RS_3.zst")
    broken = artifact.read_manifest(folder)["counts"]["broken"]
    assert [Path(sentence.split(" is ")[0]).name for sentence in broken] == ["RS_2.gz", "RS_3.zst"]
    assert "it breaks off" in broken[0]
    assert broken[0] in capsys.readouterr().err
    assert 1400 < artifact.read_manifest(folder)["counts"]["lines"] < 2000


def test_urls_beside_dumps(tmp_path):
    (tmp_path / "mine.txt").write_text("http://a.com/x\nhttp://b.com/\n\nnot a url\nhttp://a.com/x/\n")
    dump = write(tmp_path / "RS.ndjson", [submission(1, "http://www.a.com/x", 9)])
    found = rows(make(tmp_path, dump, tmp_path / "mine.txt"))
    assert [(row["url"], row["score"], row["date"][:4], row["submissions"]) for row in found] == [
        ("http://b.com/", None, "", 1),
        ("http://www.a.com/x", 9, "2008", 3),
    ]


def test_nothing_passes(tmp_path):
    folder = make(tmp_path, write(tmp_path / "RS.ndjson", [submission(1, "http://a.com/x", 0)]))
    assert rows(folder) == []
    assert (folder / "domains.txt").read_text() == ""


def test_again_and_otherwise(tmp_path, capsys):
    dump = write(tmp_path / "RS.ndjson", generated(50))
    folder = make(tmp_path, dump)
    first = capsys.readouterr().out
    before = contents(folder)
    make(tmp_path, dump)
    found = capsys.readouterr()
    assert (found.out, "is there already" in found.err, contents(folder)) == (first, True, before)
    with pytest.raises(WholeGPTError, match="min_score was None, now 4"):
        make(tmp_path, dump, min_score=4)


def test_domains_are_compared(tmp_path, capsys):
    (tmp_path / "top").write_text("30 site1\n20 site2\n10 google\n")
    dump = write(tmp_path / "RS.ndjson", generated(400))
    folder = make(tmp_path, dump, compare_domains=tmp_path / "top")
    compared = artifact.read_manifest(folder)["counts"]["compared"]
    assert (compared["in both"], compared["missing first"]) == (2, ["google"])
    assert "1 missing: google" in capsys.readouterr().out


def test_real_dumps(tmp_path, shared):
    """The counts of the two real months that are known: 83 of 103 and 757 of 1,079 have a score of at least 3."""
    folder = shared / "web" / "reddit"
    june = make(tmp_path, folder / "RS_v2_2005-06.xz", name="june")
    july = make(tmp_path, folder / "RS_2005-07.window31.zst", name="july")
    steps = [json.loads((one / "funnel.json").read_text()) for one in (june, july)]
    assert [(step[0]["in"], step[3]["out"]) for step in steps] == [(103, 83), (1079, 757)]
    assert artifact.read_manifest(july)["counts"]["escaped"] > 50
    same = make(tmp_path, folder / "RS_v2_2005-07.xz", name="xz")
    assert rows(july) == rows(same)


KILLED = """
import sys
from pathlib import Path
from wholegpt.corpus import links
from wholegpt.corpus.submissions import stages
from wholegpt.runner import Backend
links.PARTITION_ROWS = 200
links.build(links.LinksOptions(tuple(map(Path, sys.argv[2:])), Path(sys.argv[1]), backend=Backend(workers=1)))
"""


def test_killed_at_any_moment(tmp_path):
    """Killed three times at random, the same command ends with the same bytes."""
    dumps = [write(tmp_path / f"RS_{number}.gz", generated(3000, number)) for number in range(4)]
    names = [str(path) for path in dumps]
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "whole"), *names], check=True, capture_output=True)
    seconds = time.monotonic() - start
    chance = random.Random(7)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "killed"), *names],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds * chance.uniform(0.3, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed"), *names], check=True, capture_output=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not (tmp_path / "killed.partial").exists()
