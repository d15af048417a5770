"""Stages for the tests of the runner, in a module that worker processes can import."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from wholegpt.errors import WholeGPTError
from wholegpt.runner import Shard, relational

PARTITIONS = 3


@dataclass(frozen=True)
class StageOptions:
    """What the stages below do."""

    factor: int = 2
    seconds: float = 0.0
    log: Path | None = None


def square(shard: Shard, folder: Path, options: StageOptions) -> dict[str, int]:
    """The numbers of a file, multiplied; slow and logged on request."""
    if options.log:
        with options.log.open("a") as stream:
            stream.write(f"{shard.name} {os.getpid()}\n")
    time.sleep(options.seconds)
    numbers = [int(line) * options.factor for path in shard.inputs for line in path.read_text().split()]
    (folder / "numbers.txt").write_text("\n".join(map(str, numbers)))
    return {"numbers/in": len(numbers), "numbers/out": len(numbers)}


def scatter(shard: Shard, folder: Path, options: StageOptions) -> dict[str, int]:
    """The words of a file, in partitions by their length."""
    words = [word for path in shard.inputs for word in path.read_text().split()]
    for partition in range(PARTITIONS):
        table = pa.table({"word": pa.array([w for w in words if len(w) % PARTITIONS == partition], pa.string())})
        parquet.write_table(table, folder / f"p={partition:04d}.parquet")
    return {"words": len(words) * options.factor // options.factor}


def count_words(shard: Shard, folder: Path, options: StageOptions) -> dict[str, int]:
    """How often each word of a partition is there, by DuckDB."""
    with relational.connection(folder, 100_000_000) as database:
        files = ", ".join(f"'{path}'" for path in shard.inputs)
        query = (
            f"SELECT word, count(*) * {options.factor} AS n FROM read_parquet([{files}]) GROUP BY word ORDER BY word"
        )
        rows = database.execute(query).fetchall()
    (folder / "counts.txt").write_text("".join(f"{word} {n}\n" for word, n in rows))
    return {"words": len(rows)}


def misbehave(shard: Shard, folder: Path, options: StageOptions) -> dict[str, int]:
    """What the shard's first value says; some kinds only at the first attempt, of which they leave a note."""
    kind, first = str(shard.values[0]), options.log is not None and not (options.log / shard.name).exists()
    if options.log:
        (options.log / shard.name).touch()
    if kind == "raise":
        raise RuntimeError("poison")
    if kind == "refuse":
        raise WholeGPTError("not this one")
    if kind == "hang" or (kind == "hang-once" and first):
        while True:
            pass
    if kind == "kill" or (kind == "kill-once" and first):
        os.kill(os.getpid(), signal.SIGSEGV)
    (folder / "fine.txt").write_text(shard.name)
    return {"kinds/in": 1, f"kinds/reason/{kind}": 1}


def modules(_shard: Shard, folder: Path, _options: StageOptions) -> dict[str, int]:
    """What a worker has imported."""
    (folder / "modules.txt").write_text(" ".join(sorted(sys.modules)))
    return {}
