"""Documents to ids: by kernels, with a word cache for each thread, or as the readable twin does it."""

from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType

import numpy as np
import regex
from numpy.typing import NDArray

from wholegpt import compiled
from wholegpt.compiled import address, join
from wholegpt.tokenizer import bpe, classes

# Slots of a thread's word cache (32 bytes each) at first and at most, and room for the bytes of long pieces and the
# ids of pieces with many; the system gives memory only to what is used.
FIRST_WORDS, LARGEST_WORDS = 2**16, 2**20
KEY_BYTES, SPILLED_IDS = 2**22, 2**21
# A kernel may write one id beyond the last.
SPARE_IDS = 4
# Pieces that the twin remembers; 2**18 take about 60 MB.
REMEMBERED_PIECES = 2**18
# Enough text for a kernel to be worth a thread, little enough for several threads to share the work evenly.
BATCH_CHARACTERS = 2**19

Ids = NDArray[np.uint32]
Offsets = NDArray[np.int64]


class Encoder:
    """Encodes bytes with a vocabulary; several threads may call it at once, and each then has its own word cache.

    `byte_ids` are the ids of the 256 bytes, `merges` rows of left id, right id, new id in the order of learning.
    Needs numba.
    """

    def __init__(self, byte_ids: Offsets, merges: Offsets) -> None:
        self._kernel, kernel_merge = kernels("kernel"), kernels("kernel_merge")
        self._split = kernels("kernel_split")
        self._byte_ids = np.ascontiguousarray(byte_ids, np.int64)
        self._classes = classes.table()
        slots = 2 ** (2 * len(merges)).bit_length()
        self._pairs = np.full((slots, 2), -1, np.int64)
        merges = np.ascontiguousarray(merges, np.int64)
        kernel_merge.fill_pairs(address(merges), len(merges), address(self._pairs), slots - 1)
        self._idle: list[_WordCache] = []

    def encode(self, documents: Sequence[bytes], before: int = -1) -> tuple[Ids, Offsets]:
        """The ids of all documents one after another, and where each begins, with the end of all behind.

        The bytes must be UTF-8 (others give ids without meaning, but do no harm). `before` is an id to write before
        each document, -1 for none.
        """
        try:
            cache = self._idle.pop()
        except IndexError:
            cache = self._new_cache()
        text, bounds = join(documents)
        result = cache.encode(text, bounds, before)
        self._idle.append(cache)
        return result

    def words(self, documents: Sequence[bytes]) -> int:
        """How many words `str.split()` finds in all documents."""
        text, bounds = join(documents)
        arrays = address(self._classes), address(text), address(bounds)
        return int(self._split.count_words(*arrays, len(documents)))

    def _new_cache(self) -> "_WordCache":
        cache = _WordCache(self._kernel)
        kernel, state = self._kernel, cache.state
        state[kernel.CLASSES], state[kernel.BYTE_IDS] = address(self._classes), address(self._byte_ids)
        state[kernel.PAIRS], state[kernel.PAIRS_MASK] = address(self._pairs), len(self._pairs) - 1
        return cache


class _WordCache:
    """The state of one thread's encoding, and the arrays whose addresses stand in it."""

    def __init__(self, kernel: ModuleType) -> None:
        self._kernel = kernel
        self._table = kernels("kernel_table")
        self.state = state = np.zeros(kernel.STATE_WORDS, np.int64)
        self._words = np.zeros((FIRST_WORDS, 4), np.int64)
        self._keys = np.empty(KEY_BYTES, np.uint8)
        self._spilled = np.empty(SPILLED_IDS, np.uint32)
        self._spans = np.empty(kernel.BLOCK * kernel.SPAN_BYTES, np.uint8)
        self._scratch = np.empty(kernels("kernel_merge").SCRATCH_WORDS, np.int64)
        state[kernel.WORDS], state[kernel.WORDS_MASK] = address(self._words), len(self._words) - 1
        state[kernel.WORDS_LARGEST] = LARGEST_WORDS
        state[kernel.KEYS], state[kernel.KEYS_ROOM] = address(self._keys), KEY_BYTES
        state[kernel.SPILLED], state[kernel.SPILLED_ROOM] = address(self._spilled), SPILLED_IDS
        state[kernel.SPANS], state[kernel.SCRATCH] = address(self._spans), address(self._scratch)
        self._state = address(state)

    def encode(self, text: NDArray[np.uint8], bounds: Offsets, before: int) -> tuple[Ids, Offsets]:
        kernel, state = self._kernel, self.state
        documents, size = len(bounds) - 1, int(bounds[-1])
        # At most one id a byte. Memory that is not written to costs nothing.
        ids = np.empty(size + documents + SPARE_IDS, np.uint32)
        starts = np.empty(documents + 1, np.int64)
        begin = address(text)
        state[kernel.TEXT : kernel.WRITTEN + 1] = (
            *(begin, address(bounds), documents, before, address(ids), address(starts)),
            *(0, begin, begin, 0),
        )
        while not kernel.encode(self._state):
            self._grow()
        starts[documents] = written = int(state[kernel.WRITTEN])
        return ids[:written], starts

    def _grow(self) -> None:
        kernel, state = self._kernel, self.state
        larger = np.zeros((2 * len(self._words), 4), np.int64)
        self._table.rehash(address(self._words), len(self._words) - 1, address(larger), len(larger) - 1)
        self._words = larger
        state[kernel.WORDS], state[kernel.WORDS_MASK] = address(larger), len(larger) - 1


class PlainEncoder:
    """The same by the readable twin, for any pattern and without numba."""

    def __init__(self, byte_ids: Offsets, merges: Offsets, pattern: str) -> None:
        self._byte_ids = dict(enumerate(byte_ids.tolist()))
        self._merges: dict[bpe.Pair, bpe.Merge] = {}
        for rank, (left, right, new) in enumerate(merges.tolist()):
            self._merges.setdefault((left, right), (rank, new))
        self._pattern = regex.compile(pattern)
        self._known: dict[str, list[int]] = {}

    def encode(self, documents: Sequence[bytes], before: int = -1) -> tuple[Ids, Offsets]:
        ids: list[int] = []
        starts = []
        for document in documents:
            starts.append(len(ids))
            if before >= 0:
                ids.append(before)
            for piece in classes.split(document.decode(errors="surrogateescape"), self._pattern):
                ids += self._piece(piece)
        return np.array(ids, np.uint32), np.array([*starts, len(ids)], np.int64)

    def words(self, documents: Sequence[bytes]) -> int:
        return sum(len(document.decode(errors="replace").split()) for document in documents)

    def _piece(self, piece: str) -> list[int]:
        known = self._known.get(piece)
        if known is None:
            known = bpe.encode_piece(piece.encode(errors="surrogateescape"), self._byte_ids, self._merges)
            if len(self._known) < REMEMBERED_PIECES:
                self._known[piece] = known
        return known


def utf8(text: str) -> bytes:
    """The bytes of a text; ValueError that names the place of a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}, "
            "which has no UTF-8 bytes"
        ) from None


def batches(texts: Iterable[str], characters: int = BATCH_CHARACTERS) -> Iterator[list[str]]:
    """Texts in lists of at least so many characters."""
    batch: list[str] = []
    held = 0
    for text in texts:
        batch.append(text)
        held += len(text)
        if held >= characters:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def kernels(name: str) -> ModuleType:
    """A module of the tokenizer's kernels; only where numba can be had."""
    module = compiled.load(f"wholegpt.tokenizer.{name}")
    assert module is not None, "callers ask compiled.load first"
    return module
