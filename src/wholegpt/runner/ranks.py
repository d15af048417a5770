"""Several commands that share one output folder (`--backend rank`): a Slurm array, or one ssh a machine.

Rank r of N does every N-th shard, then waits at the end of each stage for the others' markers. Rank 0 owns the
artifact: it holds the lock, writes the plan, and gives the artifact its name; the others wait for that plan and begin
once it is theirs. They may be started in any order, and one that died may be started again.
"""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wholegpt.artifact import PLAN, Artifact, read_json
from wholegpt.errors import Interrupted, WholeGPTError
from wholegpt.progress import say
from wholegpt.runner import local
from wholegpt.runner.backend import Backend
from wholegpt.runner.work import FAILED, Counts, Task, finished

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BETWEEN_LINES = 30.0


class _Ended(Exception):
    """Rank 0 has finished the artifact."""


@contextmanager
def writing(artifact: Artifact, backend: Backend) -> Iterator[Path]:
    """The folder in which a verb works: `artifact.write(resume=True)`, shared by all ranks.

    Only where `backend.leads` the block writes what is the work of one: tables, reports, counts. Ctrl-C and SIGTERM end
    the workers and raise Interrupted; finished shards are kept.
    """
    before = _handle_termination()
    try:
        if backend.leads:
            with artifact.write(resume=True) as folder:
                yield folder.absolute()
        else:
            folder = _wait_for_plan(artifact, backend).absolute()
            try:
                yield folder
            except (_Ended, FileNotFoundError):
                if folder.exists() or not artifact.exists():
                    raise
            say(f"rank {backend.rank}: done")
    except KeyboardInterrupt:
        local.close(kill=True)
        raise Interrupted("interrupted; the same command goes on where it was") from None
    finally:
        local.close(kill=True)
        for number, handler in before.items():
            signal.signal(number, handler)


def mine(tasks: Sequence[Task], backend: Backend) -> list[Task]:
    """The tasks of this rank."""
    return [task for index, task in enumerate(tasks) if index % backend.world_size == backend.rank]


def wait_for_others(tasks: Sequence[Task], backend: Backend) -> dict[str, Counts | None]:
    """The counts of the other ranks' shards, None where they gave one up; WholeGPTError after too long a silence."""
    found: dict[str, Counts | None] = {}
    missing = {index: task for index, task in enumerate(tasks) if index % backend.world_size != backend.rank}
    heard = told = time.monotonic()
    while missing:
        for index, task in list(missing.items()):
            counts = finished(task.output / task.shard.name, task.key)
            if counts is not None or _given_up(task):
                found[task.shard.name] = counts
                del missing[index]
                heard = time.monotonic()
        if not missing:
            break
        if not next(iter(missing.values())).output.exists():
            raise _Ended
        late = sorted({index % backend.world_size for index in missing})
        told = _wait(f"{len(missing)} shards of rank {', '.join(map(str, late))}", heard, told, backend)
    return found


def _given_up(task: Task) -> bool:
    note = task.output / FAILED / f"{task.shard.name}.txt"
    return note.is_file() and note.read_text(encoding="utf-8").partition("\n")[0] == task.key


def _wait_for_plan(artifact: Artifact, backend: Backend) -> Path:
    start = told = time.monotonic()
    while not ((artifact.partial / PLAN).is_file() and read_json(artifact.partial / PLAN) == artifact.plan):
        told = _wait("rank 0 to begin", start, told, backend)
    return artifact.partial


def _wait(what: str, heard: float, told: float, backend: Backend) -> float:
    """Sleep a little; say from time to time what for, and give up in the end. When that was last said."""
    now = time.monotonic()
    if now - heard > backend.rank_timeout:
        raise WholeGPTError(
            f"rank {backend.rank} waited {backend.rank_timeout:g} s for {what}; "
            "start those that do not run, and this command again"
        )
    if now - told > SECONDS_BETWEEN_LINES:
        say(f"rank {backend.rank} of {backend.world_size} waits for {what}")
        told = now
    time.sleep(SECONDS_BETWEEN_LOOKS)
    return told


def _handle_termination() -> dict[int, Any]:
    """SIGTERM and Ctrl-C raise KeyboardInterrupt, where this is the main thread; the handlers that were there."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
