"""An artifact: a directory that one verb wrote, with a manifest that says how.

While it is being written the directory is called `NAME.partial`; it gets its own name by one rename, after every file
was synced to the disk. So a name that exists is whole, and a killed verb leaves only a `.partial` that the same
command resumes (training) or starts again (everything else).

    corpus/
    ├── manifest.json     verb, options, inputs and outputs with sha256, counts, version, seconds
    └── ...               the files of the verb
"""

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from wholegpt import __version__
from wholegpt.errors import WholeGPTError

MANIFEST = "manifest.json"
PLAN = "plan.json"
LOCK = "lock"
# What an unfinished artifact needs to be resumed; it goes when the artifact gets its name.
STATE = "state"
KEYS = {"wholegpt", "verb", "options", "inputs", "counts", "outputs", "seconds", "finished", "plan"}


class Artifact:
    """What a verb is about to write, or has written, at `path`.

    `options` is the verb's frozen dataclass, `inputs` the files and artifacts it reads. Two artifacts are the same if
    verb, options (paths aside) and the hashes of the inputs are. With `overwrite`, another artifact under the same
    name is replaced; without it, it is an error that names the difference. `incidental` names options that do not
    count: they say how the same result is reached.
    """

    def __init__(
        self,
        path: Path,
        verb: str,
        options: Any,
        inputs: Sequence[Path] = (),
        overwrite: bool = False,
        incidental: Sequence[str] = (),
    ) -> None:
        self.path, self.verb, self.overwrite, self._incidental = path, verb, overwrite, incidental
        self.partial = path.with_name(path.name + ".partial")
        self.options = _plain(dataclasses.asdict(options))
        self.inputs = {str(source): fingerprint(source) for source in inputs}
        self.counts: dict[str, Any] = {}

    @property
    def plan(self) -> dict[str, Any]:
        """What decides whether two artifacts are the same."""
        paths = set(self.inputs) | {str(self.path)}
        options = {
            name: value
            for name, value in self.options.items()
            if name not in self._incidental and not _names_a_path(value, paths)
        }
        return {"verb": self.verb, "options": options, "inputs": sorted(self.inputs.values())}

    def exists(self) -> bool:
        """Whether the artifact is there already, whole; its counts are then read back."""
        if self._lacks_only_its_name():
            self._finish()
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return False
        if not (self.path / MANIFEST).is_file():
            raise WholeGPTError(f"{self.path} exists and was not written by wholegpt; give another --output")
        manifest = read_manifest(self.path)
        if manifest["plan"] == self.plan:
            self.counts = manifest["counts"]
            return True
        if self.overwrite:
            return False
        raise WholeGPTError(
            f"{self.path} was made otherwise ({_difference(manifest['plan'], self.plan)}); "
            "give another --output, or --overwrite to replace it"
        )

    @contextmanager
    def write(self, resume: bool = False) -> Iterator[Path]:
        """Yield the directory to write into; on leaving the block it becomes the artifact.

        With `resume`, what an interrupted run of the same plan left is still in the directory, and what this block
        leaves when it raises is kept for the next. The folder `state` in it is for what resuming needs: no part of the
        artifact, it stays until all outputs are hashed and on the disk.
        """
        start = time.monotonic()
        self.partial.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.partial / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise WholeGPTError(f"another process is writing {self.path}; wait, or give another --output") from None
        try:
            self._prepare(resume)
            yield self.partial
            manifest = self._manifest(time.monotonic() - start)
            for name in manifest["outputs"]:
                sync(self.partial / name)
            write_json(self.partial / MANIFEST, manifest)
        except BaseException:
            lock.release()
            if not resume:
                shutil.rmtree(self.partial, ignore_errors=True)
            raise
        lock.release()
        self._finish()

    def _prepare(self, resume: bool) -> None:
        plan = self.partial / PLAN
        if resume and plan.is_file() and not self.overwrite and read_json(plan) != self.plan:
            difference = _difference(read_json(plan), self.plan)
            raise WholeGPTError(
                f"{self.partial} holds an unfinished run made otherwise ({difference}); "
                "give another --output, or --overwrite to start anew"
            )
        if not (resume and plan.is_file() and read_json(plan) == self.plan):
            for entry in self.partial.iterdir():
                if entry.name != LOCK:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        write_json(plan, self.plan)

    def _manifest(self, seconds: float) -> dict[str, Any]:
        outputs = {
            file.relative_to(self.partial).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256(file)}
            for file in _files(self.partial)
            if file.relative_to(self.partial).parts[0] not in (PLAN, LOCK, STATE)
        }
        return {
            "wholegpt": __version__,
            "verb": self.verb,
            "options": self.options,
            "inputs": {str(Path(source).resolve()): digest for source, digest in self.inputs.items()},
            "counts": self.counts,
            "outputs": outputs,
            "seconds": round(seconds, 3),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "plan": self.plan,
        }

    def _lacks_only_its_name(self) -> bool:
        """Whether a run of this plan was interrupted after its manifest was written and before it was renamed."""
        manifest = self.partial / MANIFEST
        free = self.overwrite or not self.path.exists()
        return free and manifest.is_file() and read_manifest(self.partial)["plan"] == self.plan

    def _finish(self) -> None:
        """Give a whole artifact its name; done again from the start, it ends the same."""
        shutil.rmtree(self.partial / STATE, ignore_errors=True)
        (self.partial / LOCK).unlink(missing_ok=True)
        (self.partial / PLAN).unlink(missing_ok=True)
        old = self.path.with_name(self.path.name + ".old")
        if self.path.exists():
            shutil.rmtree(old, ignore_errors=True)
            self.path.rename(old)
        self.partial.rename(self.path)
        sync(self.path.parent)
        shutil.rmtree(old, ignore_errors=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the artifact at `path`; an error if there is none."""
    if not (path / MANIFEST).is_file():
        found = "is no directory that wholegpt wrote" if path.exists() else "does not exist"
        raise WholeGPTError(f"{path} {found} (no {MANIFEST} in it)")
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or not manifest.keys() >= KEYS:
        raise WholeGPTError(f"{path / MANIFEST} is not the manifest of something that wholegpt wrote")
    return manifest


def fingerprint(path: Path) -> str:
    """A hash that changes when the content at `path` does: of a file its bytes, of an artifact its plan and outputs,
    of another directory the names and bytes of its files."""
    if not path.exists():
        raise WholeGPTError(f"{path} does not exist")
    if path.is_file():
        return sha256(path)
    if (path / MANIFEST).is_file():
        manifest = read_manifest(path)
        content = {name: output["sha256"] for name, output in manifest["outputs"].items()}
        return _hash_of([manifest["plan"], content])
    return _hash_of([[file.relative_to(path).as_posix(), sha256(file)] for file in _files(path)])


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of the file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """The content of a JSON file; an error that names the file if it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WholeGPTError(f"{path} is not JSON ({error})") from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON under its final name in one step."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under its final name in one step, synced to the disk."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to; on leaving the block it is synced to the disk and gets its name.

    When the block raises, what it wrote is removed.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # some libraries write files that only their owner may read
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def inside(folder: Path, name: str) -> Path:
    """The file that an index names in its own folder; WholeGPTError where name or link lead out of it.

    In the Hub's cache (`snapshots/VERSION/`) the files of a folder are links to `blobs/` beside `snapshots`.
    """
    path, resolved = folder / name, folder.resolve()
    roots = [resolved, *([resolved.parents[1] / "blobs"] if resolved.parent.name == "snapshots" else [])]
    try:
        stays = any(path.resolve().is_relative_to(root) for root in roots) and not Path(name).is_absolute()
    except (OSError, RuntimeError, ValueError):  # links in a circle, names that no system knows
        stays = False
    if not stays or ".." in Path(name).parts:
        raise WholeGPTError(f"{path} leads out of {folder}; a checkpoint's files are read in its directory only")
    return path


def sync(path: Path) -> None:
    """Wait until the file or directory is on the disk (a directory only where the system can: not on Windows)."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def _hash_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The value as JSON would hold it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _names_a_path(value: Any, paths: set[str]) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_names_a_path(item, paths) for item in value)
    return isinstance(value, str) and str(Path(value)) in paths


def _difference(there: dict[str, Any], asked: dict[str, Any]) -> str:
    """The first thing that differs between two plans, in words."""
    if there["verb"] != asked["verb"]:
        return f"by `{there['verb']}`, not `{asked['verb']}`"
    for name in sorted(there["options"].keys() | asked["options"].keys()):
        before, now = there["options"].get(name), asked["options"].get(name)
        if before != now:
            return f"{name} was {before}, now {now}"
    return "from other input"
