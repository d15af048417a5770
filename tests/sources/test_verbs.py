"""`wholegpt data list|fetch|verify` as a user meets them."""

import hashlib
import json
from dataclasses import replace

import pytest

from wholegpt import cli
from wholegpt.sources.table import SOURCES, File, Host, Source

DIGEST = hashlib.sha256(b"text").hexdigest()


@pytest.fixture(autouse=True)
def table(home, site, monkeypatch):  # noqa: ARG001 (its environment)
    """Two sources on the local host, one with its hash."""
    site.files = {"a.txt": b"text", "b.txt": b"other"}
    monkeypatch.setattr("wholegpt.sources.verbs.ALIASES", {"1A": "a"})
    monkeypatch.setattr("wholegpt.sources.table.ALIASES", {"1A": "a"})
    for name in list(SOURCES):
        monkeypatch.delitem(SOURCES, name)
    for name, digest, size in (("a", DIGEST, 4), ("b", None, None)):
        host = Host("authors", site.url, (File(f"{name}.txt", digest),))
        monkeypatch.setitem(SOURCES, name, Source(f"the text {name}", "CC0", (host,), size))


def run(capsys, *arguments):
    """Exit code, lines of standard output, last line of standard error."""
    code = cli.run(["data", *arguments])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.strip().rpartition("\n")[2]


def test_list(capsys, site, home):
    assert run(capsys, "list")[:2] == (
        0,
        [
            "name  what        size     licence  where",
            "a     the text a  0.0 MB   CC0      not here",
            "b     the text b  unknown  CC0      not here",
        ],
    )
    run(capsys, "fetch", "b")
    assert run(capsys, "list")[1][2].endswith(f"CC0      {home / 'b'}")
    assert len(site.requests) == 1


def test_list_for_machines(capsys, site, home):
    run(capsys, "fetch", "1A")
    code, lines, _ = run(capsys, "list", "--json")
    first, second = json.loads("\n".join(lines))
    assert code == 0
    assert first == {
        "name": "a",
        "aliases": ["1A"],
        "what": "the text a",
        "size_bytes": 4,
        "licence": "CC0",
        "hosts": {"authors": {"address": site.url, "files": {"a.txt": DIGEST}}},
        "folder": str(home / "a"),
        "host": "authors",
    }
    assert (second["folder"], second["host"], second["hosts"]["authors"]["files"]) == (None, None, {"b.txt": None})


def test_fetch_prints_a_folder_a_line(capsys, home):
    assert run(capsys, "fetch", "b", "1A") == (
        0,
        [str(home / "b"), str(home / "a")],
        f"downloading a (CC0) from {SOURCES['a'].hosts[0].address.rstrip('/')} to {home / 'a'}",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "data fetch needs a name"),
        (("a", "c"), "c is no source"),
        (("a", "--host", "hub"), "a is not published by hub, but by authors"),
    ],
)
def test_usage(capsys, site, arguments, sentence):
    code, lines, error = run(capsys, "fetch", *arguments)
    assert (code, lines) == (2, [])
    assert sentence in error
    assert not site.requests


def test_fetch_offline(capsys, site, home):
    code, lines, error = run(capsys, "fetch", "a", "--offline")
    assert (code, lines) == (1, [])
    assert f"place a.txt (of {site.url.rstrip('/')}) in {home / 'a'} yourself" in error
    assert not site.requests


def test_files_that_a_mirror_has_in_place_of_an_archive(capsys, site, tmp_path, monkeypatch):
    monkeypatch.setitem(SOURCES, "a", replace(SOURCES["a"], unpacked=("c.txt", "d.txt")))
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.txt").write_text("text")
    assert run(capsys, "list")[1][1].endswith("not here")
    (tmp_path / "a" / "d.txt.gz").write_bytes(b"packed")
    assert run(capsys, "list")[1][1].endswith(str(tmp_path / "a"))
    assert run(capsys, "fetch", "a")[:2] == (0, [str(tmp_path / "a")])
    assert not site.requests
    assert run(capsys, "fetch", "a", "--host", "authors")[0] == 0
    assert site.requests


def test_verify(capsys, home):
    assert run(capsys, "verify") == (0, [], "")
    run(capsys, "fetch", "a", "b")
    assert run(capsys, "verify")[:2] == (
        0,
        ["a: 1 files are what they should be", "b: 1 files are what they should be"],
    )
    (home / "a" / "a.txt").write_bytes(b"texT")
    (home / "b" / "b.txt").write_bytes(b"otheR")
    code, (first, second), error = run(capsys, "verify")
    assert code == 1
    assert first.startswith(f"{home / 'a' / 'a.txt'} is not the file it should be")
    assert second.startswith(f"{home / 'b' / 'b.txt'} is not the file it should be")
    assert error == "wholegpt: 2 faults in what is here"


def test_verify_what_is_missing(capsys, home):
    run(capsys, "fetch", "a")
    code, lines, error = run(capsys, "verify", "a", "b")
    assert (code, error) == (1, "wholegpt: 1 fault in what is here")
    assert lines == [
        "a: 1 files are what they should be",
        "b is not on this machine: wholegpt data fetch b brings it",
    ]
    assert run(capsys, "verify", "c")[0] == 2
    (home / "a" / "a.txt").unlink()
    assert run(capsys, "verify")[:2] == (0, [])
