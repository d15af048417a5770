"""Many URLs at once: what `urls` says of each, by a kernel for the plain ones."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from string import ascii_letters, ascii_lowercase, digits
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wholegpt import compiled
from wholegpt.compiled import address
from wholegpt.corpus.submissions import lists

# What may stand as it is: in a host, in a path after `canonicalize_url`, in a query after it.
HOST = ascii_lowercase + digits + "-"
PATH = ascii_letters + digits + ":/?[]@!$&'()*+,;=-._~|%"
QUERY = ascii_letters + digits + "_.-~"


@dataclass(frozen=True)
class Batch:
    """URLs with their digests and hosts, and words for their endings; the rows that are not `plain` mean nothing."""

    plain: NDArray[np.bool_]
    digests: list[bytes]
    hosts: pa.Array
    endings: NDArray[np.int64]


def normalise(given: pa.Array) -> Batch | None:
    """What the kernel says of an array of URLs; None without numba."""
    kernel: Any = compiled.load("wholegpt.corpus.submissions.kernel_urls")
    if kernel is None:
        return None
    _, offsets_buffer, text_buffer = given.buffers()
    offsets, text = np.frombuffer(offsets_buffer, np.int32), np.frombuffer(text_buffer, np.uint8)
    classes, names, bounds = _tables()
    count, size = len(given), int(offsets[len(given)])
    fields = np.empty(kernel.MOST_FIELDS * kernel.FIELD_BYTES, np.uint8)
    normal, hosts, scratch = (np.empty(times * size, np.uint8) for times in (3, 1, 1))
    ends, endings, host_offsets = np.empty(count, np.int64), np.empty(count, np.int64), np.zeros(count + 1, np.int32)
    kernel.normalise(
        *(address(text), address(offsets), count, address(classes), address(names), address(bounds), len(bounds) - 1),
        *(
            address(scratch),
            address(fields),
            address(normal),
            address(ends),
            address(hosts),
            address(host_offsets[1:]),
            address(endings),
        ),
    )
    forms = normal[: ends[-1]].tobytes()
    digests = [blake2b(forms[low:high], digest_size=16).digest() for low, high in pairwise([0, *ends.tolist()])]
    names_of_hosts = pa.StringArray.from_buffers(count, pa.py_buffer(host_offsets), pa.py_buffer(hosts))
    return Batch(endings != kernel.NOT_PLAIN, digests, names_of_hosts, endings)


def words(endings: Sequence[str]) -> NDArray[np.int64]:
    """Endings, of at most eight bytes each, as the kernel writes them."""
    return np.frombuffer(b"".join(name.encode().ljust(8, b"\0") for name in endings), np.int64)


@functools.cache
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """The parts that each byte may stand in, the tracking parameters, and where each of them begins, with the end."""
    kernel: Any = compiled.load("wholegpt.corpus.submissions.kernel_urls")
    parts = ((kernel.HOST, HOST), (kernel.PATH, PATH), (kernel.QUERY, QUERY))
    classes = [sum(bit for bit, allowed in parts if chr(byte) in allowed) for byte in range(256)]
    names = [name.encode() for name in lists.load("tracking_parameters")]
    bounds = np.cumsum([0, *map(len, names)])
    return np.array(classes, np.uint8), np.frombuffer(b"".join(names), np.uint8), bounds
