"""DuckDB within a partition: a connection with bounded memory, and the partition that a key belongs to."""

import zlib
from pathlib import Path
from typing import Any

import duckdb


def connection(temporary: Path, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """A database in memory that spills to `temporary`."""
    settings: dict[str, Any] = {
        "memory_limit": f"{memory_bytes}B",
        "temp_directory": str(temporary),
        "threads": 1,
        "preserve_insertion_order": False,
    }
    return duckdb.connect(config=settings)


def partition(key: bytes, partitions: int) -> int:
    """Which of so many partitions a key belongs to; the same everywhere."""
    return zlib.crc32(key) % partitions
