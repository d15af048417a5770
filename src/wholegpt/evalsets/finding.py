"""Where a test set is: a folder that the user names, our cache, the mirror, and last the official download.

Cache and mirror hold a set in the folder of its source (`eval/lambada`): its official files, plain or as .gz or .zst,
or its official archive. What is not the set (by a count or a hash) is passed over there. In a folder that the user
names it is taken, with a label that says so; so are files called STANDIN-... or FIXTURE-..., and in a folder
called after the set for the only file of the format, whatever its name.
"""

import difflib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wholegpt import artifact
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.evalsets.sets import SETS, Layout, Part, Wanted
from wholegpt.evalsets.stored import COMPRESSIONS, Stored
from wholegpt.sources import SOURCES, places

PREFIXES = ("STANDIN-", "FIXTURE-")


@dataclass(frozen=True)
class Found:
    """A test set, read."""

    name: str
    part: str
    files: tuple[Stored, ...]
    origin: str
    """`data-dir`, `cache`, `mirror` or `download`."""
    examples: tuple[Any, ...]
    counts: dict[str, int]
    """"examples", and what the examples of this set count: words, bytes, ..."""
    fault: str = ""
    """What distinguishes it from the paper's data; empty: nothing that is known."""

    @property
    def label(self) -> str:
        """What must stand beside a figure made from it; empty for the paper's data."""
        if not self.fault:
            return ""
        size = f"{self.counts['bytes']:,} bytes" if "file_bytes" in self.counts else f"{self.counts['examples']:,}"
        return f"not the paper's data (n = {size})"


def find(name: str, data_dir: Path | None = None, part: str = "", offline: bool = False) -> Found:
    """A test set from the first place that has it; `part` picks another than the paper's.

    Raises WholeGPTError that says how to get what is missing, and what is wrong with files that were passed over.
    """
    part, which = _part(name, part)
    if data_dir and (files := _in_data_dir(data_dir, name, which)):
        return _load(name, part, which, *files, "data-dir")
    passed_over: list[str] = []
    for folder in places.folders(which.source):
        origin = "cache" if folder.is_relative_to(places.home()) else "mirror"
        if found := _genuine(name, part, which, folder, origin, passed_over):
            return found
    aside = f" ({'; '.join(passed_over)})" if passed_over else ""
    try:
        folder = places.fetch(which.source, offline)
    except WholeGPTError as error:
        raise WholeGPTError(
            f"the {part} part of {name} is missing{aside}: {error}; or name the folder that has it with --data-dir"
        ) from None
    if found := _genuine(name, part, which, folder, "download", passed_over):
        return found
    raise WholeGPTError(f"{folder} does not hold the {part} part of {name} ({'; '.join(passed_over)})")


def _part(name: str, part: str) -> tuple[str, Part]:
    if name not in SETS:
        near = difflib.get_close_matches(name, SETS, n=1)
        raise UsageError(f"{name} is no test set{f'; did you mean {near[0]}?' if near else ''} ({', '.join(SETS)})")
    parts = SETS[name]
    if part and part not in parts:
        raise UsageError(f"{name} has no part {part}, but {', '.join(parts)}")
    part = part or next(iter(parts))
    return part, parts[part]


def _load(name: str, part: str, which: Part, layout: Layout, files: tuple[Stored, ...], origin: str) -> Found:
    examples = tuple(layout.read(*files))
    if not examples:
        raise WholeGPTError(f"{files[0]} holds no example of {name}")
    counts = Counter(examples=len(examples))
    for example in examples:
        if hasattr(example, "counts"):
            counts.update(example.counts())
    return Found(name, part, files, origin, examples, dict(counts), _fault(which, layout, files, counts))


def _fault(which: Part, layout: Layout, files: tuple[Stored, ...], counts: Counter[str]) -> str:
    """What shows that files are not the set; empty if nothing does."""
    for file in files:
        if file.name.startswith(PREFIXES):
            return f"{file} is called {file.name.partition('-')[0]}"
    for key, expected in which.counts.items():
        if counts[key] != expected:
            return f"{files[0]} has {counts[key]:,} {key.replace('_', ' ')}, the set {expected:,}"
    for file, wanted in zip(files, layout.wanted, strict=False):
        if wanted.sha256 and (digest := file.sha256()) != wanted.sha256:
            return f"{file} has the sha256 {digest[:12]}..., the set {wanted.sha256[:12]}..."
        # What is read from an archive is known by the archive.
        published = _published(which.source, file.path.name)
        if file.member and published and (digest := artifact.sha256(file.path)) != published:
            return f"{file.path} has the sha256 {digest[:12]}..., the published archive {published[:12]}..."
    return ""


