"""Near-duplicates beside other people's: recall by share of edited words, wrong merges, processor time of one thread.

    python bench/corpus_near.py [--text corpus-000.jsonl.zst ...] [--documents 4000] [--rounds 3]

Texts are cut from books into documents of about 2.3 KB; 30 % of them are copies with 0, 2, 5 or 10 % of their words
replaced. Each finder says which pairs are alike (14 bands of 8 rows, word 5-grams); clusters are the components. A copy
is recalled if it is in its original's cluster, a merge is wrong if a cluster has two originals. Figures are medians
over rounds in which the finders take turns, of the processor time of the process; a ratio above 1 says how many times
faster we are.
Peers that are not installed are left out and named: datasketch, rensa, gaoya, polars.
"""

import argparse
import importlib.util
import random
import re
import statistics
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from peers import duplicates
from peers.duplicates import BANDS, ROWS, Pair

from wholegpt import documents
from wholegpt.corpus import builtin
from wholegpt.corpus.near_duplicates import WORDS, components, sharing
from wholegpt.ngrams import hashing, minhash
from wholegpt.ngrams.words import Texts

EDITS = (0.0, 0.02, 0.05, 0.10)
CHARACTERS = 2300
THRESHOLD = 0.5
BATCH = 256


def pieces(paths: list[Path], count: int) -> list[str]:
    """Documents of about 2.3 KB, cut at spaces, each different."""
    found: dict[str, None] = {}
    source = (document for path in paths for document in documents.read(path)) if paths else builtin.read("builtin:kjv")
    for document in source:
        words = document.text.split(" ")
        start = 0
        while start < len(words) and len(found) < count:
            end, size = start, 0
            while end < len(words) and size < CHARACTERS:
                size += len(words[end]) + 1
                end += 1
            if size >= CHARACTERS:
                found[" ".join(words[start:end])] = None
            start = end
        if len(found) >= count:
            break
    return list(found)


def with_copies(originals: list[str], share: float = 0.3) -> tuple[list[str], list[tuple[int, float]]]:
    """The originals and edited copies in random order; of each text its original's number and the share of edits."""
    noise = random.Random(0)
    vocabulary = sorted({word for text in originals[:200] for word in text.split()})
    rows = [(text, number, -1.0) for number, text in enumerate(originals)]
    for number in noise.sample(range(len(originals)), round(share / (1 - share) * len(originals))):
        edits = noise.choice(EDITS)
        words = [noise.choice(vocabulary) if noise.random() < edits else word for word in originals[number].split(" ")]
        rows.append((" ".join(words), number, edits))
    noise.shuffle(rows)
    return [text for text, *_ in rows], [(number, edits) for _, number, edits in rows]


def ours(texts: list[str], bands: int = BANDS, rows: int = ROWS) -> Iterable[Pair]:
    """Signatures, bands, pairs, verification by exact similarity."""
    sets, keys = [], []
    for start in range(0, len(texts), BATCH):
        grams = hashing.distinct(hashing.ngram_hashes(Texts.of(texts[start : start + BATCH]), WORDS))
        sets.append(grams)
        keys.append(minhash.band_keys(grams, bands, rows))
    bounds = np.concatenate([[0], np.cumsum(np.concatenate([grams.sizes for grams in sets]))])
    whole = hashing.Grams(np.concatenate([grams.hashes for grams in sets]), bounds)
    found, order = np.concatenate(keys), np.arange(len(texts))
    pairs = np.unique(np.concatenate([sharing(found[:, band].copy(), order) for band in range(bands)]), axis=0)
    alike = hashing.jaccard(whole, pairs[:, 0], pairs[:, 1]) >= THRESHOLD
    return [tuple(pair) for pair in pairs[alike].tolist()]


def quality(pairs: Iterable[Pair], truth: list[tuple[int, float]]) -> tuple[list[float], int]:
    """Recall at each share of edits, and how many originals were merged with another original."""
    edges = np.array(sorted(set(pairs)), np.int64).reshape(-1, 2)
    first = components(edges, np.arange(len(truth)))
    cluster = [first.get(number, number) for number in range(len(truth))]
    place = {number: cluster[index] for index, (number, edits) in enumerate(truth) if edits < 0}
    recall = []
    for edits in EDITS:
        copies = [cluster[index] == place[number] for index, (number, e) in enumerate(truth) if e == edits]
        recall.append(sum(copies) / max(1, len(copies)))
    return recall, len(place) - len(set(place.values()))


def clocked(finder: Callable[[list[str]], Iterable[Pair]], texts: list[str]) -> tuple[float, list[Pair]]:
    start = time.process_time()
    pairs = list(finder(texts))
    return time.process_time() - start, pairs


