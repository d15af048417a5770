"""`wholegpt corpus build`: documents from files, split once and for all into a training and a held-out part.

Writes `train.jsonl.zst` and `heldout.jsonl.zst`. Whether something is held out depends on its text and the seed
alone. A document of more than `LONG_DOCUMENT_PASSAGES` passages (a book in one file) is held out by passage, the rest
by document: the passages between two held-out ones stay together.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Annotated

import tyro

from wholegpt import documents
from wholegpt.artifact import Artifact
from wholegpt.corpus import builtin
from wholegpt.documents import HELD_OUT, TRAIN, Document
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.progress import bar, say

LONG_DOCUMENT_PASSAGES = 5


@dataclass(frozen=True)
class BuildOptions:
    """Collect documents and hold a part of them out before anything is learnt (section 2.1)."""

    inputs: tyro.conf.Positional[tuple[str, ...]]
    """Files or folders of .txt, .jsonl(.gz/.zst), .parquet, or builtin:kjv, builtin:python."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    held_out: float = 0.05
    """Fraction held out (the paper: 5 %)."""
    passage_characters: int = 4000
    """Length of the passages by which long documents are held out [characters]."""
    seed: int = 0
    """Decides what is held out."""
    overwrite: bool = False
    """Replace a corpus made otherwise."""

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UsageError(f"--held-out is {self.held_out}, expected a fraction between 0 and 1")
        if self.passage_characters < 1:
            raise UsageError(f"--passage-characters is {self.passage_characters}, expected at least 1")


def build(options: BuildOptions) -> Artifact:
    """Write the corpus; counts of both parts stand in the manifest."""
    inputs = [builtin.source(name) if name.startswith(builtin.PREFIX) else Path(name) for name in options.inputs]
    artifact = Artifact(options.output, "corpus build", options, inputs, options.overwrite)
    if artifact.exists():
        say(f"{options.output} is there already")
        return artifact
    with artifact.write() as folder, ExitStack() as stack:
        parts = {
            part: stack.enter_context(documents.writer(folder / f"{part}.jsonl.zst")) for part in (TRAIN, HELD_OUT)
        }
        progress = stack.enter_context(bar("documents", None, "documents"))
        # While nothing is held out: the document nearest to it, and its copies.
        spares: list[Document] = []
        spare_share = 1.0
        for document in chain.from_iterable(_read(name) for name in options.inputs):
            progress.advance()
            if not document.text.strip():
                continue
            lowest = _lowest_share(document, options)
            if parts[HELD_OUT].documents or lowest < options.held_out or lowest > spare_share:
                _write([document], options.held_out, options, parts)
            elif lowest == spare_share:
                spares.append(document)
            else:
                _write(spares, options.held_out, options, parts)
                spares, spare_share = [document], lowest
        # Just above their lowest share, if nothing else was held out.
        threshold = options.held_out if parts[HELD_OUT].documents else spare_share + 2**-53
        _write(spares, threshold, options, parts)
        artifact.counts = {part: writer.counts() for part, writer in parts.items()}
        for part, counts in artifact.counts.items():
            if not counts["documents"]:
                raise WholeGPTError(
                    f"the text is too short to hold a part of it out: the {part} part would be empty; "
                    f"give more text, or smaller --passage-characters (now {options.passage_characters})"
                )
    return artifact


def _read(name: str) -> Iterator[Document]:
    return builtin.read(name) if name.startswith(builtin.PREFIX) else documents.read(Path(name))


def _write(texts: list[Document], threshold: float, options: BuildOptions, parts: dict[str, documents.Writer]) -> None:
    """Write each document, or the pieces of a long one, to the part they belong to."""
    for document in texts:
        passages = _passages(document, options)
        held = [documents.share(passage, options.seed) < threshold for passage in passages]
        if len(set(held)) == 1:
            parts[HELD_OUT if held[0] else TRAIN].write(document)
            continue
        for is_held, group in groupby(range(len(passages)), key=held.__getitem__):
            indices = list(group)
            text = "".join(passages[index] for index in indices).strip("\n")
            if text.strip():
                identifier = f"{document.id}#{indices[0]}-{indices[-1]}"
                parts[HELD_OUT if is_held else TRAIN].write(replace(document, text=text, id=identifier))


def _lowest_share(document: Document, options: BuildOptions) -> float:
    return min(documents.share(passage, options.seed) for passage in _passages(document, options))


def _passages(document: Document, options: BuildOptions) -> list[str]:
    """What is held out or not: the passages of a long document, else the document."""
    if len(document.text) <= LONG_DOCUMENT_PASSAGES * options.passage_characters:
        return [document.text]
    return documents.passages(document.text, options.passage_characters)