def _published(source: str, name: str) -> str | None:
    return next((file.sha256 for host in SOURCES[source].hosts for file in host.files if file.name == name), None)


def _genuine(name: str, part: str, which: Part, folder: Path, origin: str, passed_over: list[str]) -> Found | None:
    """The set from a folder, if it is the set; otherwise why not, appended to `passed_over`."""
    for layout, files in _official(folder, which):
        try:
            found = _load(name, part, which, layout, files, origin)
        except WholeGPTError as error:
            passed_over.append(str(error))
            continue
        if not found.fault:
            return found
        passed_over.append(found.fault)
    return None


def _in_data_dir(data_dir: Path, name: str, which: Part) -> tuple[Layout, tuple[Stored, ...]] | None:
    """The set's files in a folder of the user, or the file itself that he names."""
    if not data_dir.exists():
        raise WholeGPTError(f"{data_dir} does not exist")
    leaf = Path(which.source).name
    if data_dir.is_file():
        candidates = [*_official(data_dir.parent, which, PREFIXES), *_free(data_dir.parent, which)]
        return next((one for one in candidates if data_dir in {file.path for file in one[1]}), None)
    for folder in (data_dir / which.source, data_dir / leaf, data_dir / name, data_dir):
        if official := next(_official(folder, which, PREFIXES), None):
            return official
        if folder.name in (leaf, name):
            free = list(_free(folder, which))
            if len(free) > 1:
                listed = ", ".join(str(files[0]) for _, files in free)
                raise WholeGPTError(f"several files could be {name}: {listed}; name one of them with --data-dir")
            if free:
                return free[0]
    return None


def _official(folder: Path, which: Part, prefixes: tuple[str, ...] = ()) -> Iterator[tuple[Layout, tuple[Stored, ...]]]:
    """The layouts of which a folder has every file under its official name."""
    for layout in which.layouts:
        if layout.patterns:
            files = [path for pattern in layout.patterns for path in sorted(folder.glob(pattern)) if path.is_file()]
            if any(path.suffix == Path(layout.patterns[-1]).suffix for path in files):
                yield layout, tuple(map(Stored, files))
            continue
        for prefix in ("", *prefixes):
            found = [next(_as(folder, wanted, prefix), None) for wanted in layout.wanted]
            if all(found):
                yield layout, tuple(file for file in found if file)


def _as(folder: Path, wanted: Wanted, prefix: str) -> Iterator[Stored]:
    """A file under its name, or packed, or in its archive."""
    names = [prefix + wanted.name, *((member for _, member in wanted.archives) if not prefix else ())]
    for name in names:
        for ending in ("", *COMPRESSIONS):
            if (folder / (name + ending)).is_file():
                yield Stored(folder / (name + ending))
    for archive, member in wanted.archives if not prefix else ():
        if (folder / archive).is_file():
            yield Stored(folder / archive, member)


def _free(folder: Path, which: Part) -> Iterator[tuple[Layout, tuple[Stored, ...]]]:
    """Files of a set's formats under names that are no set's official one."""
    stored = [Stored(path) for path in sorted(folder.glob("*")) if path.is_file()]
    stored = [file for file in stored if _plain(file.name) not in _OFFICIAL]
    for layout in which.layouts:
        endings = [wanted.ending for wanted in layout.wanted]
        if not endings or not all(endings):
            continue
        by_stem = [
            {file.name.removesuffix(ending): file for file in stored if file.name.endswith(ending)}
            for ending in endings
        ]
        for stem in by_stem[0]:
            if all(stem in files for files in by_stem):
                yield layout, tuple(files[stem] for files in by_stem)


def _plain(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


_OFFICIAL = {
    wanted.name
    for parts in SETS.values()
    for part in parts.values()
    for layout in part.layouts
    for wanted in layout.wanted
}
