"""DuckDB for what is relational inside one partition, within a given memory."""

from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa


def connection(temporary: Path, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """An empty database that spills into the folder `temporary` before it takes more than `memory_bytes`."""
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_bytes}B",
            "temp_directory": str(temporary),
            "threads": 1,
            "preserve_insertion_order": False,
        },
    )


def table(database: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """The rows of a query as a pyarrow table."""
    return database.sql(query).to_arrow_table()


def names(paths: Iterable[Path]) -> str:
    """Paths as a list in DuckDB's SQL."""
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"
