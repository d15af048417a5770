"""Near-duplicates: documents whose sets of word 5-grams are alike; of each cluster one stays (`keeping`).

    sign       the keys of each document's bands (`ngrams.minhash`)
    order      every document's place in the order of the rule, by DuckDB
    pair       documents that share a key of a band, one shard a band
    gather     the 5-grams of documents that are in some pair
    verify     pairs whose exact Jaccard similarity reaches the threshold
    choose     clusters (components of the graph of verified pairs), and who goes

Of documents that share a key, each is paired with the first of them in the order of the rule and with the one just
before it: ten thousand that share one make twenty thousand pairs, not fifty million, and the same ones whatever the
files or their order. What grows with the corpus is on the disk but for the order (4 bytes a document), the keys of a
band (16), and the pairs (16 each).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from wholegpt.corpus import keeping, records
from wholegpt.corpus.exact_duplicates import text_hash
from wholegpt.corpus.keeping import DROPS, STANDING
from wholegpt.errors import UsageError
from wholegpt.ngrams import hashing, minhash
from wholegpt.ngrams.hashing import Grams
from wholegpt.ngrams.words import Texts
from wholegpt.runner import Backend, Report, Shard, relational, run

STAGE, REASON = "near-duplicates", "like"
WORDS = 5
PRESETS = {"14x8": (14, 8), "25x5": (25, 5)}
KEYS, PLACES, PLACE, PAIRS = "keys.npy", "standing.parquet", "order.npy", "pairs.npy"
GRAMS, BOUNDS, NUMBERS = "grams.npy", "bounds.npy", "numbers.npy"
# Pairs of a shard of `verify`.
PAIRS_A_SHARD = 50_000
# Of a document without a 5-gram.
NO_KEY = np.uint64(0)
Pairs = NDArray[np.int64]


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
    order = placed.folders[0] / PLACE
    bands = [Shard(f"{band:03d}", (order, *keys), (band,)) for band in range(options.shape[0])]
    paired = tuple(done / PAIRS for done in run(pair, bands, folder / "pair", options, backend).whole().folders)
    pairs = run(unite, [Shard("pairs", paired)], folder / "pairs", options, backend).whole()
    united = pairs.folders[0] / PAIRS
    wanted = [
        Shard(f"{number:05d}", (path, united, *keys[: number + 1])) for number, path in enumerate(files)
    ]  # the keys' sizes tell where the file's numbers begin
    gathered = run(gather, wanted, folder / "gather", options, backend).whole()
    sets = tuple(done / name for done in gathered.folders for name in (GRAMS, BOUNDS, NUMBERS))
    slices = [
        Shard(f"{start:012d}", (united, *sets), (start,)) for start in range(0, pairs.counts["pairs"], PAIRS_A_SHARD)
    ]
    verified = run(verify, slices, folder / "verify", options, backend).whole()
    edges = tuple(done / PAIRS for done in verified.folders)
    who = Shard("drops", (order, *edges, *places), (len(edges),))
    chosen = run(choose, [who], folder / "choose", options, backend).whole()
    lists = [done / DROPS for done in chosen.folders]
    return keeping.drop(files, lists, folder, keeping.WithoutOptions(STAGE, REASON), backend)


def sign(shard: Shard, folder: Path, options: NearOptions) -> dict[str, int]:
    """Stage: keys [documents, bands] of a file, and what decides who stays."""
    bands, rows = options.shape
    keys: list[NDArray[np.uint64]] = []
    with records.writer(folder / PLACES, STANDING) as writer:
        row = 0
        for group in _groups(shard.inputs[0]):
            grams = _sets([document["text"] for document in group])
            found = minhash.band_keys(grams, bands, rows)
            found[grams.sizes == 0] = NO_KEY
            keys.append(found)
            for document in group:
                writer.write(keeping.standing(int(shard.values[0]), row, document, text_hash(document["text"])))
                row += 1
    np.save(folder / KEYS, np.concatenate([*keys, np.zeros((0, bands), np.uint64)]))
    return {"documents": row}


def put_in_order(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: each document's place in the order of the rule [documents of all files]."""
    with relational.connection(folder, keeping.MEMORY_BYTES) as database:
        query = f"""
            SELECT row_number() OVER (ORDER BY {keeping.RULE}, file, row) - 1 AS place
            FROM read_parquet({relational.names(shard.inputs)}) ORDER BY file, row
        """
        places = database.execute(query).fetchnumpy()["place"]
    np.save(folder / PLACE, places.astype(np.int32))
    return {"documents": len(places)}


