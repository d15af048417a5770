"""Near-duplicates: documents whose sets of word 5-grams are alike; of each cluster one stays (`keeping`).

    sign       the keys of each document's bands (`ngrams.minhash`)
    order      every document's place in the order of the rule, by DuckDB
    pair       documents that share a key of a band, one shard a band
    gather     the 5-grams of documents that are in some pair
    verify     pairs whose exact Jaccard similarity reaches the threshold
    choose     clusters (components of the graph of verified pairs), and who goes

Of documents that share a key, each is paired with the first of them in the order of the rule and with the one just
before it: ten thousand that share one make twenty thousand pairs, not fifty million, and the same ones whatever the
files or their order. All stages know documents by numbers, and a shard holds one row group of text. What grows in
memory with the corpus: 28 bytes a document where a band is sorted, 24 a document of some pair, 16 a pair, and what
Python takes for those that go.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from wholegpt.corpus.duplicates import keeping
from wholegpt.corpus.duplicates.keeping import DROPS, STANDING
from wholegpt.errors import UsageError
from wholegpt.ngrams import hashing, minhash
from wholegpt.ngrams.hashing import Grams
from wholegpt.ngrams.words import Texts
from wholegpt.runner import Backend, Report, Shard, relational, run

STAGE, REASON = "near-duplicates", "like"
WORDS = 5
PRESETS = {"14x8": (14, 8), "25x5": (25, 5)}
KEYS, PLACES, PLACE, BEGINS, PAIRS = "keys.npy", "standing.parquet", "order.npy", "begins.npy", "pairs.npy"
GRAMS, BOUNDS, NUMBERS = "grams.npy", "bounds.npy", "numbers.npy"
# Pairs of a shard of `verify`.
PAIRS_A_SHARD = 50_000
# Hashes of sets that `verify` has in memory.
HASHES_AT_ONCE = 2**21
# Of a document without a 5-gram.
NO_KEY = np.uint64(0)
Pairs = NDArray[np.int64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class NearOptions:
    """What counts as nearly the same."""

    bands: Literal["14x8", "25x5"] = "14x8"
    """Bands x rows of MinHash: 14x8 finds pairs from a similarity of about 0.7, 25x5 from about 0.5."""
    near_threshold: float = 0.5
    """Least Jaccard similarity of the sets of word 5-grams."""

    def __post_init__(self) -> None:
        if not 0 < self.near_threshold <= 1:
            raise UsageError(f"--near-threshold is {self.near_threshold}, expected a similarity above 0, at most 1")

    @property
    def shape(self) -> tuple[int, int]:
        return PRESETS[self.bands]


def remove(files: Sequence[Path], folder: Path, options: NearOptions, backend: Backend) -> Report:
    """The documents of each file without near-duplicates."""
    shards = [Shard(f"{number:05d}", (path,), (number,)) for number, path in enumerate(files)]
    signed = run(sign, shards, folder / "sign", options, backend).whole()
    keys, places = ([done / name for done in signed.folders] for name in (KEYS, PLACES))
    placed = run(put_in_order, [Shard("order", tuple(places))], folder / "order", options, backend).whole()
    order, begins = placed.folders[0] / PLACE, placed.folders[0] / BEGINS
    bands = [Shard(f"{band:03d}", (order, *keys), (band,)) for band in range(options.shape[0])]
    paired = tuple(done / PAIRS for done in run(pair, bands, folder / "pair", options, backend).whole().folders)
    pairs = run(unite, [Shard("pairs", paired)], folder / "pairs", options, backend).whole()
    united, numbers = (pairs.folders[0] / name for name in (PAIRS, NUMBERS))
    wanted = [Shard(f"{number:05d}", (path, numbers, begins), (number,)) for number, path in enumerate(files)]
    gathered = run(gather, wanted, folder / "gather", options, backend).whole()
    sets = tuple(done / name for done in gathered.folders for name in (GRAMS, BOUNDS, NUMBERS))
    slices = [
        Shard(f"{start:012d}", (united, *sets), (start,)) for start in range(0, pairs.counts["pairs"], PAIRS_A_SHARD)
    ]
    verified = run(verify, slices, folder / "verify", options, backend).whole()
    edges = tuple(done / PAIRS for done in verified.folders)
    who = Shard("drops", (order, begins, *edges, *places), (len(edges),))
    chosen = run(choose, [who], folder / "choose", options, backend).whole()
    lists = [done / DROPS for done in chosen.folders]
    return keeping.drop(files, lists, folder, keeping.WithoutOptions(STAGE, REASON), backend)


def sign(shard: Shard, folder: Path, options: NearOptions) -> dict[str, int]:
    """Stage: keys [bands, documents] of a file, and what decides who stays."""
    bands, rows = options.shape
    keys = [np.zeros((0, bands), np.uint64)]
    with parquet.ParquetWriter(folder / PLACES, STANDING, compression="zstd") as places:
        for row, group in keeping.groups(shard.inputs[0], ["text", "id", "karma"]):
            texts = Texts.of_arrow(group["text"])
            grams = hashing.ngram_hashes(texts, WORDS)
            keys.append(minhash.band_keys(grams, bands, rows))
            keys[-1][grams.sizes == 0] = NO_KEY
            places.write_batch(keeping.standings(int(shard.values[0]), row, group, checksums(texts)))
    # A band is read as one piece.
    np.save(folder / KEYS, np.ascontiguousarray(np.concatenate(keys).T))
    return {"documents": sum(map(len, keys))}


def checksums(texts: Texts) -> list[int]:
    """A number of each text, which is the same for the same text."""
    content = texts.data.data
    return [crc32(content[start:end]) for start, end in pairwise(texts.bounds.tolist())]


def put_in_order(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: each document's place in the order of the rule [documents of all files]; where each file's begin, with the
    end. A document's number is its index here."""
    with relational.connection(folder, keeping.MEMORY_BYTES) as database:
        query = f"""
            SELECT row_number() OVER (ORDER BY {keeping.RULE}, file, row) - 1 AS place
            FROM read_parquet({relational.names(shard.inputs)}) ORDER BY file, row
        """
        places = database.execute(query).fetchnumpy()["place"]
    np.save(folder / PLACE, places.astype(np.int32))
    np.save(folder / BEGINS, np.cumsum([0, *(parquet.ParquetFile(path).metadata.num_rows for path in shard.inputs)]))
    return {"documents": len(places)}


