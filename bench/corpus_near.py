"""Near-duplicates beside other people's: recall by share of edited words, wrong merges, processor time of one thread.

    python bench/corpus_near.py [--text corpus-000.jsonl.zst ...] [--documents 4000] [--rounds 3] [--sections near]

Texts are cut from books into documents of about 2.3 KB; 30 % of them are copies with 0, 2, 5 or 10 % of their words
replaced. Each finder says which pairs are alike (14 bands of 8 rows, word 5-grams); clusters are the components. A copy
is recalled if it is in its original's cluster, a merge is wrong if a cluster has two originals. Figures are medians
over rounds in which the finders take turns, of the processor time of the process; a ratio above 1 says how many times
faster we are.
Peers that are not installed are left out and named: datasketch, rensa, gaoya, datatrove (with spacy), polars, dask.
"""

import argparse
import importlib.util
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from peers import duplicates
from peers.duplicates import BANDS, ROWS, THRESHOLD, Pair

from wholegpt import documents
from wholegpt.corpus import builtin, records
from wholegpt.corpus.duplicates import keeping, near_duplicates
from wholegpt.corpus.duplicates.near_duplicates import WORDS, NearOptions, components, sharing
from wholegpt.ngrams import hashing, minhash
from wholegpt.ngrams.index import Index
from wholegpt.ngrams.words import Texts
from wholegpt.runner import Backend, Report, Shard
from wholegpt.runner.work import Task, attempt, stage_name

EDITS = (0.0, 0.02, 0.05, 0.10)
CHARACTERS = 2300
BATCH = 256


def pieces(paths: list[Path], count: int) -> list[str]:
    """Documents of about 2.3 KB out of books, cut at spaces, each different."""
    found: dict[str, None] = {}
    source = (document for path in paths for document in documents.read(path)) if paths else builtin.read("builtin:kjv")
    for document in source:
        if document.metadata.get("kind", "book") not in ("book", "story"):
            continue
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


def signatures(texts: list[str], rounds: int) -> None:
    """The step from text to signatures beside datatrove's, on few documents, and without its files."""
    if not all(map(importlib.util.find_spec, ("datatrove", "spacy"))):
        print("datatrove with spacy is not installed: left out")
        return
    theirs = duplicates.datatrove()
    theirs(texts[0])
    few = texts[:200]
    ratios, rate = [], 0.0
    for _ in range(rounds):
        start = time.process_time()
        minhash.band_keys(hashing.ngram_hashes(Texts.of(texts), WORDS), BANDS, ROWS)
        middle = time.process_time()
        for text in few:
            theirs(text)
        rate = len(few) / (time.process_time() - middle)
        ratios.append(len(texts) / (middle - start) / rate)
    print(f"\nsignatures: {statistics.median(ratios):,.0f} x datatrove's ({rate:.0f} documents/s)")


def bands(texts: list[str], rounds: int) -> None:
    """From the keys of twenty times as many documents to clusters: our sort beside Polars and Dask, one thread each."""
    peers = [name for name in duplicates.EDGES if importlib.util.find_spec(name)]
    keys = np.tile(minhash.band_keys(hashing.ngram_hashes(Texts.of(texts), WORDS), BANDS, ROWS), (20, 1))
    keys ^= np.repeat(np.arange(20, dtype=np.uint64), len(texts))[:, None] << np.uint64(3)
    order, by_band = np.arange(len(keys), dtype=np.int32), np.ascontiguousarray(keys.T)

    def sort() -> dict[int, int]:
        pairs = np.zeros((0, 2), np.int64)
        for band in by_band:
            pairs = near_duplicates.unique(np.concatenate([pairs, sharing(band, order)]))
        return components(pairs, order)

    found, ratios = sort(), {name: list[float]() for name in peers}
    for number in range(rounds + 1):
        start = time.process_time()
        sort()
        seconds = time.process_time() - start
        for name in peers:
            start = time.process_time()
            same = components(duplicates.EDGES[name](by_band, order), order) == found
            assert same, name
            if number:  # the first round loads code
                ratios[name].append((time.process_time() - start) / seconds)
    shown = ", ".join(f"{statistics.median(times):.2f} x {name}" for name, times in ratios.items())
    print(f"\nclusters of {len(keys):,} documents by their keys, the same from all: {shown}")


