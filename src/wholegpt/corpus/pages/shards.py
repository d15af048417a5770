"""Inputs of `corpus build` that hold pages, cut into pieces of work: an archive each, or a thousand files of HTML."""

from collections.abc import Sequence
from pathlib import Path

from wholegpt.corpus.pages import archives
from wholegpt.errors import WholeGPTError
from wholegpt.runner import Shard

ARCHIVE, FILES = "archive", "files"
FILES_A_SHARD = 1_000
_ARCHIVES = (".warc", ".wet")
_COMPRESSIONS = (".gz", ".zst")
_HTML = (".html", ".htm", ".xhtml")


def shards(inputs: Sequence[Path]) -> list[Shard]:
    """The pieces in the order of the inputs, folders in the order of their names.

    A shard's first value is its kind: `ARCHIVE` or `FILES`. In a folder other files are passed over; a file that is
    given by itself and a folder without pages are errors.
    """
    found: list[Shard] = []
    for path in inputs:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        kinds = {file: kind(file) if path.is_dir() else _certain_kind(file) for file in files}
        if not any(kinds.values()):
            raise WholeGPTError(f"{path} holds no pages; expected WARC or WET files (.gz, .zst or plain) or HTML files")
        found += [_shard(len(found) + index, ARCHIVE, (file,)) for index, file in enumerate(_of(kinds, ARCHIVE))]
        pages = _of(kinds, FILES)
        for start in range(0, len(pages), FILES_A_SHARD):
            found.append(_shard(len(found), FILES, tuple(pages[start : start + FILES_A_SHARD])))
    return found


def holds(path: Path) -> bool:
    """Whether a file is one of pages, or a folder holds such."""
    if path.is_dir():
        return any(kind(file) for file in path.rglob("*") if file.is_file())
    return bool(_certain_kind(path))


def kind(file: Path) -> str:
    """`ARCHIVE` or `FILES` by the name's ending, "" for another."""
    name = file.name.lower()
    for compression in _COMPRESSIONS:
        name = name.removesuffix(compression)
    if name.endswith(_ARCHIVES):
        return ARCHIVE
    return FILES if file.name.lower().endswith(_HTML) else ""


def _certain_kind(file: Path) -> str:
    """By ending, or else by content."""
    known = kind(file)
    if known:
        return known
    try:
        start = archives.beginning(file).lstrip().lower()
    except OSError as error:
        raise WholeGPTError(f"{file} cannot be read ({error.strerror})") from None
    if start.startswith(archives.WARC.lower()):
        return ARCHIVE
    return FILES if start.startswith((b"<!doctype html", b"<html")) else ""


def _of(kinds: dict[Path, str], wanted: str) -> list[Path]:
    return [file for file, found in kinds.items() if found == wanted]


def _shard(number: int, kind_of_input: str, files: tuple[Path, ...]) -> Shard:
    return Shard(f"pages-{number:06d}", files, (kind_of_input,))
