"""CNN/Daily Mail, not anonymised (section 3.6): articles with their highlights, as stories, parquet or jsonl.

A story is a text of paragraphs between blank lines, each of its last ones after a line `@highlight`. See et al. (2017),
with whom the paper compares, end a paragraph without a period with " ." and join the paragraphs with spaces; so are
the rows of the usual parquet files made, and so are stories read here. The test set is a list of web addresses
(all_test.txt); the name of a story is the SHA-1 of its address.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.stored import Stored, members, strings

MARK = "@highlight"
ENDING = ".story"
LIST = "all_test.txt"
Thing = TypeVar("Thing")

_ENDS = (".", "!", "?", "...", "'", "`", '"', "\u2019", "\u201d", ")")


@dataclass(frozen=True)
class Article:
    """A news article and the sentences that its editors summed it up in."""

    id: str
    text: str
    highlights: tuple[str, ...]


def read_jsonl(stored: Stored) -> Iterator[Article]:
    """The articles of a file with `article` and `highlights` (lines of one string, or a list) and perhaps `id`."""
    for place, record in stored.records():
        yield _article(record, place)


def read_parquet(stored: Stored) -> Iterator[Article]:
    """The same from the columns of a parquet file."""
    import pyarrow
    from pyarrow import parquet

    try:
        number = 0
        for batch in parquet.ParquetFile(io.BytesIO(stored.read())).iter_batches(batch_size=1_000):
            for record in batch.to_pylist():
                number += 1
                yield _article(record, f"{stored}, row {number}")
    except (pyarrow.ArrowException, OSError) as error:
        raise WholeGPTError(f"{stored} is not a parquet file that can be read ({error})") from None


def read_archives(listed: Stored, *archives: Stored) -> Iterator[Article]:
    """The stories of the addresses in a list, in its order, from cnn_stories.tgz and dailymail_stories.tgz."""
    names = _names(listed)
    wanted, found = {name + ENDING for name in names}, {}
    for archive in archives:
        for member, data in members(archive.path, lambda member: member.rpartition("/")[2] in wanted):
            place = f"{archive}, member {member}"
            name = member.rpartition("/")[2].removesuffix(ENDING)
            found[name] = _parse(name, _decoded(data, place), place)
    yield from _in_order(names, found, listed)


def read_stories(*files: Stored) -> Iterator[Article]:
    """One article from each .story file; if all_test.txt is among the files, those that it lists, in its order."""
    stories = {file.name.removesuffix(ENDING): file for file in files if file.name.endswith(ENDING)}
    if listed := next((file for file in files if file.name == LIST), None):
        stories = dict(zip(_names(listed), _in_order(_names(listed), stories, listed), strict=True))
    for name, story in stories.items():
        yield _parse(name, story.text(), str(story))


def _names(listed: Stored) -> list[str]:
    return [hashlib.sha1(line.strip().encode()).hexdigest() for _, line in listed.lines() if line.strip()]


def _in_order(names: list[str], found: dict[str, Thing], listed: Stored) -> list[Thing]:
    missing = [name for name in names if name not in found]
    if missing:
        raise WholeGPTError(
            f"{len(missing):,} of the {len(names):,} stories of {listed} are not there, first {missing[0]}{ENDING}"
        )
    return [found[name] for name in names]


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WholeGPTError(f"{place}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def _parse(name: str, text: str, place: str) -> Article:
    paragraphs: list[str] = []
    highlights: list[str] = []
    marked = False
    for line in filter(None, (line.strip() for line in text.split("\n"))):
        if line == MARK:
            marked = True
        else:
            (highlights if marked else paragraphs).append(_ended(line))
    if not highlights:
        raise WholeGPTError(f"{place}: found no {MARK} with a text after it")
    return Article(name, " ".join(paragraphs), tuple(highlights))


def _ended(line: str) -> str:
    return line if line.endswith(_ENDS) else line + " ."


def _article(record: dict[str, Any], place: str) -> Article:
    (text,) = strings(record, place, "article")
    highlights = record.get("highlights")
    lines = highlights.split("\n") if isinstance(highlights, str) else highlights
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines) or not any(lines):
        raise WholeGPTError(f"{place}: expected a string or a list of strings as `highlights`")
    return Article(str(record.get("id", "")), text, tuple(line for line in lines if line.strip()))
