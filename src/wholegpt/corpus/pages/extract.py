"""The first stages of `corpus build`: pages to documents, one shard at a time.

    read       what the archives and files hold, and what of it is a page
    extract    its text, in a process that is killed where a page makes it hang or crash
    language   the language of the text, among those wanted
    quality    rules (`quality.RULES`)
    wikipedia  its pages, copies, and pages that name it as their origin

Counts are named `STAGE/in`, `STAGE/out` and `STAGE/reason/NAME`; in - out is the sum of the reasons.
"""

import atexit
import hashlib
import os
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from wholegpt.corpus import records
from wholegpt.corpus.pages import language, quality, wikipedia
from wholegpt.corpus.pages.killable import Crashed, Hung, Killable
from wholegpt.errors import UsageError, missing_extra
from wholegpt.progress import say
from wholegpt.runner import Shard

if TYPE_CHECKING:
    from wholegpt.corpus.pages.reading import Found, Page

STAGES = ("read", "extract", "language", "quality", "wikipedia")
PACKAGES = ("trafilatura", "fastwarc", "py3langid", "w3lib")

ExtractorName = Literal["trafilatura-fast", "trafilatura", "trafilatura-precision", "paragraphs", "paper"]


@dataclass(frozen=True)
class PageOptions:
    """How pages become documents."""

    extractor: ExtractorName = "trafilatura-fast"
    """How the text of a page is found (`extractors`)."""
    languages: tuple[str, ...] = ("en",)
    """Languages to keep (ISO 639), or all."""
    without_rules: tuple[str, ...] = ()
    """Rules of quality that are not asked."""
    page_seconds: float = 2.0
    """Time for one page [seconds]; then its process is killed."""
    page_bytes: int = 10_000_000
    """Largest page, decompressed [bytes]."""

    def __post_init__(self) -> None:
        if self.page_seconds <= 0 or self.page_bytes < 1:
            raise UsageError(f"a page needs time and room, not {self.page_seconds} s and {self.page_bytes} bytes")
        quality.check(self.without_rules)
        language.check(self.languages)


class Verdict(NamedTuple):
    """Why a page is no document: the stage that dropped it, the reason, and what there is to say besides."""

    stage: str
    reason: str
    explanation: str = ""


KEPT = Verdict("", "")


def pages_to_documents(shard: Shard, folder: Path, options: PageOptions) -> dict[str, int]:
    """The documents of a shard (`shards`), and what was dropped with the reason; a stage for `runner.run`.

    A dropped text stands in the rejects; for one that was not extracted there is the explanation, if any.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise missing_extra(package, "corpus")
    from wholegpt.corpus.pages import reading

    counts: Counter[str] = Counter()
    with (
        records.writer(folder / records.DOCUMENTS) as documents,
        records.writer(folder / records.REJECTS, records.REJECT) as rejects,
    ):
        for found in reading.read(shard, options.page_bytes):
            row: dict[str, Any] = {"text": "", "url": found.url}
            verdict = _document(found, row, options)
            _count(counts, verdict)
            if verdict.stage:
                rejects.write({**row, **verdict._asdict(), "text": row["text"] or verdict.explanation})
            else:
                documents.write(row)
    return dict(counts)


def _document(found: "Found", row: dict[str, Any], options: PageOptions) -> Verdict:
    """Make the row of a document as far as it comes."""
    from wholegpt.corpus.pages.reading import Skipped

    if isinstance(found, Skipped):
        if found.explanation.startswith(found.url):  # of a whole file
            say(found.explanation)
        return Verdict("read", found.reason, found.explanation)
    try:
        row["text"], canonical = _extract(found, options)
    except (Hung, Crashed) as error:
        return Verdict("extract", "time-out" if isinstance(error, Hung) else "crash")
    if not row["text"]:
        return Verdict("extract", "no-text")
    _describe(row, found, canonical, options)
    return judge(row, canonical, options)


def judge(row: dict[str, Any], canonical: str, options: PageOptions) -> Verdict:
    """What the stages after `extract` say of a text with its address; the language is put into the row."""
    row["language"], row["language_score"] = language.identify(row["text"])
    if reason := language.fault(row["language"], options.languages):
        return Verdict("language", reason)
    if reason := quality.reason(row["text"], options.without_rules):
        return Verdict("quality", reason)
    return Verdict("wikipedia", reason) if (reason := wikipedia.reason(row["url"], canonical)) else KEPT


def _extract(page: "Page", options: PageOptions) -> tuple[str, str]:
    """The text of a page and its canonical address."""
    if page.is_text:
        return page.body.decode(errors="replace").replace("\0", "").strip(), ""
    message = page.content_type.encode() + b"\n" + page.body
    answer = _extractor(options.extractor, os.getpid()).call(message, options.page_seconds)
    text, canonical = orjson.loads(answer)
    return text, canonical


@cache
def _extractor(name: str, _process: int) -> Killable:
    """The process that extracts: one for all shards of a process (and no process shares its parent's)."""
    extractor = Killable([sys.executable, "-P", "-m", "wholegpt.corpus.pages.extractors", name])
    atexit.register(extractor.close)
    return extractor


def _describe(row: dict[str, Any], page: "Page", canonical: str, options: PageOptions) -> None:
    """The columns beside the text; a file's address is the one that it names."""
    url = page.url or canonical
    row.update(
        id=hashlib.blake2b(f"{url}\n{row['text']}".encode(), digest_size=16).hexdigest(),
        url=url,
        host=wikipedia.host(url),
        date=page.date,
        karma=page.karma,
        extractor="wet" if page.is_text else options.extractor,
        source_sha256=page.sha256,
        extra=orjson.dumps({"submission": page.submission}).decode() if page.submission else "",
    )


def _count(counts: Counter[str], verdict: Verdict) -> None:
    for stage in STAGES:
        counts[f"{stage}/in"] += 1
        if stage == verdict.stage:
            counts[f"{stage}/reason/{verdict.reason}"] += 1
            return
        counts[f"{stage}/out"] += 1
