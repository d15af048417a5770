"""`run`: a stage over its shards, each finished by one rename.

A stage is a plain function of a module, `stage(shard, folder, options) -> counts`: it reads the shard's inputs and
writes files into `folder`, a temporary directory of its own. When it returns, the files are synced, a marker
(`done.json`: key, counts, seconds) is written beside them, and the directory gets its name, `OUTPUT/SHARD`. So a name
that exists is whole, and a later run of the same work skips it. The key of a shard is a hash of the stage, the options,
the version of this package, and names, sizes and modification times of the inputs.
"""

import hashlib
import json
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from wholegpt import __version__, artifact
from wholegpt.progress import bar

DONE = "done.json"
FAILED = "failed"
Counts = dict[str, int]


@dataclass(frozen=True)
class Shard:
    """One piece of work: the name of its result (unique in the stage, a file name), and what it reads."""

    name: str
    inputs: tuple[Path, ...]
    # What else the piece depends on, such as the number of a partition.
    values: tuple[int | str, ...] = ()


Stage = Callable[[Shard, Path, Any], Counts]


@dataclass(frozen=True)
class Backend:
    """Where shards are worked on."""

    name: Literal["local", "ray", "rank"] = "local"
    workers: int = 1
    rank: int = 0
    world_size: int = 1
    address: str = ""


@dataclass
class Report:
    """What came out of a stage: sums over all shards, and those that failed for good."""

    folders: list[Path] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


def run(
    stage: Stage,
    shards: Sequence[Shard],
    output: Path,
    options: Any,
    backend: Backend,  # noqa: ARG001
    timeout_seconds: float | None = None,  # noqa: ARG001
) -> Report:
    """Do what is missing of the stage; results are the folders `output/SHARD` in the order of `shards`."""
    output.mkdir(parents=True, exist_ok=True)
    report = Report()
    with bar(stage.__name__, len(shards), "shards") as progress:
        for shard in shards:
            folder = output / shard.name
            if not (folder / DONE).is_file() or artifact.read_json(folder / DONE)["key"] != key(stage, shard, options):
                try:
                    work(stage, shard, output, options)
                except Exception:
                    (output / FAILED).mkdir(exist_ok=True)
                    artifact.write_bytes(output / FAILED / f"{shard.name}.txt", traceback.format_exc().encode())
                    report.failed.append(shard.name)
                    continue
            report.folders.append(folder)
            report.counts.update(artifact.read_json(folder / DONE)["counts"])
            progress.advance()
    return report


def work(stage: Stage, shard: Shard, output: Path, options: Any) -> None:
    """Do one shard, whole or not at all."""
    start = time.monotonic()
    temporary = output / f".{shard.name}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    counts = stage(shard, temporary, options)
    for file in temporary.iterdir():
        artifact.sync(file)
    marker = {"key": key(stage, shard, options), "counts": counts, "seconds": round(time.monotonic() - start, 3)}
    artifact.write_json(temporary / DONE, marker)
    folder = output / shard.name
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    artifact.sync(output)


def key(stage: Stage, shard: Shard, options: Any) -> str:
    """What decides whether a finished shard may be kept."""
    inputs = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in shard.inputs]
    content = [__version__, f"{stage.__module__}.{stage.__name__}", inputs, shard.values, asdict(options)]
    return hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode()).hexdigest()
