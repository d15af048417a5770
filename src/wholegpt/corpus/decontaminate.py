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
from wholegpt.corpus.duplicates import keeping
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.ngrams.index import Index
from wholegpt.ngrams.words import Texts
from wholegpt.runner import Backend, Report, Shard, run

STAGE = "decontaminate"
WORDS = 8
GRAMS, MET, REPORT = "grams.npy", "met.json", "overlap.json"


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


def index(options: OverlapOptions, folder: Path, backend: Backend) -> list[Path]:
    """The sorted 8-grams of each set as a file; WholeGPTError where a set is missing."""
    shards = [
        Shard(f"{number:03d}", tuple(path for path in [Path(name)] if path.exists()), (name,))
        for number, name in enumerate(options.decontaminate)
    ]
    return [done / GRAMS for done in run(index_set, shards, folder, options, backend).whole().folders]


def index_set(shard: Shard, folder: Path, _options: OverlapOptions) -> dict[str, int]:
    """Stage: the 8-grams of a set, sorted."""
    name = str(shard.values[0])
    grams = Index.of(texts_of(str(shard.inputs[0]) if shard.inputs else name), WORDS).grams
    if not len(grams):
        raise WholeGPTError(f"{name} holds no text of {WORDS} words: nothing can be held against it")
    np.save(folder / GRAMS, grams)
    return {"grams": len(grams)}


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
    sets = {name: np.load(path) for name, path in zip(options.decontaminate, shard.inputs[1:], strict=True)}
    indices = {name: Index(grams, WORDS) for name, grams in sets.items()}
    # Each text is held against all sets at once; the few with a passage of some set, against each.
    everything = Index(np.concatenate([*sets.values()]), WORDS)
    counts: Counter[str] = Counter({f"{STAGE}/in": 0, f"{STAGE}/out": 0})
    with keeping.sides(folder) as writers:
        for _, group in keeping.groups(shard.inputs[0]):
            longest = everything.search(Texts.of_arrow(group["text"])).longest
            near = np.flatnonzero(longest >= options.overlap_grams).tolist()
            held = {row: names for row in near if (names := _holds(group["text"][row].as_py(), indices, options))}
            counts.update(f"overlap/{name}" for names in held.values() for name in names)
            first = {row: names[0] for row, names in held.items()} if options.overlap == "drop" else {}
            reasons = [f"holds {name}" for name in first.values()]
            keeping.part(group, np.array([*first], np.int64), STAGE, reasons, writers)
            counts.update(f"{STAGE}/reason/holds-{name}" for name in first.values())
            counts.update({f"{STAGE}/in": len(group), f"{STAGE}/out": len(group) - len(first)})
    met = everything.met()
    places = {name: np.flatnonzero(np.isin(grams, met, assume_unique=True)).tolist() for name, grams in sets.items()}
    artifact.write_json(folder / MET, {name: {"grams": len(sets[name]), "met": places[name]} for name in sets})
    return dict(counts)


def _holds(text: str, indices: dict[str, Index], options: OverlapOptions) -> list[str]:
    """The sets of which a text holds a passage."""
    texts = Texts.of([text])
    return [name for name, one in indices.items() if one.search(texts).longest[0] >= options.overlap_grams]


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
