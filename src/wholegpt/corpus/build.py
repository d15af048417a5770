"""`wholegpt corpus build`: web pages and text to documents, one stage after another, a part held out at the end.

    read, extract, language, quality, wikipedia          of one page at a time (`extract`)
    exact-duplicates, near-duplicates, decontaminate     of all documents together
    parts                                                the training and the held-out part (`parts`)

    corpus/
    ├── part-00000.parquet ...      documents to learn from (columns: `records.DOCUMENT`)
    ├── heldout-00000.parquet ...   held out from them
    ├── funnel.json                 of each stage what went in, what came out, and why the rest did not
    ├── rejects/                    what was left out, with its stage and reason
    └── tables.json, CARD.md        hosts, languages, lengths; what whoever gets the corpus should know

Text that is given as such is taken as it is, but for blank documents and exact copies. `--filter-text` asks of it what
is asked of pages.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from wholegpt import artifact
from wholegpt.artifact import PLAN, STATE, Artifact
from wholegpt.corpus import builtin, card, decontaminate, funnel, given, parts, records
from wholegpt.corpus.decontaminate import OverlapOptions
from wholegpt.corpus.duplicates import exact_duplicates, near_duplicates
from wholegpt.corpus.duplicates.near_duplicates import NearOptions
from wholegpt.corpus.given import GivenOptions
from wholegpt.corpus.pages import shards as page_shards
from wholegpt.corpus.pages.extract import STAGES as PAGE_STAGES
from wholegpt.corpus.pages.extract import PageOptions, pages_to_documents
from wholegpt.corpus.parts import SplitOptions
from wholegpt.documents import FILES_OF, HELD_OUT, TRAIN
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.progress import say
from wholegpt.runner import Backend, Report, place, run, writing

STAGES = (*PAGE_STAGES, exact_duplicates.STAGE, near_duplicates.STAGE, decontaminate.STAGE)
REJECTS_FOLDER = "rejects"


@dataclass(frozen=True)
class BuildOptions:
    """Turn web pages and text into documents, and hold a part of them out before anything is learnt (section 2.1)."""

    inputs: tyro.conf.Positional[tuple[str, ...]]
    """WARC, WET, HTML, .txt, .jsonl(.gz/.zst), .parquet, folders of them, or builtin:kjv, builtin:python."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write; an interrupted work in it is resumed."""
    pages: Annotated[PageOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=PageOptions)
    near: Annotated[NearOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=NearOptions)
    against: Annotated[OverlapOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=OverlapOptions)
    filter_text: bool = False
    """Ask of text that is given as such what is asked of pages: language, quality, near-duplicates."""
    held_out: float = 0.05
    """Fraction held out (the paper: 5 %)."""
    passage_characters: int = 4000
    """Length of the passages by which long documents are held out [characters]."""
    seed: int = 0
    """Decides what is held out."""
    contact: str = ""
    """Whom to ask for the removal of a text: an address for the corpus card."""
    backend: Annotated[Backend, tyro.conf.OmitArgPrefixes] = field(default_factory=Backend)
    overwrite: bool = False
    """Replace a corpus made otherwise."""

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UsageError(f"--held-out is {self.held_out}, expected a fraction between 0 and 1")
        if self.passage_characters < 1:
            raise UsageError(f"--passage-characters is {self.passage_characters}, expected at least 1")


def build(options: BuildOptions) -> Artifact:
    """Write the corpus; the manifest counts documents, characters, bytes and words of both parts.

    Killed at any moment, the same command goes on where it was.
    """
    inputs = [builtin.source(name) if name.startswith(builtin.PREFIX) else Path(name) for name in options.inputs]
    against = [Path(name) for name in options.against.decontaminate if Path(name).exists()]
    corpus = Artifact(
        options.output, "corpus build", options, [*inputs, *against], options.overwrite, incidental=("backend",)
    )
    if corpus.exists():
        say(f"{options.output} is there already")
        return corpus
    with writing(corpus, options.backend) as folder:
        reports, split = _stages(folder, options)
        if options.backend.leads:
            corpus.counts = _publish(folder, reports, split, options)
    return corpus


