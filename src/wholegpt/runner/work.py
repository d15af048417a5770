"""One shard's work: whole under its name with a marker beside it, or not there; and what may be kept of earlier runs.

A stage is a plain function of a module, `stage(shard, folder, options) -> counts`: it reads the shard's inputs and
writes files into `folder`, a temporary directory of its own. When it returns, the files are synced, the marker
(`done.json`) is written beside them, and the directory gets its name, `OUTPUT/SHARD`, by one rename. The marker holds
the key (a hash of all that decides the content), the counts, and the sizes of the files; `attempts` and `seconds` are
the only values in it that may differ between two runs. It is not synced: one that a power cut spoils, or whose files
are not all there, is no marker, and its shard is done again.
"""

import errno
import hashlib
import importlib
import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wholegpt import __version__, artifact
from wholegpt.errors import WholeGPTError

DONE = "done.json"
FAILED = "failed"
PARTIAL = ".partial"
Counts = dict[str, int]


@dataclass(frozen=True)
class Shard:
    """One piece of work: the name of its result (unique in the stage, a file name), and the files it reads."""

    name: str
    inputs: tuple[Path, ...]
    # What else the piece depends on, such as the number of a partition.
    values: tuple[int | str, ...] = ()

    def size(self) -> int:
        """Bytes to read; what cannot be read counts nothing, and is for the stage to reject."""
        return sum(max(0, _size(path)) for path in self.inputs)


Stage = Callable[[Shard, Path, Any], Counts]


@dataclass(frozen=True)
class Task:
    """An attempt at a shard, as a worker gets it: all that crosses to another process or machine."""

    stage: str  # module:function
    shard: Shard
    options: Any
    output: Path
    key: str
    size: int
    attempt: int = 1

    @property
    def temporary(self) -> Path:
        # Another one each attempt: of a machine that was lost, nobody knows whether it still writes.
        return self.output / f".{self.shard.name}.{self.attempt}{PARTIAL}"


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: counts, or what went wrong."""

    counts: Counts | None = None
    fault: str = ""  # in one line
    traceback: str = ""
    again: bool = True  # whether another attempt may end better
    disk_full: bool = False


def attempt(task: Task) -> Outcome:
    """Do a shard, whole or not at all; never raises, as not every exception survives the way to another process."""
    start = time.monotonic()
    try:
        shutil.rmtree(task.temporary, ignore_errors=True)
        task.temporary.mkdir()
        counts = _function(task.stage)(task.shard, task.temporary, task.options)
        _finish(task, counts, time.monotonic() - start)
        return Outcome(counts)
    except BaseException as error:  # SystemExit, too
        shutil.rmtree(task.temporary, ignore_errors=True)
        return Outcome(
            fault=str(error) if isinstance(error, WholeGPTError) else "".join(traceback.format_exception_only(error)),
            traceback=traceback.format_exc(),
            again=not isinstance(error, WholeGPTError),
            disk_full=isinstance(error, OSError) and error.errno == errno.ENOSPC,
        )


def _finish(task: Task, counts: Counts, seconds: float) -> None:
    sizes = {}
    for file in sorted(path for path in task.temporary.rglob("*") if path.is_file()):
        artifact.sync(file)
        sizes[file.relative_to(task.temporary).as_posix()] = file.stat().st_size
    marker = {
        "key": task.key,
        "counts": dict(sorted(counts.items())),
        "files": sizes,
        "attempts": task.attempt,
        "seconds": round(seconds, 3),
    }
    (task.temporary / DONE).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    folder = task.output / task.shard.name
    shutil.rmtree(folder, ignore_errors=True)
    task.temporary.rename(folder)


def place(source: Path, target: Path) -> None:
    """Give a whole file of a stage its final name, too, so that it has both if this is done again."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        with artifact.whole_file(target) as temporary:
            shutil.copyfile(source, temporary)


def finished(folder: Path, key: str) -> Counts | None:
    """The counts of the shard in the folder if it is whole and of that key."""
    marker = _marker(folder)
    if marker.get("key") != key or any(_size(folder / name) != size for name, size in marker["files"].items()):
        return None
    counts: Counts = marker["counts"]
    return counts


def keys(stage: Stage, shards: Sequence[Shard], options: Any) -> Iterator[str]:
    """What decides whether a finished shard may be kept, for each shard.

    A hash of the version of this package, the stage, its options, name and values of the shard, and its inputs: name,
    size and, of a file that an earlier stage wrote, the key of its shard; of others the time of the last change (their
    content is in the plan of the artifact).
    """
    common = [__version__, stage_name(stage), asdict(options)]
    made_by: dict[Path, str] = {}
    for shard in shards:
        inputs = []
        for path in shard.inputs:
            if path.parent not in made_by:
                made_by[path.parent] = _marker(path.parent).get("key", "")
            inputs.append([path.name, _size(path), made_by[path.parent] or _changed(path)])
        content = [*common, shard.name, shard.values, inputs]
        yield hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode()).hexdigest()


def stage_name(stage: Stage) -> str:
    """The stage as a worker finds it: stages live in modules that it can import."""
    if stage.__module__ == "__main__" or "." in stage.__qualname__:
        raise ValueError(f"{stage.__qualname__} is no function of a module that a worker can import")
    return f"{stage.__module__}:{stage.__qualname__}"


def _function(name: str) -> Stage:
    module, _, function = name.partition(":")
    stage: Stage = getattr(importlib.import_module(module), function)
    return stage


def _marker(folder: Path) -> dict[str, Any]:
    """What the marker of a folder says; nothing where there is none, or a spoilt one."""
    try:
        marker = json.loads((folder / DONE).read_bytes())
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) and marker.keys() >= {"key", "counts", "files"} else {}


def _size(path: Path) -> int:
    """Bytes of a file; -1 where it cannot be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1