def near(texts: list[str], truth: list[tuple[int, float]], rounds: int) -> None:
    """The table of finders."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    finders: dict[str, Callable[[list[str]], Iterable[Pair]]] = {"wholegpt": ours}
    for name, finder in duplicates.PEERS.items():
        if importlib.util.find_spec(name.split()[0]):
            finders[name] = finder
        else:
            print(f"{name} is not installed: left out")
    ours(texts[:300])
    times: dict[str, list[float]] = {name: [] for name in finders}
    found: dict[str, list[Pair]] = {}
    for _ in range(rounds):
        for name, finder in finders.items():
            seconds, found[name] = clocked(finder, texts)
            times[name].append(seconds)
    mine = statistics.median(times["wholegpt"])
    print(f"\n{len(texts):,} documents, {megabytes:.1f} MB, {BANDS} bands x {ROWS} rows, medians of {rounds}")
    print(f"{'':16}{'MB/s':>8}{'documents/s':>13}{'we are':>9}   recall at 0, 2, 5, 10 % edits     wrong merges")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        recall, wrong = quality(found[name], truth)
        shown = "  ".join(f"{share:.3f}" for share in recall)
        print(
            f"{name:16}{megabytes / median:8.1f}{len(texts) / median:13,.0f}{median / mine:8.1f}x   {shown}{wrong:12}"
        )
    recall, wrong = quality(ours(texts, 25, 5), truth)
    print(f"{'25 x 5':46}   {'  '.join(f'{share:.3f}' for share in recall)}{wrong:12}")


def grams(texts: list[str], rounds: int) -> None:
    """The 8-gram pass beside the plain way: a regular expression, joined words, a hash of each."""
    sample = texts[:2000]
    megabytes = sum(len(text.encode()) for text in sample) / 1e6
    words = re.compile(r"[^\W_]+")

    def plain() -> int:
        total = 0
        for text in sample:
            found = words.findall(text.lower())
            total += len([hash(" ".join(found[at : at + 8])) for at in range(len(found) - 7)])
        return total

    def fast() -> int:
        return sum(
            len(hashing.ngram_hashes(Texts.of(sample[at : at + BATCH]), 8).hashes)
            for at in range(0, len(sample), BATCH)
        )

    assert plain() == fast()
    rates: dict[str, list[float]] = {"plain": [], "fast": []}
    for _ in range(rounds):
        for name, function in (("plain", plain), ("fast", fast)):
            start = time.process_time()
            function()
            rates[name].append(megabytes / (time.process_time() - start))
    plain_rate, fast_rate = (statistics.median(rates[name]) for name in ("plain", "fast"))
    print(
        f"\n8-grams: {fast_rate:.0f} MB/s, Python's re, join and hash {plain_rate:.1f}: {fast_rate / plain_rate:.1f}x"
    )


def bands_beside_polars(texts: list[str], rounds: int) -> None:
    """From keys to clusters: our sort beside Polars' group-by, on the same keys, one thread each."""
    if not importlib.util.find_spec("polars"):
        print("polars is not installed: left out")
        return
    import os

    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars

    sets = hashing.distinct(hashing.ngram_hashes(Texts.of(texts), WORDS))
    keys = np.tile(minhash.band_keys(sets, BANDS, ROWS), (20, 1))
    copies = np.repeat(np.arange(20, dtype=np.uint64), len(texts))
    keys ^= copies[:, None] << np.uint64(3)
    order = np.arange(len(keys))

    def sort() -> set[Pair]:
        return {tuple(p) for p in np.concatenate([sharing(keys[:, b].copy(), order) for b in range(BANDS)]).tolist()}

    def group() -> set[Pair]:
        found: set[Pair] = set()
        for band in range(BANDS):
            frame = polars.DataFrame({"key": keys[:, band], "row": order})
            members = frame.group_by("key").agg(polars.col("row").sort()).filter(polars.col("row").list.len() > 1)
            for rows in members["row"].to_list():
                found |= {(rows[0], row) for row in rows[1:]} | set(pairwise(rows))
        return found

    assert sort() == group()
    ratios = []
    for _ in range(rounds):
        start = time.process_time()
        sort()
        middle = time.process_time()
        group()
        ratios.append((time.process_time() - middle) / (middle - start))
    print(f"\npairs of {len(keys):,} documents by their keys: {statistics.median(ratios):.2f} x Polars")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, nargs="*", default=[])
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    texts, truth = with_copies(pieces(options.text, round(0.7 * options.documents)))
    near(texts, truth, options.rounds)
    grams(texts, options.rounds)
    bands_beside_polars(texts, options.rounds)


if __name__ == "__main__":
    main()
