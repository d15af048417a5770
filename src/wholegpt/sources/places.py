"""Where a source is: our cache, a mirror, a package that carries it, the Hub's cache; else it is downloaded.

    WHOLEGPT_HOME     our cache, default ~/.cache/wholegpt: a folder a source, to which downloads go
    WHOLEGPT_MIRROR   a folder laid out like the cache, which is only read

Every file is hashed each time it is asked for, wherever it is found (about a second a gigabyte), and compared with the
table, or with `sha256.json` in the source's folder of our cache, which remembers the hashes that the table lacks.
"""

import errno
import importlib.metadata
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from wholegpt import artifact
from wholegpt.errors import WholeGPTError, missing_extra
from wholegpt.progress import say
from wholegpt.sources import hub
from wholegpt.sources.download import Patience, Unreachable, download
from wholegpt.sources.table import HUB, SOURCES, File, Host, Source, hosts_of, resolve

RECORD = "sha256.json"
LOCK = "lock"


@dataclass(frozen=True)
class Place:
    """A folder that holds the whole of a source, as one host publishes it."""

    folder: Path
    host: Host


def home() -> Path:
    """The cache folder."""
    return Path(os.environ.get("WHOLEGPT_HOME") or Path.home() / ".cache" / "wholegpt")


def fetch(name: str, offline: bool = False, host: str = "", patience: Patience | None = None) -> Path:
    """The folder that holds the files of a source (or alias), found or downloaded; every file was checked.

    `host` takes the files of that host only. With `offline`, or HF_HUB_OFFLINE=1, no connection is tried. Downloads
    go on where an earlier one was broken off. WholeGPTError for what cannot be had, or is not what it should be.
    """
    name = resolve(name)
    hosts = hosts_of(name, host)
    place, fresh = next(places(name, hosts), None), set[str]()
    if place is None:
        if offline or hub.offline():
            raise WholeGPTError(f"{name} is not on this machine, and offline nothing is downloaded; {_by_hand(name)}")
        place, fresh = _download(name, hosts, patience or Patience())
    for file in place.host.files:
        if file.name not in fresh:
            check(name, file, place.folder)
    return place.folder


def places(name: str, hosts: tuple[Host, ...]) -> Iterator[Place]:
    """Every place on this machine that has the whole of a source, the first choice first; nothing is read."""
    for folder in folders(name):
        for host in hosts:
            if all((folder / file.name).is_file() for file in host.files):
                yield Place(folder, host)
    for host in hosts:
        if host.name == HUB and (snapshot := hub.cached(host)):
            yield Place(snapshot, host)


def unpacked(name: str) -> Path | None:
    """The first folder that has a source's `unpacked` files, which are neither hashed nor read here."""
    wanted = SOURCES[name].unpacked
    for folder in folders(name) if wanted else []:
        if all(any((folder / (file + ending)).is_file() for ending in ("", ".gz", ".zst")) for file in wanted):
            return folder
    return None


def source_of(folder: Path) -> Source | None:
    """The source whose files lie in a folder, in one of its places; None for other folders."""
    return next(
        (
            source
            for name, source in SOURCES.items()
            for place in places(name, source.hosts)
            if place.folder.resolve() == folder.resolve()
        ),
        None,
    )


def folders(name: str) -> list[Path]:
    """Where a source is looked for outside the Hub's cache; none of them need exist."""
    found = [home() / name]
    if mirror := os.environ.get("WHOLEGPT_MIRROR"):
        found.append(Path(mirror) / name)
    if packaged := _packaged(SOURCES[name]):
        found.append(packaged)
    return found


def _packaged(source: Source) -> Path | None:
    """Where an installed package keeps the files; the package is not imported."""
    if not source.package:
        return None
    try:
        distribution = importlib.metadata.distribution(source.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file(source.package_folder)))


