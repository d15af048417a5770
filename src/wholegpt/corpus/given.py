"""The first stage of `corpus build` for text that is given as such: documents of any format to the table of records.

They stay as they are; blank ones are left out. Known fields (date, karma, host, language ...) go into their columns,
whatever else a document has into `extra`, as JSON.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from wholegpt import documents
from wholegpt.corpus import builtin, records
from wholegpt.documents import Document
from wholegpt.runner import Shard

# Files of a shard: enough for the work to be worth a process, few enough for many processes.
FILES = 1_000
BYTES = 64_000_000
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


def take(shard: Shard, folder: Path, options: Any) -> dict[str, int]:  # noqa: ARG001
    """Stage: the documents of some files to `documents.parquet`."""
    read = blank = 0
    with records.writer(folder / records.DOCUMENTS) as writer, records.writer(folder / records.REJECTS, records.REJECT):
        for document in _read(shard):
            read += 1
            if document.text.strip():
                writer.write(row(document))
            else:
                blank += 1
    return {"read/in": read, "read/out": read - blank, "read/reason/blank": blank}


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