def _stages(folder: Path, options: BuildOptions) -> tuple[list[Report], Report]:
    """All stages, one after the other: reports of those that drop documents, and of the last."""
    state, backend = folder / STATE, options.backend
    indices = decontaminate.index(options.against, state / "index", backend) if options.against.decontaminate else []
    pages, texts = _kinds(options.inputs)
    as_given = GivenOptions(options.filter_text, options.pages.languages, options.pages.without_rules)
    of_pages = run(pages_to_documents, page_shards.shards(pages), state / "pages", options.pages, backend)
    of_texts = run(given.take, given.shards(texts), state / "given", as_given, backend)
    if not (of_pages.folders or of_texts.folders):
        (folder / PLAN).unlink(missing_ok=True)
        raise WholeGPTError(*(of_pages.faults() + of_texts.faults())[:1] or ["no documents were given"])
    count = of_pages.counts[f"{PAGE_STAGES[-1]}/out"] + of_texts.counts["read/out"]
    exact = exact_duplicates.remove(_documents(of_pages, of_texts), state / "exact", count, backend)
    compared, spared = _documents(exact), []
    if not options.filter_text:  # copies among pages alone
        compared, spared = compared[: len(of_pages.folders)], compared[len(of_pages.folders) :]
    near = near_duplicates.remove(compared, state / "near", options.near, backend) if compared else Report()
    reports, found = [of_pages, of_texts, exact, near], _documents(near) + spared
    if indices:
        overlap = decontaminate.remove(found, indices, state / "overlap", options.against, backend)
        reports, found = [*reports, overlap], _documents(overlap)
    how = SplitOptions(options.held_out, options.passage_characters, options.seed)
    return reports, parts.split(found, state / "parts", how, backend)


def _kinds(inputs: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The inputs that hold pages, and those that hold text."""
    pages = [Path(name) for name in inputs if not name.startswith(builtin.PREFIX) and page_shards.holds(Path(name))]
    return pages, [name for name in inputs if Path(name) not in pages]


def _documents(*reports: Report) -> list[Path]:
    return [done / records.DOCUMENTS for report in reports for done in report.folders]


def _publish(folder: Path, reports: Sequence[Report], split: Report, options: BuildOptions) -> dict[str, Any]:
    """Give the results their names, describe them, and count the parts."""
    counts = {
        part: {name: split.counts[f"{part}/{name}"] for name in ("documents", "characters", "bytes", "words")}
        for part in (TRAIN, HELD_OUT)
    }
    for part, of_part in counts.items():
        if not of_part["documents"]:
            (folder / PLAN).unlink()  # so that the next command, with other options, may start anew
            raise WholeGPTError(
                f"the text is too short to hold a part of it out: the {part} part would be empty; "
                f"give more text, or smaller --passage-characters (now {options.passage_characters})"
            )
    for part, name in FILES_OF.items():
        for number, done in enumerate(split.folders):
            if (done / f"{part}.parquet").exists():  # none where nothing came out
                place(done / f"{part}.parquet", folder / f"{name}{number:05d}.parquet")
    shutil.rmtree(folder / REJECTS_FOLDER, ignore_errors=True)
    (folder / REJECTS_FOLDER).mkdir()
    for report in reports:
        for done in report.folders:
            stage = done.relative_to(folder / STATE).parts[0]
            place(done / records.REJECTS, folder / REJECTS_FOLDER / f"{stage}-{done.name}.parquet")
    total = sum((report.counts for report in reports), Counter())
    rows = funnel.funnel(total, STAGES)
    funnel.write(folder, rows)
    if options.against.decontaminate:
        artifact.write_json(folder / decontaminate.REPORT, decontaminate.report(reports[-1], options.against))
    card.write(folder, folder / STATE, counts, rows, options.inputs, options.contact)
    failed = [name for report in reports for name in report.failed]
    if failed:
        say(f"{len(failed)} pieces of the input failed for good and are missing: {', '.join(failed[:5])}")
    return {**counts, **({"failed": failed} if failed else {})}
