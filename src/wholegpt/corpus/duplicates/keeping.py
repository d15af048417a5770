"""Which of several copies stays, and how a list of what goes becomes documents without it.

The rule: the highest karma (none is the lowest), then the longest text, then the lowest id. It looks at the documents
alone, so that the same ones stay whatever the files, their order, or the workers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet

from wholegpt.corpus import records
from wholegpt.runner import Backend, Report, Shard, relational, run

# Writers of documents and of rejects.
Sides = tuple[parquet.ParquetWriter, parquet.ParquetWriter]
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


def standings(file: int, row: int, group: pa.RecordBatch, hashes: Sequence[int] | NDArray[np.uint64]) -> pa.RecordBatch:
    """What the rule looks at, of a row group, of which `row` is the first; the hashes stand for its texts."""
    count = len(group)
    columns = [
        np.full(count, file), np.arange(row, row + count), group["karma"], compute.utf8_length(group["text"]),
        group["id"], hashes,
    ]  # fmt: skip
    return pa.table(dict(zip(STANDING.names, columns, strict=True)), schema=STANDING).to_batches()[0]


def groups(path: Path, columns: list[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The row groups of a file, each with the number of its first row; none that is empty."""
    file, row = parquet.ParquetFile(path), 0
    for number in range(file.num_row_groups):
        for batch in file.read_row_group(number, columns=columns).combine_chunks().to_batches():
            yield row, batch
            row += len(batch)


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
    gone = parquet.ParquetFile(listed).read()
    rows, reasons = gone["row"].to_numpy(), [f"{options.reason} {kept}" for kept in gone["kept"].to_pylist()]
    read = 0
    with sides(folder) as writers:
        for row, group in groups(path):
            begin, end = np.searchsorted(rows, [row, row + len(group)])
            part(group, rows[begin:end] - row, options.stage, reasons[begin:end], writers)
            read += len(group)
    stage = options.stage
    return {f"{stage}/in": read, f"{stage}/out": read - len(rows), f"{stage}/reason/{options.reason}": len(rows)}


@contextmanager
def sides(folder: Path) -> Iterator[Sides]:
    """Open the files of documents and rejects of a stage."""
    with (
        parquet.ParquetWriter(folder / records.DOCUMENTS, records.DOCUMENT, compression="zstd") as documents,
        parquet.ParquetWriter(folder / records.REJECTS, records.REJECT, compression="zstd") as rejects,
    ):
        yield documents, rejects


def part(group: pa.RecordBatch, gone: NDArray[np.int64], stage: str, reasons: Sequence[str], writers: Sides) -> None:
    """Write documents to the one side, those of some rows, each with its reason, to the other."""
    documents, rejects = writers
    stays = np.ones(len(group), bool)
    stays[gone] = False
    if stays.any():
        documents.write_batch(group.filter(pa.array(stays)))
    if len(gone):
        out = group.take(pa.array(gone))
        columns = [out["id"], out["url"], [stage] * len(gone), reasons, out["text"]]
        table = pa.table(dict(zip(records.REJECT.names, columns, strict=True)), schema=records.REJECT)
        rejects.write_table(table)
