"""One record, `Document`, and its readers: jsonl (.gz, .zst), parquet, plain text, folders of them."""

import gzip
import hashlib
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import zstandard

from wholegpt.artifact import MANIFEST
from wholegpt.errors import WholeGPTError

# The largest window a compressed file may ask for: that of `zstd --long=27`; a header cannot make us allocate more.
ZSTD_WINDOW_BYTES = 2**27
TRAIN, HELD_OUT = "train", "heldout"
# How the files of each part of a corpus begin.
FILES_OF = {TRAIN: "part-", HELD_OUT: "heldout-"}
STANDARD_INPUT = "standard input"
# A record may have this instead of `text`, and a `context` before it, which stays in the metadata.
CONTINUATION = "continuation"


@dataclass(frozen=True)
class Document:
    """A text and where it comes from."""

    text: str
    id: str
    url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


def read(path: Path, part: str = "") -> Iterator[Document]:
    """The documents of a file or a directory, in the order of their names.

    `part` picks one side of an artifact of `corpus build`: "train" or "heldout". Formats go by the file's ending; a
    jsonl line or a parquet row needs `text`, may have `id` and `url`, and keeps the rest as metadata; a .txt file is
    one document. Raises WholeGPTError naming the file and the place where something is wrong.
    """
    for file in files(path, part):
        found = False
        for document in _READERS[_suffix(file)](file):
            found = True
            yield document
        if not found:
            raise WholeGPTError(f"{file} holds no text: it is empty")


def standard_input() -> Document:
    """The text of standard input; an error where it is not UTF-8."""
    return _whole(sys.stdin.buffer.read())


def standard_input_documents() -> Iterator[Document]:
    """The documents of standard input: jsonl, line by line, if its first line is one, otherwise all of it as a text."""
    stream = sys.stdin.buffer
    first = stream.readline()
    if not _is_record(first):
        yield _whole(first + stream.read())
        return
    for number, line in enumerate(chain([first], stream), start=1):
        if line.strip():
            place = f"{STANDARD_INPUT}, line {number}"
            yield _document(_parse(line, place), f"{STANDARD_INPUT}:{number}", place)


def _whole(data: bytes) -> Document:
    try:
        return Document(data.decode(), STANDARD_INPUT)
    except UnicodeDecodeError as error:
        raise WholeGPTError(f"{STANDARD_INPUT} is not UTF-8 text ({error.reason} at byte {error.start})") from None


def _is_record(line: bytes) -> bool:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(record, dict) and bool(record.keys() & {"text", CONTINUATION})


def files(path: Path, part: str = "") -> list[Path]:
    """The files of documents that `path` stands for; an error if there are none."""
    if not path.exists():
        raise WholeGPTError(f"{path} does not exist")
    if path.is_file():
        if not _suffix(path):
            raise WholeGPTError(f"{path} is none of the known formats: {', '.join(_READERS)}")
        return [path]
    found = sorted(file for file in path.rglob("*") if file.is_file() and _suffix(file))
    if (path / MANIFEST).is_file():  # an artifact: in its folders are rejects
        found = [file for file in found if file.parent == path and (not part or file.name.startswith(FILES_OF[part]))]
    if not found:
        wanted = f"{part} documents" if part else f"documents ({', '.join(_READERS)})"
        raise WholeGPTError(f"{path} holds no {wanted}")
    return found


def passages(text: str, characters: int) -> list[str]:
    """Cut a text at blank lines into passages of at least so many characters; joined they are the text again.

    A text without blank lines is cut at its line ends.

    >>> passages("one\\n\\ntwo\\n\\nthree", 6)
    ['one\\n\\ntwo\\n\\n', 'three']
    """
    mark = "\n\n" if "\n\n" in text else "\n"
    pieces: list[str] = []
    gathered: list[str] = []
    size = 0
    for paragraph in text.split(mark):
        gathered.append(paragraph + mark)
        size += len(paragraph) + len(mark)
        if size >= characters:
            pieces.append("".join(gathered))
            gathered, size = [], 0
    pieces.append("".join(gathered))
    pieces[-1] = pieces[-1].removesuffix(mark) if gathered else pieces[-1]
    if not gathered:
        pieces.pop()
        pieces[-1] = pieces[-1].removesuffix(mark)
    return pieces


