"""`wholegpt data list|fetch|verify`: what can be downloaded, the download, and the check of what is here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.progress import say
from wholegpt.sources import hub, places
from wholegpt.sources.table import ALIASES, HUB, SOURCES, hosts_of, resolve


@dataclass(frozen=True)
class ListOptions:
    """Show every source: what it is, its size and licence, and where it is now."""

    json: bool = False
    """As JSON, with hosts, files and aliases."""


@dataclass(frozen=True)
class FetchOptions:
    """Download sources that are not here yet, and print their folders; a broken download goes on where it stopped."""

    names: tyro.conf.Positional[tuple[str, ...]]
    """As `wholegpt data list` shows them; of the weights also 124M, 355M, 774M, 1558M, small, medium, large, xl."""
    host: str = ""
    """Files of this host only: openai, or hub (Hugging Face, extra `hub`); the default tries one after the other."""
    offline: bool = False
    """Try no connection; HF_HUB_OFFLINE=1 is the same."""

    def __post_init__(self) -> None:
        if not self.names:
            raise UsageError("data fetch needs a name (wholegpt data list shows them)")


@dataclass(frozen=True)
class VerifyOptions:
    """Hash the files that are here and compare them; a line for each fault, and exit code 1 if there is one."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Sources that must be here; none: those that are."""


def show(options: ListOptions) -> None:
    """Print the sources."""
    entries = [_entry(name) for name in SOURCES]
    if options.json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    rows = [("name", "what", "size", "licence", "where")]
    rows += [
        (entry["name"], entry["what"], _size(entry["size_bytes"]), entry["licence"], entry["folder"] or "not here")
        for entry in entries
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))


def _entry(name: str) -> dict[str, Any]:
    source = SOURCES[name]
    place, there = next(places.places(name, source.hosts), None), places.unpacked(name)
    return {
        "name": name,
        "aliases": [alias for alias, meant in ALIASES.items() if meant == name],
        "what": source.what,
        "size_bytes": source.size_bytes,
        "licence": source.licence,
        "hosts": {
            host.name: {"address": host.address, "files": {file.name: file.sha256 for file in host.files}}
            for host in source.hosts
        },
        "folder": str(place.folder) if place else str(there) if there else None,
        "host": place.host.name if place else None,
    }


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "unknown"
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"


def fetch(options: FetchOptions) -> None:
    """Print the folder of each source, one a line; names are checked before anything is downloaded."""
    for name in options.names:
        hosts_of(resolve(name), options.host)
    for name in options.names:
        there = None if options.host else places.unpacked(resolve(name))
        print(there or places.fetch(name, options.offline, options.host), flush=True)


def verify(options: VerifyOptions) -> None:
    """Hash what is here of the sources; WholeGPTError after the last if a file is not what it should be."""
    faults = 0
    for name in [resolve(name) for name in options.names] or SOURCES:
        hashed, found = _verify(name)
        missing = f"{name} is not on this machine: wholegpt data fetch {name} brings it"
        if options.names and next(places.places(name, SOURCES[name].hosts), None) is None:
            found.append(missing)
        for fault in found:
            print(fault)
        faults += len(found)
        if hashed and not found:
            print(f"{name}: {hashed} files are what they should be")
    if faults:
        raise WholeGPTError(f"{faults} {'fault' if faults == 1 else 'faults'} in what is here")


def _verify(name: str) -> tuple[int, list[str]]:
    """How many files were hashed, and what is wrong with them; files of an unfinished set count too."""
    source, hashed, faults = SOURCES[name], 0, []
    files: dict[tuple[Path, str], Any] = {}
    for host in source.hosts:
        snapshot = hub.cached(host) if host.name == HUB else None
        for folder in [*places.folders(name), *([snapshot] if snapshot else [])]:
            files |= {(folder, file.name): file for file in host.files if (folder / file.name).is_file()}
    for (folder, _), file in files.items():
        say(f"hashing {folder / file.name}")
        hashed += 1
        try:
            places.check(name, file, folder)
        except WholeGPTError as error:
            faults.append(str(error))
    return hashed, faults