def pair(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: pairs of documents that share the key of a band, the one that comes first in the order on the left."""
    order, band = np.load(shard.inputs[0]), int(shard.values[0])
    # Copied, so that the files' other bands leave the memory.
    keys = np.concatenate([np.load(path, mmap_mode="r")[:, band].copy() for path in shard.inputs[1:]])
    np.save(folder / PAIRS, sharing(keys, order))
    return {}


def unite(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: the pairs of all bands, each once."""
    pairs: Pairs = np.zeros((0, 2), np.int64)
    for path in shard.inputs:
        pairs = _unique(np.concatenate([pairs, np.load(path)]))
    np.save(folder / PAIRS, pairs)
    return {"pairs": len(pairs)}


def gather(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: the sets of 5-grams of those of a file's documents that are in some pair."""
    path, pairs, *keys = shard.inputs
    sizes = [np.load(other, mmap_mode="r").shape[0] for other in keys]
    begin, end = sum(sizes[:-1]), sum(sizes)
    wanted = np.unique(np.load(pairs, mmap_mode="r"))
    wanted = wanted[(wanted >= begin) & (wanted < end)]
    chosen, row, grams = set((wanted - begin).tolist()), 0, [np.zeros(0, np.int64)]
    for group in _groups(path) if chosen else ():
        texts = [document["text"] for index, document in enumerate(group, start=row) if index in chosen]
        row += len(group)
        sets = _sets(texts)
        grams += [sets[index] for index in range(len(sets))]
    np.save(folder / GRAMS, np.concatenate(grams))
    np.save(folder / BOUNDS, np.cumsum([0, *map(len, grams[1:])]))
    np.save(folder / NUMBERS, wanted)
    return {"documents": len(wanted)}


def verify(shard: Shard, folder: Path, options: NearOptions) -> dict[str, int]:
    """Stage: of a slice of the pairs those that are as alike as asked."""
    start = int(shard.values[0])
    pairs = np.load(shard.inputs[0], mmap_mode="r")[start : start + PAIRS_A_SHARD].copy()
    wanted = np.unique(pairs)
    sets = [np.zeros(0, np.int64)]
    for grams, bounds, numbers in zip(*(iter(shard.inputs[1:]),) * 3, strict=True):
        there = np.load(numbers)
        places, content = np.load(bounds), np.load(grams, mmap_mode="r")
        for index in np.flatnonzero(np.isin(there, wanted)):
            sets.append(content[places[index] : places[index + 1]].copy())
    found = Grams(np.concatenate(sets), np.cumsum([0, *map(len, sets[1:])]))
    left, right = (np.searchsorted(wanted, pairs[:, side]) for side in (0, 1))
    alike = hashing.jaccard(found, left, right) >= options.near_threshold
    np.save(folder / PAIRS, pairs[alike])
    return {"pairs": len(pairs), "alike": int(alike.sum())}


def choose(shard: Shard, folder: Path, _options: NearOptions) -> dict[str, int]:
    """Stage: who goes: of each cluster all but the first in the order."""
    count = int(shard.values[0])
    order = np.load(shard.inputs[0])
    edges = [np.load(path) for path in shard.inputs[1 : 1 + count]]
    first = components(np.concatenate([*edges, np.zeros((0, 2), np.int64)]), order)
    rows = []
    for file, path in enumerate(shard.inputs[1 + count :]):
        rows.append(parquet.ParquetFile(path).read(["file", "row", "id"]))
        assert not len(rows[-1]) or rows[-1]["file"][0].as_py() == file
    table = pa.concat_tables(rows) if rows else STANDING.empty_table().select(["file", "row", "id"])
    gone = np.array(sorted(first), np.int64)
    kept = table["id"].take(pa.array([first[number] for number in gone.tolist()], pa.int64()))
    keeping.write(
        folder / DROPS, table.select(["file", "row"]).take(gone).append_column("kept", kept).cast(keeping.DROP)
    )
    return {"dropped": len(gone)}


def sharing(keys: NDArray[np.uint64], order: NDArray[Any]) -> Pairs:
    """Pairs of documents with the same key [pairs, 2]: each with the first of them in the order, and with the last
    before it."""
    sequence = np.argsort(keys, kind="stable")
    ordered = keys[sequence]
    same = ordered[1:] == ordered[:-1]
    # Those that share their key with a neighbour, and have one.
    shared = np.concatenate([same, [False]]) | np.concatenate([[False], same]) if len(keys) else np.zeros(0, bool)
    sequence = sequence[shared & (ordered != NO_KEY)]
    sequence = sequence[np.lexsort((order[sequence], keys[sequence]))]
    ordered = keys[sequence]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.zeros(0, int)
    first = np.repeat(begins, np.diff([*begins, len(ordered)]))
    later = np.flatnonzero(np.arange(len(ordered)) != first)
    with_first = np.stack([sequence[first[later]], sequence[later]], axis=1)
    with_previous = np.stack([sequence[later - 1], sequence[later]], axis=1)
    return _unique(np.concatenate([with_first, with_previous]))


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


def _unique(pairs: Pairs) -> Pairs:
    """Each pair once, sorted; two numbers below 2**31 as one word, which sorts ten times as fast."""
    words = np.unique(pairs[:, 0].astype(np.int64) << 32 | pairs[:, 1].astype(np.int64))
    return np.stack([words >> 32, words & 0xFFFFFFFF], axis=1)


def _sets(texts: Sequence[str]) -> Grams:
    return hashing.distinct(hashing.ngram_hashes(Texts.of(texts), WORDS))


def _groups(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The documents of a file a row group at a time."""
    file = parquet.ParquetFile(path)
    for group in range(file.num_row_groups):
        yield file.read_row_group(group, columns=["text", "id", "karma"]).to_pylist()