def pair(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: pairs of documents that share the key of a band, the one that comes first in the order on the left."""
    order, band = np.load(shard.inputs[0]), int(shard.values[0])
    # Copied, so that the files' other bands leave the memory.
    keys = np.concatenate([np.load(path, mmap_mode="r")[band].copy() for path in shard.inputs[1:]])
    np.save(folder / PAIRS, sharing(keys, order))
    return {}


def unite(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: the pairs of all bands, each once, and the numbers of all documents in them."""
    pairs: Pairs = np.zeros((0, 2), np.int64)
    for path in shard.inputs:
        pairs = unique(np.concatenate([pairs, np.load(path)]))
    np.save(folder / PAIRS, pairs)
    np.save(folder / NUMBERS, hashing.sorted_once(pairs.ravel()))
    return {"pairs": len(pairs)}


def gather(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: the sets of 5-grams of those of a file's documents that are in some pair."""
    path, numbers, begins = shard.inputs
    begin, end = np.load(begins)[int(shard.values[0]) :][:2]
    wanted = np.load(numbers, mmap_mode="r")
    wanted = wanted[slice(*np.searchsorted(wanted, [begin, end]))].copy()
    hashes, sizes = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)]
    for row, group in keeping.groups(path, ["text"]) if len(wanted) else ():
        there = wanted[(wanted >= begin + row) & (wanted < begin + row + len(group))] - begin - row
        sets = hashing.distinct(hashing.ngram_hashes(Texts.of_arrow(group["text"].take(pa.array(there))), WORDS))
        hashes.append(sets.hashes)
        sizes.append(sets.sizes)
    np.save(folder / GRAMS, np.concatenate(hashes))
    np.save(folder / BOUNDS, np.cumsum(np.concatenate(sizes)))
    np.save(folder / NUMBERS, wanted)
    return {"documents": len(wanted)}


def verify(shard: Shard, folder: Path, options: NearOptions) -> dict[str, int]:
    """Stage: of a slice of the pairs those that are as alike as asked."""
    start = int(shard.values[0])
    pairs = np.load(shard.inputs[0], mmap_mode="r")[start : start + PAIRS_A_SHARD].copy()
    paths = zip(*(shard.inputs[place::3] for place in (1, 2, 3)), strict=True)
    gathered = [(grams, np.load(bounds), np.load(numbers)) for grams, bounds, numbers in paths]
    there = np.concatenate([numbers for *_, numbers in gathered])
    sizes = np.concatenate([np.diff(bounds) for _, bounds, _ in gathered])
    blocks = np.cumsum(sizes[np.searchsorted(there, pairs)].sum(axis=1)) // HASHES_AT_ONCE
    alike = np.zeros(len(pairs), bool)
    for block in np.unique(blocks):
        here = np.flatnonzero(blocks == block)
        wanted = np.unique(pairs[here])
        left, right = np.searchsorted(wanted, pairs[here]).T
        sets = _chosen(wanted, gathered)
        alike[here] = hashing.jaccard(sets, left, right) >= options.near_threshold
    np.save(folder / PAIRS, pairs[alike])
    return {"pairs": len(pairs), "alike": int(alike.sum())}


