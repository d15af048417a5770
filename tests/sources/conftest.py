"""A host on this machine that breaks off, falls silent, redirects or lies on request."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wholegpt.sources.download import Patience


class Site(ThreadingHTTPServer):
    """Serves `files` (path without the slash: bytes); each request takes the next of `faults`, if one is left.

    Faults: ("break", n) and ("stall", n) after n bytes; ("status", code); ("redirect", path); ("fine",).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.faults: list[tuple[Any, ...]] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.asked: list[dict[str, str]] = []
        self.etag: str | None = '"1"'
        self.ranges = self.lengths = True
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def ranges_of(self, path: str) -> list[str | None]:
        """The Range headers with which a file was asked for."""
        return [asked for method, requested, asked in self.requests if requested == path and method == "GET"]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site, path = self.server, self.path.lstrip("/")
        if path.startswith("api/"):  # what huggingface_hub asks on its own account
            return self.send_error(404)
        site.requests.append((self.command, path, self.headers["Range"]))
        site.asked.append(dict(self.headers))
        fault, *rest = site.faults.pop(0) if site.faults else ("fine",)
        if fault == "status":
            self.send_error(rest[0])
        elif fault == "redirect":
            self.answer(302, b"", {"Location": "/" + rest[0]}, None)
        elif path not in site.files:
            self.send_error(404)
        else:
            self.file(site.files[path], site.headers.get(path, {}), fault, *rest)

    def file(self, content: bytes, headers: dict[str, str], fault: str, after: int | None = None) -> None:
        site, headers = self.server, dict(headers)
        if site.etag:
            headers.setdefault("ETag", site.etag)
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked and site.ranges and self.headers["If-Range"] in (None, site.etag):
            start = int(asked[1])
            if start >= len(content):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"}, None)
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(206 if start else 200, content[start:], headers, after)
        if fault == "stall":
            site.closing.wait(30)

    def answer(self, status: int, content: bytes, headers: dict[str, str], after: int | None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:after])
            self.wfile.flush()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A host that listens until the test ends."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def hasty() -> Patience:
    """Three attempts, at once, and no waiting for a silent host."""
    return Patience(connect_seconds=1, silence_seconds=0.2, attempts=3, pause_seconds=0.01)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no mirror, an empty cache of the Hub."""
    monkeypatch.setenv("WHOLEGPT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("WHOLEGPT_MIRROR", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


# A program whose table holds the sources given as JSON, for tests that kill it or need its environment.
PROGRAM = """
import json, sys
from wholegpt import cli
from wholegpt.sources.table import SOURCES, File, Host, Source
SOURCES.clear()
for name, hosts in json.loads(sys.argv[1]).items():
    made = [Host(host, address, tuple(File(*file) for file in files)) for host, address, files in hosts]
    SOURCES[name] = Source("a thing", "public domain", tuple(made))
sys.exit(cli.run(sys.argv[2:]))
"""


class Command:
    """`wholegpt data ...` in a process of its own, with a table of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.table: dict[str, list[tuple[str, str, list[tuple[str, str | None]]]]] = {}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", PROGRAM, json.dumps(self.table), "data", *arguments]
        environment = os.environ | self.environment
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        return process.returncode, out, err


@pytest.fixture
def command(home: Path, site: Site) -> Command:  # noqa: ARG001 (its environment)
    """The command line, with the local host as the Hub."""
    return Command({"HF_ENDPOINT": site.url.rstrip("/")})