def check(name: str, file: File, folder: Path) -> None:
    """Compare a file of a source with its hash, or record its hash if none is known; WholeGPTError if they differ."""
    path = folder / file.name
    found = artifact.sha256(path)
    remembered = None if file.sha256 else recorded(name).get(file.name)
    expected = file.sha256 or remembered or hub.stated_sha256(path)
    if expected not in (None, found):
        raise WholeGPTError(
            f"{path} is not the file it should be (sha256 {found[:12]}..., expected {str(expected)[:12]}..."
            f"{f' as recorded in {home() / name / RECORD}' if remembered else ''}); remove it"
        )
    if not (file.sha256 or remembered):
        _record(name, file.name, found)


def recorded(name: str) -> dict[str, str]:
    """The hashes that were recorded when the files of a source were first used."""
    path = home() / name / RECORD
    content = artifact.read_json(path) if path.is_file() else {}
    if not isinstance(content, dict) or not all(isinstance(digest, str) for digest in content.values()):
        raise WholeGPTError(f"{path} is not a table of hashes; remove it, and the hashes are recorded anew")
    return content


def _record(name: str, file: str, digest: str) -> None:
    folder = home() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK):
            _add_to_record(name, file, digest)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        say(f"the hash of {name}'s {file} is not recorded: {folder} cannot be written")


def _add_to_record(name: str, file: str, digest: str) -> None:
    """With the lock held."""
    known = recorded(name)
    if known.setdefault(file, digest) != digest:
        raise WholeGPTError(f"{home() / name / RECORD} has another hash of {file} than two processes found; remove it")
    artifact.write_json(home() / name / RECORD, known)


def _download(name: str, hosts: tuple[Host, ...], patience: Patience) -> tuple[Place, set[str]]:
    """Download a source, one process at a time; which files came and were hashed on the way."""
    folder = home() / name
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(name, folder):
        if place := next(places(name, hosts), None):  # another process has done it meanwhile
            return place, set()
        return _from_first(name, hosts, folder, patience)


def _locked(name: str, folder: Path) -> AbstractContextManager[Any]:
    lock = FileLock(folder / LOCK)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is downloading {name}; waiting for it")
        return lock.acquire()


def _from_first(name: str, hosts: tuple[Host, ...], folder: Path, patience: Patience) -> tuple[Place, set[str]]:
    """Download from the first host that gives all files; WholeGPTError that says what each answered."""
    usable = [host for host in hosts if host.name != HUB or hub.installed()]
    if not usable:
        raise missing_extra("huggingface_hub", "hub")
    faults = []
    for host in usable:
        say(f"downloading {name} ({SOURCES[name].licence}) from {_address(host)} to {folder}")
        try:
            return Place(folder, host), _from_host(name, host, folder, patience)
        except Unreachable as error:
            faults.append(str(error))
    raise WholeGPTError(
        f"{name} could not be downloaded ({'; '.join(faults)}); run the same command again to go on, "
        f"or {_by_hand(name)}"
    )


def _from_host(name: str, host: Host, folder: Path, patience: Patience) -> set[str]:
    """Download the files that are missing, and record the hashes that the table lacks; the names of those files."""
    version, fresh = "main", set()
    for file in host.files:
        path = folder / file.name
        if path.is_file():
            continue
        expected = file.sha256 or recorded(name).get(file.name)
        url, headers = file.url or host.address + file.name, {}
        if host.name == HUB:
            located = hub.locate(host.address, file.name, version, patience)
            url, version, headers = located.url, located.version, located.headers
            expected = expected or located.sha256
        digest = download(url, path, expected, patience, headers)
        if not file.sha256:
            _add_to_record(name, file.name, digest)
        fresh.add(file.name)
    return fresh


def _address(host: Host) -> str:
    return hub.page(host.address) if host.name == HUB else host.address.rstrip("/")


def _by_hand(name: str) -> str:
    """What a person can do without this machine's network."""
    source = SOURCES[name]
    ways = [f"{_listed([file.name for file in host.files])} (of {_address(host)})" for host in source.hosts]
    package = f", or pip install 'wholegpt[{source.extra}]'" if source.extra else ""
    return (
        f"place {' or '.join(ways)} in {home() / name} yourself, "
        f"or in the folder {name} of a mirror that WHOLEGPT_MIRROR names{package}"
    )


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
