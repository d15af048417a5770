"""Token shards of the small text, and a way to start ranks without paying for their imports."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wholegpt.corpus.build import BuildOptions
from wholegpt.corpus.build import build as build_corpus
from wholegpt.training.shards import ShardsOptions
from wholegpt.training.shards import build as build_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory, text, tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    (folder / "text.txt").write_text(text, encoding="utf-8")
    (folder / "tokenizer").mkdir()
    tokenizer.save(folder / "tokenizer")
    build_corpus(BuildOptions((str(folder / "text.txt"),), folder / "corpus", passage_characters=1000))
    build_shards(ShardsOptions(folder / "corpus", folder / "shards", str(folder / "tokenizer")))
    return folder / "shards"


class Launcher:
    """`launcher.py` in a process of its own: starts one job at a time."""

    def __init__(self, logs: Path) -> None:
        self._logs, self._jobs = logs, 0
        command = [sys.executable, str(Path(__file__).with_name("launcher.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, arguments: list[str], ranks: int) -> list[int]:
        """Begin a job; the process ids of its ranks."""
        self._jobs += 1
        job = {"arguments": arguments, "ranks": ranks, "log": str(self._logs / f"job-{self._jobs}")}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        children: list[int] = json.loads(self._process.stdout.readline())
        return children

    def wait(self) -> list[int]:
        """The exit codes of the job's ranks."""
        codes: list[int] = json.loads(self._process.stdout.readline())
        return codes

    def log(self, rank: int) -> str:
        """What a rank of the last job printed."""
        return (self._logs / f"job-{self._jobs}.{rank}").read_text()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def launcher(tmp_path_factory) -> Iterator[Launcher]:
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    started = Launcher(tmp_path_factory.mktemp("logs"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def wait_for_steps() -> Callable[..., None]:
    """Wait until a run has written so many steps, or its process has ended."""

    def wait(output: Path, steps: int, ended: Callable[[], Any] = lambda: None) -> None:
        metrics = output.with_name(output.name + ".partial") / "metrics.jsonl"
        deadline = time.monotonic() + 90
        while ended() is None and time.monotonic() < deadline:
            if metrics.is_file() and metrics.read_bytes().count(b'"loss"') >= steps:
                return
            time.sleep(0.005)

    return wait
