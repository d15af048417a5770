"""The table that stages of `corpus build` hand on: one row a document, one parquet file a shard; and the rejects."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

# A row group, which a reader holds at once, ends with either of these.
ROWS = 1_000
CHARACTERS = 16_000_000
DOCUMENTS = "documents.parquet"
REJECTS = "rejects.parquet"

DOCUMENT = pa.schema(
    [
        ("text", pa.string()),
        ("id", pa.string()),  # of the content: the same whatever the shards
        ("url", pa.string()),
        ("host", pa.string()),
        ("date", pa.string()),  # ISO 8601, "" where unknown
        ("karma", pa.int64()),  # null where unknown
        ("language", pa.string()),
        ("language_score", pa.float32()),
        ("extractor", pa.string()),
        ("source_sha256", pa.string()),  # of the record or file that the text is from
        ("extra", pa.string()),  # what else a given document had, as JSON
    ]
)
REJECT = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("text", pa.string()),  # "" where there was none
    ]
)


class TableWriter:
    """Writes rows of one schema in groups."""

    def __init__(self, writer: parquet.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[Mapping[str, Any]] = []
        self._characters = 0
        self.rows = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; columns that it lacks are null."""
        self._rows.append(row)
        self.rows += 1
        self._characters += len(row.get("text") or "")
        if len(self._rows) == ROWS or self._characters >= CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(list(self._rows), schema=self._schema))
            self._rows, self._characters = [], 0


@contextmanager
def writer(path: Path, schema: pa.Schema = DOCUMENT) -> Iterator[TableWriter]:
    """Open a parquet file for rows; the same rows give the same bytes."""
    with parquet.ParquetWriter(path, schema, compression="zstd") as stream:
        table = TableWriter(stream, schema)
        yield table
        table.flush()


def rows(paths: Iterable[Path], columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of such files, one after the other, a row group in memory at a time."""
    for path in paths:
        # Not `read_table`: that imports pandas where it is installed, seconds in every process.
        file = parquet.ParquetFile(path)
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group, columns=columns).to_pylist()
