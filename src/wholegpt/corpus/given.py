"""The first stage of `corpus build` for text that is given as such: documents of any format to the table of records.

They stay as they are; blank ones are left out. Known fields (date, karma, host, language ...) go into their columns,
whatever else a document has into `extra`, as JSON.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from wholegpt import documents
from wholegpt.corpus import builtin, records
from wholegpt.corpus.pages import language, quality
from wholegpt.documents import Document
from wholegpt.runner import Shard

# Files of a shard: enough for the work to be worth a process, few enough for many processes.
FILES = 1_000
BYTES = 64_000_000
STAGES = ("read", "language", "quality")
COLUMNS = {field.name: field.type for field in records.DOCUMENT}
OWN = {"text", "id", "url", "extra"}


def shards(inputs: Sequence[str]) -> list[Shard]:
    """The inputs in pieces: built-in texts, large files each by itself, small files of an input together."""
    found: list[Shard] = []

    def add(files: list[Path], name: str = "") -> None:
        found.append(Shard(f"given-{len(found):05d}", tuple(files), (name,)))

    for name in inputs:
        if name.startswith(builtin.PREFIX):
            add([builtin.source(name)], name)
            continue
        gathered: list[Path] = []
        for file in documents.files(Path(name)):
            gathered.append(file)
            if len(gathered) == FILES or sum(path.stat().st_size for path in gathered) >= BYTES:
                add(gathered)
                gathered = []
        if gathered:
            add(gathered)
    return found


@dataclass(frozen=True)
class GivenOptions:
    """Whether the text is filtered, and how."""

    filtered: bool
    languages: tuple[str, ...]
    without_rules: tuple[str, ...]


def take(shard: Shard, folder: Path, options: GivenOptions) -> dict[str, int]:
    """Stage: the documents of some files, and those that were left out with their reasons."""
    counts: Counter[str] = Counter()
    with (
        records.writer(folder / records.DOCUMENTS) as writer,
        records.writer(folder / records.REJECTS, records.REJECT) as rejects,
    ):
        for document in _read(shard):
            found = row(document)
            stage, reason = _fault(found, options)
            if stage:
                rejects.write({**found, "stage": stage, "reason": reason})
            else:
                writer.write(found)
            for passed in STAGES if options.filtered else STAGES[:1]:
                counts[f"{passed}/in"] += 1
                if passed == stage:
                    counts[f"{passed}/reason/{reason}"] += 1
                    break
                counts[f"{passed}/out"] += 1
    return dict(counts)


def _fault(found: dict[str, Any], options: GivenOptions) -> tuple[str, str]:
    """The stage that leaves a document out, and why; nothing for one that stays. Fills in the language."""
    if not found["text"].strip():
        return "read", "blank"
    if not options.filtered:
        return "", ""
    found["language"], found["language_score"] = language.identify(found["text"])
    if fault := language.fault(found["language"], options.languages):
        return "language", fault
    fault = quality.reason(found["text"], options.without_rules)
    return ("quality", fault) if fault else ("", "")


def _read(shard: Shard) -> Iterator[Document]:
    name = str(shard.values[0])
    if name:
        yield from builtin.read(name)
        return
    for file in shard.inputs:
        yield from documents.read(file)


def row(document: Document) -> dict[str, Any]:
    """A document as a row of the table.

    >>> row(Document("text", "1", "http://a.org/b", {"karma": 5, "title": "t"}))["host"]
    'a.org'
    """
    known = {key: value for key, value in document.metadata.items() if _fits(key, value)}
    rest = {key: value for key, value in document.metadata.items() if key not in known}
    extra = orjson.dumps(rest, default=str).decode() if rest else ""
    return {
        "host": _host(document.url),
        **known,
        "text": document.text,
        "id": document.id,
        "url": document.url,
        "extra": extra,
    }


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # brackets that enclose no address
        return ""


def _fits(key: str, value: Any) -> bool:
    """Whether a field has a column of its kind."""
    if key not in COLUMNS or key in OWN:
        return False
    kind = {"int64": int, "float": float, "string": str}[str(COLUMNS[key])]
    return isinstance(value, kind) and not isinstance(value, bool)
