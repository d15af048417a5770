"""`run`: what is missing of a stage, by whichever backend; retries, failures and progress are the same for all.

    OUTPUT/
    ├── SHARD/done.json ...    finished shards
    └── failed/SHARD.txt       why a shard was given up

A shard that fails is tried `ATTEMPTS` times (once where the fault is one of ours: it would end the same), then given up
for this run: the rest arrives. As one of several ranks, `run` does the shards of this rank and waits for the others'.
"""

import json
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.progress import Bar, bar, say
from wholegpt.runner import cluster, local, ranks
from wholegpt.runner.backend import Backend
from wholegpt.runner.work import FAILED, PARTIAL, Outcome, Shard, Stage, Task, finished, keys, stage_name

ATTEMPTS = 3
# Reasons that the line of progress has room for.
REASONS_SHOWN = 3
SECONDS_BETWEEN_OBJECTS = 1.0


@dataclass
class Report:
    """What came out of a stage: the folders of its shards in order, sums of their counts, and who failed."""

    folders: list[Path] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    # Where a note says why.
    notes: Path | None = None

    def faults(self) -> list[str]:
        """Why each failed shard did, in one line."""
        if not self.notes:
            return []
        return [(self.notes / f"{name}.txt").read_text("utf-8").split("\n")[1] for name in self.failed]

    def whole(self) -> "Report":
        """The same; WholeGPTError where a shard failed, for stages whose results mean nothing without all of them."""
        if self.failed:
            raise WholeGPTError(f"{self.faults()[0]} (in {self.notes} is why; the same command tries it again)")
        return self


def run(
    stage: Stage,
    shards: Sequence[Shard],
    output: Path,
    options: Any,
    backend: Backend,
    timeout_seconds: float | None = None,
) -> Report:
    """Do what is missing of the stage; results are the folders `output/SHARD` in the order of `shards`.

    Raises WholeGPTError where the disk is full, and where another rank is not heard of for too long.
    """
    # Workers, here or on other machines, may stand in another directory.
    output = output.absolute()
    shards = [replace(shard, inputs=tuple(path.absolute() for path in shard.inputs)) for shard in shards]
    output.mkdir(parents=True, exist_ok=True)
    tasks = [
        Task(stage_name(stage), shard, options, output, key, shard.size())
        for shard, key in zip(shards, keys(stage, shards, options), strict=True)
    ]
    counts = {task.shard.name: finished(output / task.shard.name, task.key) for task in tasks}
    mine = ranks.mine(tasks, backend)
    todo = [task for task in mine if counts[task.shard.name] is None]
    for task in todo:
        _clear(task)
    with bar(stage.__name__.replace("_", " "), len(mine), "shards", len(mine) - len(todo)) as progress:
        monitor = Monitor(stage.__name__, progress, len(mine), backend.json)
        for task, outcome in _outcomes(todo, backend, backend.shard_timeout or timeout_seconds):
            counts[task.shard.name] = monitor.add(task, outcome)
        monitor.last()
    if backend.world_size > 1:
        counts |= ranks.wait_for_others(tasks, backend)
    return _report(tasks, counts, output / FAILED)


def _outcomes(todo: list[Task], backend: Backend, timeout: float | None) -> Iterator[tuple[Task, Outcome]]:
    """The last outcome of each task, large shards first; retries go to the end of the queue."""
    if not todo:
        return
    queue = deque(sorted(todo, key=lambda task: -task.size))
    if backend.name == "ray":
        results = cluster.outcomes(queue, backend.workers, backend.address, timeout)
    else:
        results = local.outcomes(queue, backend.workers, timeout)
    for task, outcome in results:
        if outcome.counts is None:
            shutil.rmtree(task.temporary, ignore_errors=True)
        if outcome.disk_full:
            raise WholeGPTError(f"no space is left for {task.output}; make room, and the same command goes on")
        if outcome.counts is None and outcome.again and task.attempt < ATTEMPTS:
            say(f"{task.shard.name} failed ({outcome.fault.strip()}), trying again")
            queue.append(replace(task, attempt=task.attempt + 1))
            continue
        if outcome.counts is None:
            _give_up(task, outcome)
        yield task, outcome


def _give_up(task: Task, outcome: Outcome) -> None:
    say(f"{task.shard.name} failed for good: {outcome.fault.strip()}")
    (task.output / FAILED).mkdir(exist_ok=True)
    inputs = ", ".join(map(str, task.shard.inputs[:10]))
    content = f"{task.key}\n{outcome.fault.strip()}\n{inputs}\n{outcome.traceback}"
    artifact.write_bytes(task.output / FAILED / f"{task.shard.name}.txt", content.encode())


def _clear(task: Task) -> None:
    """Remove what earlier attempts at a shard left."""
    (task.output / FAILED / f"{task.shard.name}.txt").unlink(missing_ok=True)
    for number in range(1, ATTEMPTS + 1):
        shutil.rmtree(task.output / f".{task.shard.name}.{number}{PARTIAL}", ignore_errors=True)


def _report(tasks: list[Task], counts: dict[str, Any], notes: Path) -> Report:
    report = Report(notes=notes)
    for task in tasks:
        found = counts[task.shard.name]
        if found is None:
            report.failed.append(task.shard.name)
        else:
            report.folders.append(task.output / task.shard.name)
            report.counts.update(found)
    return report


class Monitor:
    """Tells how far a stage is: shards, MB/s, retries, and counts by reason; on the bar, and as JSON on request."""

    def __init__(self, title: str, progress: Bar, total: int, as_json: bool) -> None:
        self._title, self._bar, self._total, self._json = title, progress, total, as_json
        self._start = self._told = time.monotonic()
        self._bytes = self._retries = self._failed = 0
        self._counts: Counter[str] = Counter()

    def add(self, task: Task, outcome: Outcome) -> dict[str, int] | None:
        """One shard more; its counts."""
        self._bytes += task.size
        self._retries += task.attempt - 1
        self._failed += outcome.counts is None
        self._counts.update(outcome.counts or {})
        self._bar.advance(1, self._text())
        if self._json and time.monotonic() - self._told >= SECONDS_BETWEEN_OBJECTS:
            self._tell()
        return outcome.counts

    def last(self) -> None:
        """The line at the end of the stage, whatever was printed before."""
        if self._json:
            self._tell()
        if not sys.stderr.isatty() and self._bar.done and self._bytes:
            say(f"{self._bar.title}: {self._bar.done:,}/{self._total:,} shards  {self._text()}")

    def _text(self) -> str:
        rate = self._bytes / 1e6 / max(time.monotonic() - self._start, 1e-3)
        parts = [f"{rate:,.1f} MB/s"]
        parts += [f"{self._retries} retries"] if self._retries else []
        parts += [f"{self._failed} failed"] if self._failed else []
        reasons = Counter({key.split("/reason/")[1]: n for key, n in self._counts.items() if "/reason/" in key and n})
        parts += [f"{reason} {count:,}" for reason, count in reasons.most_common(REASONS_SHOWN)]
        return ", ".join(parts)

    def _tell(self) -> None:
        self._told = time.monotonic()
        state = {
            "stage": self._title, "done": self._bar.done, "total": self._total, "bytes": self._bytes,
            "seconds": round(self._told - self._start, 3), "seconds_left": round(self._bar.seconds_left(), 1),
            "retries": self._retries, "failed": self._failed, "counts": dict(self._counts),
        }  # fmt: skip
        print(json.dumps(state), flush=True)
