"""Stages and a whole job for the tests of the runner, in a module that worker processes can import."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from wholegpt.artifact import STATE, Artifact
from wholegpt.errors import WholeGPTError
from wholegpt.runner import Backend, Shard, relational, run, writing

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


def words_of(folder: Path) -> list[Shard]:
    """Four files of words, and a shard for each."""
    found = []
    for number in range(4):
        path = folder / f"words{number}.txt"
        if not path.exists():
            path.write_text(" ".join("abcdefgh"[: (number * word) % 8 + 1] for word in range(200)))
        found.append(Shard(f"{number:03d}", (path,)))
    return found


def job(shards: list[Shard], output: Path, backend: Backend) -> None:
    """A map, an exchange by partition, a reduce."""
    scattered = run(scatter, shards, output / "scatter", StageOptions(), backend)
    parts = [
        Shard(f"{part:04d}", tuple(folder / f"p={part:04d}.parquet" for folder in scattered.folders))
        for part in range(PARTITIONS)
    ]
    run(count_words, parts, output / "count", StageOptions(), backend)


def contents(folder: Path) -> dict[str, bytes]:
    """All that lies there, without what may differ between two runs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name == "done.json":
                data = json.dumps(json.loads(data) | {"seconds": 0, "attempts": 0}).encode()
            found[path.relative_to(folder).as_posix()] = data
    return found


@dataclass(frozen=True)
class VerbOptions:
    """Of a verb that does the job."""

    output: Path
    seed: int = 0


def verb(folder: Path, backend: Backend, slow: float = 0.0) -> None:
    """The job as a verb: an artifact with the counts of words, and a copy of the work to look at."""
    shards = words_of(folder)
    artifact = Artifact(folder / "artifact", "count", VerbOptions(folder / "artifact"), [shards[0].inputs[0]])
    if artifact.exists():
        return
    with writing(artifact, backend) as partial:
        run(square, [], partial / STATE / "nothing", StageOptions(), backend)
        job(shards, partial / "job", backend)
        time.sleep(slow)
        if backend.leads:
            artifact.counts = {"partitions": PARTITIONS}