def choose(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: who goes: of each cluster all but the first in the order."""
    count = int(shard.values[0])
    order, begins = (np.load(path) for path in shard.inputs[:2])
    edges = [np.load(path) for path in shard.inputs[2 : 2 + count]]
    first = components(np.concatenate([*edges, np.zeros((0, 2), np.int64)]), order)
    gone, kept = np.array(sorted(first.items()), np.int64).reshape(-1, 2).T
    names = dict(_names(np.unique(kept), begins, shard.inputs[2 + count :]))
    file = np.searchsorted(begins, gone, side="right") - 1
    columns = [file, gone - begins[file], [names[number] for number in kept.tolist()]]
    keeping.write(folder / DROPS, pa.table(columns, schema=keeping.DROP))
    return {"dropped": len(gone)}


def _chosen(wanted: Numbers, gathered: Sequence[tuple[Path, Numbers, Numbers]]) -> Grams:
    """The sets of some documents, whose numbers ascend, from what was gathered: by file hashes, bounds and numbers."""
    sets = [np.zeros(0, np.int64)]
    for path, bounds, numbers in gathered:
        indices = np.flatnonzero(np.isin(numbers, wanted, assume_unique=True))
        if len(indices):
            hashes = np.load(path, mmap_mode="r")
            sets += [hashes[bounds[index] : bounds[index + 1]].copy() for index in indices]
    return Grams(np.concatenate(sets), np.cumsum([0, *map(len, sets[1:])]))


def _names(numbers: Numbers, begins: Numbers, places: Sequence[Path]) -> Iterator[tuple[int, str]]:
    """The ids of some documents, whose numbers ascend; of one file at a time."""
    for path, begin, end in zip(places, begins[:-1], begins[1:], strict=True):
        here = numbers[(numbers >= begin) & (numbers < end)]
        if len(here):
            ids = parquet.ParquetFile(path).read(["id"])["id"].take(pa.array(here - begin))
            yield from zip(here.tolist(), ids.to_pylist(), strict=True)


def sharing(keys: NDArray[np.uint64], order: NDArray[Any]) -> Pairs:
    """Pairs of documents with the same key [pairs, 2]: each with the first of them in the order, and with the last
    before it."""
    # The high bits of a key and a place in the order make one word: sorting words is eight times as fast as sorting
    # indices by keys.
    bits = np.uint64(len(keys).bit_length())
    words = np.sort(keys >> bits << bits | order.astype(np.uint64))
    high = words >> bits
    same = np.concatenate([[False], high[1:] == high[:-1], [False]])
    places = (words & ((np.uint64(1) << bits) - np.uint64(1)))[same[1:] | same[:-1]] if len(keys) else words
    row_of = np.empty(len(keys), np.int64)
    row_of[order] = np.arange(len(keys))
    rows = row_of[places.astype(np.int64)]
    # Sorted already but for keys that differ in low bits alone, which this kind of sort is quick to see.
    rows = rows[np.argsort(keys[rows], kind="stable")]
    rows = rows[keys[rows] != NO_KEY]
    found = keys[rows]
    again = np.concatenate([[False], found[1:] == found[:-1]])[: len(rows)]
    first = np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))
    later = np.flatnonzero(again)
    lefts = np.concatenate([rows[first[later]], rows[later - 1]])
    return unique(np.stack([lefts, np.tile(rows[later], 2)], axis=1))


def components(edges: Pairs, order: NDArray[Any]) -> dict[int, int]:
    """Of each document that is in a cluster and not its first: the first, in the order.

    >>> components(np.array([[0, 1], [2, 1], [5, 4]]), order=np.array([3, 4, 0, 1, 5, 2]))
    {0: 2, 1: 2, 4: 5}
    """
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while (up := parent.get(node, node)) != node:
            parent[node] = node = parent.get(up, up)
        return node

    for left, right in edges.tolist():
        one, other = root(left), root(right)
        if order[one] > order[other]:
            one, other = other, one
        parent[other] = one
    members = sorted({int(node) for node in edges.ravel()})
    return {node: root(node) for node in members if root(node) != node}


def unique(pairs: Pairs) -> Pairs:
    """Each pair once, sorted; two numbers below 2**31 as one word, which sorts ten times as fast."""
    words = hashing.sorted_once(pairs[:, 0] << 32 | pairs[:, 1])
    return np.stack([words >> 32, words & 0xFFFFFFFF], axis=1)
