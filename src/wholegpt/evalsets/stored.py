"""A file as it lies there: plain, .gz, .zst, or a member of a .zip or .tar(.gz) archive, read as a stream.

Nothing is unpacked to the disk, and nothing is believed of a header: whatever unpacks to more than LIMIT_BYTES is
refused while it is read.
"""

import gzip
import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import zstandard

from wholegpt.documents import zstd_chunks
from wholegpt.errors import WholeGPTError

# Above the largest file of the sets, enwik8 with 100,000,000 bytes.
LIMIT_BYTES = 2**28
# Above the largest archive of the sets, that of 1BW: 4.15 GB unpacked, of which one member is read.
ARCHIVE_LIMIT_BYTES = 2**33
CHUNK_BYTES = 1 << 16
COMPRESSIONS = (".gz", ".zst")
_TAR = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Stored:
    """A file, or a member of an archive."""

    path: Path
    member: str = ""
    """Its name in the archive at `path`."""

    def __str__(self) -> str:
        return f"{self.path}, member {self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The name without its folder and without the ending of a compression."""
        name = Path(self.member or self.path.name).name
        return name.removesuffix(".gz").removesuffix(".zst")

    def chunks(self) -> Iterator[bytes]:
        """The content piece by piece; WholeGPTError if it is broken, cut off, or larger than LIMIT_BYTES."""
        size = 0
        with _faults_of(self):
            for chunk in self._unbounded():
                size += len(chunk)
                if size > LIMIT_BYTES:
                    raise WholeGPTError(f"{self} unpacks to more than {LIMIT_BYTES:,} bytes, which no test set does")
                yield chunk

    def read(self) -> bytes:
        """The content."""
        return b"".join(self.chunks())

    def text(self) -> str:
        """The content as text; WholeGPTError that names the line which is not UTF-8."""
        data = self.read()
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise WholeGPTError(f"{self}, line {line}: not UTF-8 text ({error.reason})") from None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Each line without its end, and its place in words for errors; an empty line after the last end is none."""
        lines = self.text().split("\n")
        if not lines[-1]:
            lines.pop()
        for number, line in enumerate(lines, start=1):
            yield f"{self}, line {number}", line.removesuffix("\r")

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a jsonl file, each with its place; blank lines are skipped."""
        for place, line in self.lines():
            if line.strip():
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise WholeGPTError(f"{place}: not JSON ({error})") from None
                if not isinstance(record, dict):
                    raise WholeGPTError(f"{place}: found {type(record).__name__}, expected an object")
                yield place, record

    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the content, not of what it is packed in."""
        hasher = hashlib.sha256()
        for chunk in self.chunks():
            hasher.update(chunk)
        return hasher.hexdigest()

    def _unbounded(self) -> Iterator[bytes]:
        if self.member and self.path.suffix == ".zip":
            with zipfile.ZipFile(self.path) as archive, _zip_member(archive, self) as stream:
                yield from _pieces(stream)
        elif self.member:
            found = next(members(self.path, lambda name: name == self.member), None)
            if found is None:
                raise WholeGPTError(f"{self.path} holds no member {self.member}")
            yield found[1]
        else:
            with self.path.open("rb") as raw:
                if self.path.suffix == ".zst":
                    yield from zstd_chunks(raw, self.path)
                elif self.path.suffix == ".gz":
                    yield from _pieces(gzip.GzipFile(fileobj=raw))
                else:
                    yield from _pieces(raw)


def members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """The regular files of a tar archive whose names are wanted, in its order, read in one pass.

    A leading `./` is dropped from the names.
    """
    if not path.name.endswith(_TAR):
        raise WholeGPTError(f"{path} is no archive that is known (.zip, {', '.join(_TAR)})")
    with _faults_of(path), path.open("rb") as raw:
        content = raw if path.suffix == ".tar" else gzip.GzipFile(fileobj=raw)
        with tarfile.open(fileobj=_Guarded(content, path), mode="r:") as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                if entry.isreg() and not entry.issparse() and wanted(name):
                    if entry.size > LIMIT_BYTES:
                        raise WholeGPTError(
                            f"{path}, member {name} is said to have {entry.size:,} bytes, which no file of a set has"
                        )
                    stream = archive.extractfile(entry)
                    data = stream.read() if stream else b""
                    if len(data) != entry.size:
                        raise WholeGPTError(f"{path} is cut off in member {name}")
                    yield name, data
                archive.members = []  # type: ignore[attr-defined]  # it would remember every member passed


def strings(record: dict[str, Any], place: str, *keys: str) -> list[str]:
    """The values of keys that must be strings; WholeGPTError that names the place and the key."""
    values = []
    for key in keys:
        value = record.get(key)
        if not isinstance(value, str):
            raise WholeGPTError(f"{place}: found {type(value).__name__} as `{key}`, expected a string")
        values.append(value)
    return values


class _Guarded(io.RawIOBase):
    """The unpacked bytes of a tar archive; refuses the sizes that only a hostile header asks for."""

    def __init__(self, stream: Any, path: Path) -> None:
        self._stream, self._path = stream, path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LIMIT_BYTES:
            raise WholeGPTError(f"{self._path} has a header of {size:,} bytes, which no archive of a set has")
        return bytes(self._stream.read(size))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if offset > ARCHIVE_LIMIT_BYTES:
            raise WholeGPTError(f"{self._path} unpacks to more than {ARCHIVE_LIMIT_BYTES:,} bytes")
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())


def _zip_member(archive: zipfile.ZipFile, stored: Stored) -> Any:
    try:
        return archive.open(stored.member)
    except KeyError:
        raise WholeGPTError(f"{stored.path} holds no member {stored.member}") from None


def _pieces(stream: BinaryIO | Any) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


@contextmanager
def _faults_of(what: object) -> Iterator[None]:
    """Turn the faults of a broken file into one sentence."""
    try:
        yield
    except (
        EOFError,
        NotImplementedError,  # a compression that zipfile does not know
        OSError,  # gzip.BadGzipFile among them
        RuntimeError,  # an encrypted member
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        zstandard.ZstdError,
    ) as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise WholeGPTError(f"{what} cannot be read, it is broken or cut off ({detail})") from None
