"""DuckDB for what is relational inside one partition, within a given memory."""

from pathlib import Path

import duckdb


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
