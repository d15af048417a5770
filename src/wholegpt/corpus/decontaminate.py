"""Documents that hold text of evaluation sets, by the normalised 8-grams of section 4.

The 8-grams of each set stand in an index, and every document is read once against it. `report` counts and changes
nothing; `drop` leaves out documents in which at least `overlap_grams` 8-grams in a row stand in a set: with the default
of 6 a passage of 13 words, the length by which GPT-3's authors cleaned. Unstated in the paper: it measured the overlap
and removed nothing.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wholegpt import artifact, documents, evalsets
from wholegpt.corpus import records
from wholegpt.errors import UsageError
from wholegpt.ngrams.index import Index
from wholegpt.ngrams.words import Texts
from wholegpt.runner import Backend, Report, Shard, run

STAGE = "decontaminate"
WORDS = 8
MET, REPORT = "met.json", "overlap.json"
# Documents that are held against the indices together.
BATCH = 256


@dataclass(frozen=True)
class OverlapOptions:
    """What to hold documents against, and what then."""

    decontaminate: tuple[str, ...] = ()
    """Evaluation sets (lambada, wikitext2, ...) or files of text whose 8-grams are looked for in the documents."""
    overlap: Literal["report", "drop"] = "report"
    """Only count documents that hold text of a set, or leave them out."""
    overlap_grams: int = 6
    """What counts: so many 8-grams in a row; 6 are 13 words."""

    def __post_init__(self) -> None:
        if self.overlap_grams < 1:
            raise UsageError(f"--overlap-grams is {self.overlap_grams}, expected at least 1")


def index(options: OverlapOptions, folder: Path) -> list[Path]:
    """The sorted 8-grams of each set as a file; WholeGPTError where a set is missing."""
    found = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(options.decontaminate):
        path = folder / f"{number:03d}.npy"
        with artifact.whole_file(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, Index.of(texts_of(name), WORDS).grams)
        found.append(path)
    return found


def texts_of(name: str) -> Iterator[str]:
    """All text of an evaluation set that is here, or of a file of documents."""
    if Path(name).exists():
        for document in documents.read(Path(name)):
            yield document.text
        return
    for example in evalsets.find(name, offline=True).examples:
        yield from _strings(example)


def remove(
    files: Sequence[Path], indices: Sequence[Path], folder: Path, options: OverlapOptions, backend: Backend
) -> Report:
    """The documents of each file, with what overlaps counted or left out."""
    shards = [Shard(f"{number:05d}", (path, *indices)) for number, path in enumerate(files)]
    return run(compare, shards, folder / "compare", options, backend).whole()


def report(found: Report, options: OverlapOptions) -> dict[str, Any]:
    """Of each set: its 8-grams, how many of them some document holds, and documents with a passage of it."""
    met: dict[str, set[int]] = {name: set() for name in options.decontaminate}
    grams: dict[str, int] = {}
    for folder in found.folders:
        for name, of_set in artifact.read_json(folder / MET).items():
            met[name] |= set(of_set["met"])
            grams[name] = of_set["grams"]
    return {
        name: {
            "grams": grams.get(name, 0),
            "met": len(places),
            "percent": round(100 * len(places) / max(1, grams.get(name, 0)), 3),
            "documents": found.counts[f"overlap/{name}"],
        }
        for name, places in met.items()
    }


def compare(shard: Shard, folder: Path, options: OverlapOptions) -> dict[str, int]:
    """Stage: hold the documents of a file against each set."""
    indices = [Index(np.load(path), WORDS) for path in shard.inputs[1:]]
    counts: Counter[str] = Counter({f"{STAGE}/in": 0, f"{STAGE}/out": 0})
    with (
        records.writer(folder / records.DOCUMENTS) as kept,
        records.writer(folder / records.REJECTS, records.REJECT) as rejects,
    ):
        for rows in _batches(records.rows(shard.inputs[:1])):
            texts = Texts.of([row["text"] for row in rows])
            longest = np.stack([one.search(texts).longest for one in indices])
            for row, runs in zip(rows, longest.T.tolist(), strict=True):
                hit = [
                    name for name, run in zip(options.decontaminate, runs, strict=True) if run >= options.overlap_grams
                ]
                counts.update(f"overlap/{name}" for name in hit)
                counts[f"{STAGE}/in"] += 1
                if hit and options.overlap == "drop":
                    rejects.write({**row, "stage": STAGE, "reason": f"holds {hit[0]}"})
                    counts[f"{STAGE}/reason/holds-{hit[0]}"] += 1
                else:
                    kept.write(row)
                    counts[f"{STAGE}/out"] += 1
    met = {
        name: {"grams": len(one.grams), "met": np.flatnonzero(one.met).tolist()}
        for name, one in zip(options.decontaminate, indices, strict=True)
    }
    artifact.write_json(folder / MET, met)
    return dict(counts)


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _strings(value: Any) -> Iterator[str]:
    """All text in an example, whatever its shape."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _strings(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
