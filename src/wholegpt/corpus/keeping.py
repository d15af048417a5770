"""Which of several copies stays, and how a list of what goes becomes documents without it.

The rule: the highest karma (none is the lowest), then the longest text, then the lowest id. It looks at the documents
alone, so that the same ones stay whatever the files, their order, or the workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from wholegpt.corpus import records
from wholegpt.runner import Backend, Report, Shard, relational, run

# DuckDB's words for the rule; what is equal in all of it and in its text is the same document.
RULE = "karma DESC NULLS LAST, length DESC, id, text_hash"
MEMORY_BYTES = 1_000_000_000
DROPS = "drops.parquet"
# Of a document that goes: where it is (the number of its file, its row there), and the id of the one that stays.
DROP = pa.schema([("file", pa.int64()), ("row", pa.int64()), ("kept", pa.string())])
# What the rule looks at.
STANDING = pa.schema(
    [("file", pa.int64()), ("row", pa.int64()), ("karma", pa.int64()), ("length", pa.int64()), ("id", pa.string()),
     ("text_hash", pa.uint64())]
)  # fmt: skip


@dataclass(frozen=True)
class WithoutOptions:
    """The name of the stage that drops, and of its only reason."""

    stage: str
    reason: str


def standing(file: int, row: int, document: dict[str, Any], text_hash: int) -> dict[str, Any]:
    """What the rule looks at, of one document."""
    length = len(document["text"])
    return {
        "file": file, "row": row, "karma": document["karma"], "length": length, "id": document["id"],
        "text_hash": text_hash,
    }  # fmt: skip


def write(path: Path, table: pa.Table) -> None:
    """Write a table as parquet."""
    parquet.write_table(table, path, compression="zstd")


def drop(
    files: Sequence[Path], lists: Sequence[Path], folder: Path, options: WithoutOptions, backend: Backend
) -> Report:
    """The documents of each file without those that the lists name; each report folder has documents and rejects."""
    dealt = run(deal, [Shard("lists", tuple(lists), (len(files),))], folder / "lists", options, backend).whole()
    shards = [
        Shard(f"{number:05d}", (path, dealt.folders[0] / f"{number:05d}.parquet")) for number, path in enumerate(files)
    ]
    return run(without, shards, folder / "kept", options, backend).whole()


def deal(shard: Shard, folder: Path, _options: WithoutOptions) -> dict[str, int]:
    """Stage: lists of what goes to one list for each file of documents."""
    (count,) = shard.values
    with relational.connection(folder, MEMORY_BYTES) as database:
        query = f"SELECT * FROM read_parquet({relational.names(shard.inputs)}) ORDER BY file, row"
        table = relational.table(database, query)
    bounds = np.searchsorted(table["file"].to_numpy(), np.arange(int(count) + 1))
    for number in range(int(count)):
        part = table.slice(bounds[number], bounds[number + 1] - bounds[number])
        write(folder / f"{number:05d}.parquet", part.cast(DROP))
    return {}


def without(shard: Shard, folder: Path, options: WithoutOptions) -> dict[str, int]:
    """Stage: the documents of a file without those of its list."""
    path, listed = shard.inputs
    gone = {row["row"]: row["kept"] for row in records.rows([listed])}
    read = 0
    with (
        records.writer(folder / records.DOCUMENTS) as documents,
        records.writer(folder / records.REJECTS, records.REJECT) as rejects,
    ):
        for number, row in enumerate(records.rows([path])):
            read += 1
            if number in gone:
                reason = f"{options.reason} {gone[number]}".strip()
                rejects.write({**row, "stage": options.stage, "reason": reason})
            else:
                documents.write(row)
    stage = options.stage
    return {f"{stage}/in": read, f"{stage}/out": read - len(gone), f"{stage}/reason/{options.reason}": len(gone)}
