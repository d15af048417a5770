"""What became of each URL of a crawl: a line of JSON a URL, written when it is done, so that nothing is done twice.

A page's records are in the WARC file before its line is in the ledger; both are handed to the system at once, so a
kill costs what is in flight. Every second the WARC file is synced to the disk, then the ledger: a power cut costs that
second. A crawl that goes on believes the ledger up to the first line that is cut, or whose page is not in its file;
what the files hold beyond is cut off.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from wholegpt.corpus.crawl.queue import Link
from wholegpt.corpus.crawl.requests import Answer, Refusal
from wholegpt.corpus.crawl.warc import Compression, WarcWriter

JOURNAL = "journal.jsonl"
STORED = "stored"
# The host belongs to another shard, which gets the link in the next round.
ELSEWHERE = "elsewhere"
SECONDS_BETWEEN_SYNCS = 1.0


@dataclass(frozen=True)
class Files:
    """How the pages are written."""

    prefix: str
    compression: Compression
    file_bytes: int
    description: str


class Ledger:
    """The journal of one shard's crawl and the WARC files beside it; opening it mends what a kill left."""

    def __init__(self, folder: Path, urls: int, files: Files) -> None:
        # A byte a URL: whether it is done.
        self.done = bytearray(urls)
        self.outcomes: Counter[str] = Counter()
        ends: dict[str, int] = {}
        whole_bytes = 0
        for line in whole_lines(folder / JOURNAL):
            entry = orjson.loads(line)
            if (file := entry.get("file")) and entry["end"] > _size(folder / file):
                break
            whole_bytes += len(line)
            self._count(entry)
            if file:
                ends[file] = entry["end"]
        self._journal = (folder / JOURNAL).open("ab", buffering=0)
        self._journal.truncate(whole_bytes)
        for path in folder.glob(f"{files.prefix}-*.warc.*"):
            if path.name in ends:
                os.truncate(path, ends[path.name])
            else:
                path.unlink()
        self._warc = WarcWriter(
            folder, files.prefix, files.compression, files.file_bytes, files.description, max(len(ends) - 1, 0)
        )

    def store(self, position: int, link: Link, answer: Answer) -> None:
        """Write the page of the URL at a position of the queue."""
        place = self._warc.write(link, answer)
        self._write(position, link, STORED, asdict(place))

    def refuse(self, position: int, link: Link, refusal: Refusal) -> None:
        """Write why the URL has no page."""
        self._write(position, link, refusal.reason, {"detail": refusal.detail})

    def hand_over(self, position: int, link: Link, target: Link) -> None:
        """Write where the URL led to."""
        self._write(position, link, ELSEWHERE, {"link": asdict(target)})

    @property
    def finished(self) -> int:
        """URLs that are done."""
        return self.outcomes.total()

    def close(self) -> None:
        self.sync()
        self._warc.close()
        self._journal.close()

    def sync(self) -> None:
        """Wait until all is on the disk."""
        self._warc.sync()
        os.fsync(self._journal.fileno())

    def _write(self, position: int, link: Link, outcome: str, more: dict[str, Any]) -> None:
        entry = {"position": position, "outcome": outcome, "url": link.url, "id": link.id, **more}
        self._journal.write(orjson.dumps(entry) + b"\n")
        self._count(entry)

    def _count(self, entry: dict[str, Any]) -> None:
        self.done[entry["position"]] = 1
        self.outcomes[entry["outcome"]] += 1


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that a kill may have cut; a last line without its end is cut off first."""
    if not path.exists():
        return
    with path.open("r+b") as stream:
        whole = 0
        for line in stream:
            if not line.endswith(b"\n"):
                stream.truncate(whole)
                return
            whole += len(line)
            yield line


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
