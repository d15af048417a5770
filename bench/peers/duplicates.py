"""Other people's near-duplicate search, each brought to the same form: texts in, the pairs that it calls alike out."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet

from wholegpt.corpus.duplicates.near_duplicates import components
from wholegpt.ngrams import hashing, minhash
from wholegpt.ngrams.words import Texts

os.environ["POLARS_MAX_THREADS"] = "1"  # before it is imported

BANDS, ROWS, THRESHOLD = 14, 8, 0.5
Pair = tuple[int, int]
_WORDS = re.compile(r"\w+")


def shingles(text: str, n: int = 5) -> set[str]:
    """A text's word n-grams."""
    words = _WORDS.findall(text.lower())
    return {" ".join(words[start : start + n]) for start in range(len(words) - n + 1)}


def datasketch(texts: list[str]) -> Iterator[Pair]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    for number, text in enumerate(texts):
        signature = MinHash(num_perm=BANDS * ROWS)
        signature.update_batch([shingle.encode() for shingle in shingles(text)])
        for other in index.query(signature):
            yield other, number
        index.insert(number, signature, check_duplication=False)


def rensa(kind: str, texts: list[str]) -> Iterator[Pair]:
    import rensa

    signatures = []
    for text in texts:
        signature = getattr(rensa, kind)(num_perm=BANDS * ROWS, seed=1)
        signature.update(list(shingles(text)))
        signatures.append(signature.digest())
    yield from of_bands(signatures)


def gaoya(texts: list[str]) -> Iterator[Pair]:
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(
        hash_size=32, jaccard_threshold=0.5, num_bands=BANDS, band_size=ROWS, num_hashes=BANDS * ROWS, analyzer="word",
        lowercase=True, ngram_range=(5, 5),
    )  # fmt: skip
    for number, text in enumerate(texts):
        for other in index.query(text):
            yield other, number
        index.insert_document(number, text)


def of_bands(signatures: Iterable[list[int]]) -> Iterator[Pair]:
    """Pairs that share a band, by dictionaries."""
    buckets: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, signature in enumerate(signatures):
        for band in range(BANDS):
            buckets[(band, *signature[band * ROWS : (band + 1) * ROWS])].append(number)
    for members in buckets.values():
        yield from combinations(members, 2)


def datatrove() -> Callable[[str], list[list[int]]]:
    """Its signature step for one text."""
    import xxhash
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature

    step = MinhashDedupSignature("unused", MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS))
    # xxhash 4 takes bytes only.
    step._hash_func = lambda text: xxhash.xxh64_intdigest(text.encode())
    return lambda text: step.get_signature(step.get_shingles(text))


def polars_edges(keys: Any, order: Any) -> Any:
    """Documents that share a key [bands, documents] with an earlier one in the order, and the first that does."""
    import polars as pl

    edges = []
    for band in keys:
        frame = pl.DataFrame({"key": band, "row": np.arange(len(band), dtype=np.int32), "order": order})
        first = pl.col("row").sort_by("order").first().over("key")
        shared = frame.filter(pl.len().over("key") > 1).with_columns(first.alias("first"))
        edges.append(shared.filter(pl.col("row") != pl.col("first")).select("first", "row"))
    return pl.concat(edges).unique().to_numpy().astype(np.int64)


def dask_edges(keys: Any, order: Any) -> Any:
    """The same; a document's place in the order is its number there."""
    import dask
    import dask.dataframe as dd
    import pandas as pd

    dask.config.set(scheduler="synchronous")
    edges = []
    for band in keys:
        frame = dd.from_pandas(pd.DataFrame({"key": band, "place": order}), npartitions=8)
        first = frame.groupby("key")["place"].min().reset_index().rename(columns={"place": "first"})
        shared = frame.merge(first, on="key")
        edges.append(shared[shared["place"] != shared["first"]][["first", "place"]])
    found = dd.concat(edges).drop_duplicates().compute().to_numpy()
    rows = np.argsort(order)
    return rows[found]


def stage(files: list[Path], folder: Path, edges: Callable[[Any, Any], Any]) -> int:
    """Files of documents to files without near-duplicates and files of those, all in memory; returns how many documents
    are left."""
    import polars as pl

    keys, standing, sets, bounds = [], [], [], [np.zeros(1, np.int64)]
    for file in files:
        column = parquet.ParquetFile(file).read(["text"]).combine_chunks()["text"].chunk(0)
        grams = hashing.ngram_hashes(Texts.of_arrow(column), 5)
        keys.append(minhash.band_keys(grams, BANDS, ROWS))
        distinct = hashing.distinct(grams)
        sets.append(distinct.hashes)
        bounds.append(distinct.sizes)
        lengths = pl.col("text").str.len_chars().alias("length")
        standing.append(pl.scan_parquet(file).select("karma", lengths, "id").collect())
    documents = pl.concat(standing).with_row_index("number")
    rule = documents.sort("karma", "length", "id", descending=[True, True, False], nulls_last=True)
    order = np.empty(len(documents), np.int32)
    order[rule["number"].to_numpy()] = np.arange(len(documents))
    pairs = edges(np.ascontiguousarray(np.concatenate(keys).T), order)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    found = hashing.Grams(np.concatenate(sets), np.cumsum(np.concatenate(bounds)))
    gone = components(pairs[hashing.jaccard(found, pairs[:, 0], pairs[:, 1]) >= THRESHOLD], order)
    stays = np.ones(len(documents), bool)
    stays[list(gone)] = False
    folder.mkdir()
    begin = 0
    for file, part in zip(files, standing, strict=True):
        whole, here = pl.read_parquet(file), stays[begin : begin + len(part)]
        for name, rows in (("kept", whole.filter(here)), ("gone", whole.filter(~here).select("id", "url", "text"))):
            rows.write_parquet(folder / f"{name}-{file.name}", compression="zstd", compression_level=1)
        begin += len(part)
    return int(stays.sum())


EDGES: dict[str, Callable[[Any, Any], Any]] = {"polars": polars_edges, "dask": dask_edges}
PEERS: dict[str, Callable[[list[str]], Iterator[Pair]]] = {"datasketch": datasketch, "gaoya": gaoya}
PEERS |= {name: partial(rensa, kind) for name, kind in (("rensa", "RMinHash"), ("rensa CMinHash", "CMinHash"))}
