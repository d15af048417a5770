"""The last stage of `corpus build`: documents to a training and a held-out part, split once and for all.

Whether something is held out depends on its text and the seed alone. A document of more than `LONG_DOCUMENT_PASSAGES`
passages (a book in one file) is held out by passage, the rest by document: the passages between two held-out ones stay
together.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from wholegpt import artifact, documents
from wholegpt.corpus import records
from wholegpt.documents import HELD_OUT, TRAIN
from wholegpt.runner import Backend, Report, Shard, run

LONG_DOCUMENT_PASSAGES = 5
LOWEST = "lowest.json"
Row = dict[str, Any]


@dataclass(frozen=True)
class SplitOptions:
    """What decides the parts."""

    held_out: float
    passage_characters: int
    seed: int


def split(found: list[Path], folder: Path, options: SplitOptions, backend: Backend) -> Report:
    """Split each file of documents into `train.parquet` and `heldout.parquet`, in a folder of its own; none is empty.

    Where the fraction holds nothing out, the text nearest to it is.
    """
    shards = [Shard(f"{number:05d}", (path,)) for number, path in enumerate(found)]
    report = run(split_shard, shards, folder, options, backend).whole()
    if not report.counts[f"{HELD_OUT}/documents"]:
        lowest = min((artifact.read_json(done / LOWEST) for done in report.folders), default=1.0)
        report = run(split_shard, shards, folder, replace(options, held_out=lowest + 2**-53), backend).whole()
    return report


def split_shard(shard: Shard, folder: Path, options: SplitOptions) -> dict[str, int]:
    """Stage: the documents of one file to its two parts; counts documents, characters, bytes and words of each."""
    counts: Counter[str] = Counter()
    lowest = 1.0
    with ExitStack() as stack:
        paths = {part: folder / f"{part}.parquet" for part in (TRAIN, HELD_OUT)}
        writers = {part: stack.enter_context(records.writer(path)) for part, path in paths.items()}
        for row in records.rows(shard.inputs):
            shares, pieces = _pieces(row, options)
            lowest = min(lowest, *shares)
            for part, piece in pieces:
                writers[part].write(piece)
                counts.update(_sizes(part, piece["text"]))
    for part, path in paths.items():
        if not writers[part].rows:
            path.unlink()
    artifact.write_json(folder / LOWEST, lowest)
    return dict(counts)


def _pieces(row: Row, options: SplitOptions) -> tuple[list[float], list[tuple[str, Row]]]:
    """The shares of a document's passages, and the document, or its pieces, with the part of each."""
    passages = _passages(row["text"], options)
    shares = [documents.share(passage, options.seed) for passage in passages]
    held = [share < options.held_out for share in shares]
    if len(set(held)) == 1:
        return shares, [(HELD_OUT if held[0] else TRAIN, row)]
    return shares, list(_runs(row, passages, held))


def _runs(row: Row, passages: list[str], held: list[bool]) -> Iterator[tuple[str, Row]]:
    for is_held, group in groupby(range(len(passages)), key=held.__getitem__):
        indices = list(group)
        text = "".join(passages[index] for index in indices).strip("\n")
        if text.strip():
            identifier = f"{row['id']}#{indices[0]}-{indices[-1]}"
            yield HELD_OUT if is_held else TRAIN, {**row, "text": text, "id": identifier}


def _passages(text: str, options: SplitOptions) -> list[str]:
    """What is held out or not: the passages of a long document, else the document."""
    if len(text) <= LONG_DOCUMENT_PASSAGES * options.passage_characters:
        return [text]
    return documents.passages(text, options.passage_characters)


def _sizes(part: str, text: str) -> dict[str, int]:
    return {
        f"{part}/documents": 1,
        f"{part}/characters": len(text),
        f"{part}/bytes": len(text.encode()),
        f"{part}/words": len(text.split()),
    }