def stage(texts: list[str], rounds: int) -> None:
    """Files of documents to files without near-duplicates in one process: all our stages, which keep what they made in
    files and read the text twice, beside the same in memory with Polars or Dask, by our keys and our check."""
    near.run = keeping.run = in_this_process  # type: ignore[attr-defined]
    peers = [name for name in duplicates.EDGES if importlib.util.find_spec(name)]
    print("\nfiles to files, processor time: ", end="")
    with tempfile.TemporaryDirectory() as folder:
        files = write_documents(texts, Path(folder))
        ratios: dict[str, list[float]] = {name: [] for name in peers}
        kept: dict[str, int] = {}
        for number in range(rounds + 1):
            start = time.process_time()
            report = near_duplicates.remove(files, Path(folder) / f"out{number}", NearOptions(), Backend())
            seconds = time.process_time() - start
            kept["wholegpt"] = report.counts["near-duplicates/out"]
            for name in peers:
                start = time.process_time()
                kept[name] = duplicates.stage(files, Path(folder) / f"{name}{number}", duplicates.EDGES[name])
                if number:  # the first round loads code
                    ratios[name].append((time.process_time() - start) / seconds)
    print(", ".join(f"{statistics.median(found):.2f} x {name}" for name, found in ratios.items()))
    print(f"{len(texts):,} documents, kept: {', '.join(f'{count:,} {name}' for name, count in kept.items())}")


def write_documents(texts: list[str], folder: Path) -> list[Path]:
    """The texts as eight files of the corpus."""
    files = [folder / f"{number}.parquet" for number in range(8)]
    for number, file in enumerate(files):
        with records.writer(file) as writer:
            for index in range(number, len(texts), len(files)):
                writer.write({"text": texts[index], "id": f"{index:08d}", "url": f"http://example.org/{index}"})
    return files


def in_this_process(
    function: Callable[..., dict[str, int]], shards: list[Shard], output: Path, options: object, _backend: Backend
) -> Report:
    """`runner.run` without workers, whose processor time would be missing here."""
    output.mkdir(parents=True, exist_ok=True)
    report = Report()
    for shard in shards:
        outcome = attempt(Task(stage_name(function), shard, options, output, "", shard.size()))
        assert outcome.counts is not None, outcome.traceback
        report.folders.append(output / shard.name)
        report.counts.update(outcome.counts)
    return report


def search(texts: list[str], rounds: int) -> None:
    """The pass over training text against an index of 2 million 8-grams, none of which it holds."""
    index = Index(np.random.default_rng(1).integers(-(2**63), 2**63, 2_000_000), 8)
    megabytes, rates = sum(len(text.encode()) for text in texts) / 1e6, []
    index.search(Texts.of(texts[:9]))
    for _ in range(rounds):
        start = time.process_time()
        hits = sum(int(index.search(Texts.of(texts[at : at + BATCH])).hits.sum()) for at in range(0, len(texts), BATCH))
        rates.append(megabytes / (time.process_time() - start))
    print(f"held against 2,000,000 8-grams: {statistics.median(rates):.0f} MB/s, {hits} false hits")


SECTIONS: dict[str, Callable[..., None]] = {
    "near": near, "grams": grams, "search": search, "signatures": signatures, "bands": bands,
    "stage": stage,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, nargs="*", default=[])
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=[*SECTIONS])
    options = parser.parse_args()
    texts, truth = with_copies(pieces(options.text, round(0.7 * options.documents)))
    if "near" in options.sections:
        near(texts, truth, options.rounds)
    for name in options.sections:
        if name != "near":
            SECTIONS[name](texts, options.rounds)


if __name__ == "__main__":
    main()
