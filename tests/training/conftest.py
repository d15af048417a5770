"""Token shards of the small text, and a way to wait for steps of a run."""

import time
from collections.abc import Callable
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
