"""Exact duplicates: documents whose texts are the same but for white space; one stays (`keeping`)."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from wholegpt.corpus.duplicates import keeping
from wholegpt.corpus.duplicates.keeping import DROPS, STANDING
from wholegpt.runner import Backend, Report, Shard, relational, run

STAGE, REASON = "exact-duplicates", "copy-of"
# A partition's rows are in DuckDB at once.
DOCUMENTS_A_PARTITION = 2**20
MOST_PARTITIONS = 64


@dataclass(frozen=True)
class ExactOptions:
    """How many partitions the texts' hashes are dealt to."""

    partitions: int


def remove(files: Sequence[Path], folder: Path, documents: int, backend: Backend) -> Report:
    """The documents of each file without the copies; `documents` is about how many there are in all."""
    options = ExactOptions(min(MOST_PARTITIONS, 1 + documents // DOCUMENTS_A_PARTITION))
    shards = [Shard(f"{number:05d}", (path,), (number,)) for number, path in enumerate(files)]
    hashed = run(hash_texts, shards, folder / "hashes", options, backend).whole()
    parts = [
        Shard(f"{part:05d}", tuple(done / f"{part:05d}.parquet" for done in hashed.folders))
        for part in range(options.partitions)
    ]
    found = run(copies, parts, folder / "copies", options, backend).whole()
    lists = [done / DROPS for done in found.folders]
    return keeping.drop(files, lists, folder, keeping.WithoutOptions(STAGE, REASON), backend)


def hash_texts(shard: Shard, folder: Path, options: ExactOptions) -> dict[str, int]:
    """Stage: of each document of a file what decides which copy stays, in partitions by the text's hash."""
    count = 0
    with ExitStack() as stack:
        writers = [
            stack.enter_context(parquet.ParquetWriter(folder / f"{part:05d}.parquet", STANDING, compression="zstd"))
            for part in range(options.partitions)
        ]
        for row, group in keeping.groups(shard.inputs[0], ["text", "id", "karma"]):
            hashes = np.array([text_hash(text) for text in group["text"].to_pylist()], np.uint64)
            places = keeping.standings(int(shard.values[0]), row, group, hashes)
            for part, writer in enumerate(writers):
                writer.write_batch(places.filter(pa.array(hashes % options.partitions == part)))
            count += len(group)
    return {"documents": count}


def copies(shard: Shard, folder: Path, _options: ExactOptions) -> dict[str, int]:
    """Stage: of each text of a partition all documents but the one that stays."""
    with relational.connection(folder, keeping.MEMORY_BYTES) as database:
        query = f"""
            SELECT file, row, kept FROM (
                SELECT file, row, first(id) OVER texts AS kept, row_number() OVER texts AS place
                FROM read_parquet({relational.names(shard.inputs)})
                WINDOW texts AS (PARTITION BY text_hash ORDER BY {keeping.RULE}, file, row)
            ) WHERE place > 1 ORDER BY file, row
        """
        table = relational.table(database, query)
    keeping.write(folder / DROPS, table.cast(keeping.DROP))
    return {"copies": len(table)}


def text_hash(text: str) -> int:
    """64 bits of the text with single spaces: among 8 million texts two different ones are taken for copies with odds
    of one in 600,000."""
    return int.from_bytes(hashlib.blake2b(" ".join(text.split()).encode(), digest_size=8).digest(), "little")