def share(text: str, seed: int) -> float:
    """A number in [0, 1) that depends on the text and the seed alone: below the held-out fraction it is held out, so
    copies of a text are never on both sides, whatever the order or the files."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=(seed % 2**64).to_bytes(8, "little")).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53  # 53 bits: a float holds no more, and would round up to 1


def _read_jsonl(file: Path) -> Iterator[Document]:
    with _decompressed(file) as stream:
        for number, line in enumerate(stream, start=1):
            line = line.removeprefix(BOM_UTF8) if number == 1 else line
            if line.strip():
                place = f"{file}, line {number}"
                yield _document(_parse(line, place), f"{file.name}:{number}", place)


def _read_parquet(file: Path) -> Iterator[Document]:
    import pyarrow
    from pyarrow import parquet

    try:
        batches = parquet.ParquetFile(file).iter_batches(batch_size=1_000)
        number = 0
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                there = {name: value for name, value in row.items() if value is not None}
                yield _document(there, f"{file.name}:{number}", f"{file}, row {number}")
    except (pyarrow.ArrowException, OSError) as error:
        raise WholeGPTError(f"{file} is not a parquet file that can be read ({error})") from None


def _read_text(file: Path) -> Iterator[Document]:
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WholeGPTError(
            f"{file} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}); convert it first, "
            f"for example: iconv -f latin1 -t utf-8"
        ) from None
    if text.strip():
        yield Document(text, file.name)


def _parse(line: bytes, place: str) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise WholeGPTError(f"{place}: not JSON in UTF-8 ({error})") from None
    if not isinstance(record, dict):
        raise WholeGPTError(f"{place}: found {type(record).__name__}, expected an object with a `text`")
    return record


def _document(record: dict[str, Any], number: str, place: str) -> Document:
    text = record.pop("text", record.get(CONTINUATION))
    if not isinstance(text, str):
        raise WholeGPTError(f"{place}: found {type(text).__name__} as `text`, expected a string")
    identifier, url = record.pop("id", None), record.pop("url", None)
    return Document(text, str(number if identifier is None else identifier), str(url or ""), record)


@contextmanager
def _decompressed(file: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a plain, .gz or .zst file."""
    try:
        with file.open("rb") as raw:
            if file.suffix == ".zst":
                yield _lines(zstd_chunks(raw, file))
            elif file.suffix == ".gz":
                yield iter(gzip.GzipFile(fileobj=raw))
            else:
                yield iter(raw)
    except (zstandard.ZstdError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise WholeGPTError(f"{file} is broken or cut off ({error})") from None


def zstd_chunks(raw: BinaryIO, file: Path) -> Iterator[bytes]:
    """The content of a zstd file piece by piece. Unlike the library's own reader it notices a cut-off frame, and it is
    fed little at a time, so that a bomb cannot fill the memory."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    frame = decompressor.decompressobj()
    inside = False
    while chunk := raw.read(4096):
        while chunk:
            yield frame.decompress(chunk)
            inside = not frame.eof
            chunk = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame = decompressor.decompressobj()
    if inside:
        raise WholeGPTError(f"{file} is cut off: its last frame has no end")


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []
    for chunk in chunks:
        head, *tail = chunk.split(b"\n")
        rest.append(head)
        for line in tail:
            yield b"".join(rest)
            rest = [line]
    if rest and any(rest):
        yield b"".join(rest)


_READERS: dict[str, Callable[[Path], Iterator[Document]]] = {
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
    ".jsonl.zst": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}


def _suffix(file: Path) -> str:
    """The ending that decides the format, "" for none."""
    return next((ending for ending in _READERS if file.name.lower().endswith(ending)), "")
