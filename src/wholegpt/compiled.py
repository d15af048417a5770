"""Where compiled kernels come from: numba, imported when a kernel is first needed, with a cache that cannot be stale.

A kernel is a function over bytes that numba compiles, in a file named `kernel*.py`. numba's own cache of machine code
looks at the file of the function alone and misses a change in a function that it calls; therefore the cache folder's
name carries a hash of all kernel files, and every change begins with an empty folder. Where the folder cannot be
written, each process compiles anew (some seconds). Where numba cannot be imported, the readable twins do the work.
"""

import functools
import hashlib
import importlib
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from wholegpt import sources
from wholegpt.progress import say

Item = TypeVar("Item")
Result = TypeVar("Result")

PACKAGE = Path(__file__).parent
# Spare bytes that every input buffer ends in: a kernel reads eight bytes at once, and a character's bytes before it
# knows that the text is over.
PADDING_BYTES = 32


@functools.cache
def load(name: str) -> ModuleType | None:
    """A module of kernels, such as "wholegpt.tokenizer.kernel"; None, and one line of warning, without numba."""
    if not _has_numba():
        return None
    return importlib.import_module(name)


def join(texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts as one array with the spare bytes that kernels need, and where each begins, with the end."""
    data = np.frombuffer(b"".join([*texts, bytes(PADDING_BYTES)]), np.uint8)
    bounds = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=bounds[1:])
    return data, bounds


def address(array: NDArray[Any]) -> int:
    """Where an array's data begins; whoever uses it must hold the array."""
    return int(array.__array_interface__["data"][0])


def threads() -> int:
    """How many threads have a core of their own in this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """The results for all items in order, by so many threads beside this one, which makes the items; 0: by this one.

    Worth it where the function spends its time in kernels, which run without the interpreter's lock. Only a few items
    are on their way at once.
    """
    if not workers:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * workers + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def sources_hash(package: Path = PACKAGE) -> str:
    """A hash of the names and bytes of all kernel files of the package."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("kernel*.py")):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


@functools.cache
def cache_folder() -> Path | None:
    """The folder for the machine code of these sources; None where it cannot be written."""
    folder = sources.home() / f"kernels-{sources_hash()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder


@functools.cache
def _has_numba() -> bool:
    try:
        importlib.import_module("numba")
    except ImportError as error:
        say(f"numba cannot be imported ({error}): the plain Python twins do the work, many times slower")
        return False
    return True
