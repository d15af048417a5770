"""Learning a vocabulary: pieces are counted as the text streams by, then merged; both by kernels where there is numba.

The result depends on the counts alone: the same merges whatever the number of threads or the order of the texts. Of
equally frequent pairs the one with the smaller (left id, right id) is merged first, ids in GPT-2's byte order. Memory
grows with the number of distinct pieces, not with the text.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from wholegpt import compiled
from wholegpt.compiled import address, join
from wholegpt.progress import bar
from wholegpt.tokenizer import bpe, classes
from wholegpt.tokenizer.encoder import Offsets, batches, kernels, utf8

# First sizes; what is full doubles.
FIRST_SLOTS, FIRST_KEY_BYTES, FIRST_PAIRS = 2**14, 2**20, 2**16
MERGES_A_CALL = 500


@dataclass(frozen=True)
class Pieces:
    """Distinct pieces: their bytes one after another, where each begins, its length, how often it occurs."""

    text: NDArray[np.uint8]
    starts: Offsets
    lengths: Offsets
    counts: Offsets

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        text = self.text.tobytes()
        for start, length, count in zip(self.starts.tolist(), self.lengths.tolist(), self.counts.tolist(), strict=True):
            yield text[start : start + length], count

    @classmethod
    def of(cls, counts: dict[bytes, int]) -> "Pieces":
        text, bounds = join(list(counts))
        lengths = np.diff(bounds)
        return cls(text[: bounds[-1]], bounds[:-1], lengths, np.fromiter(counts.values(), np.int64, len(counts)))


def count_pieces(texts: Iterable[str], pattern: str = bpe.PATTERN, threads: int | None = None) -> Pieces:
    """How often each piece occurs in some texts, by so many threads (default: one a core): one reads, the others count.

    Raises ValueError for a text with a lone surrogate. A pattern other than GPT-2's is split by the twin, in one
    thread.
    """
    if pattern != bpe.PATTERN or not compiled.load("wholegpt.tokenizer.kernel_count"):
        return Pieces.of(_count_as_twin(texts, regex.compile(pattern)))
    workers = (threads or compiled.threads()) - 1
    idle: list[_Counts] = []

    def count(batch: list[str]) -> int:
        try:
            counts = idle.pop()
        except IndexError:
            counts = _Counts()
        counts.add_texts([utf8(text) for text in batch])
        idle.append(counts)
        return len(batch)

    with bar("counting", None, "documents") as progress:
        for done in compiled.spread(count, batches(texts), workers):
            progress.advance(done)
    total = idle.pop() if idle else _Counts()
    while idle:
        total.add_counts(idle.pop())
    return total.pieces()


def learn(pieces: Pieces, entries: int) -> tuple[list[bytes], list[bpe.Pair]]:
    """`bpe.learn` from counted pieces: the bytes of each id, and the merges in order."""
    if not compiled.load("wholegpt.tokenizer.kernel_learn"):
        return bpe.learn(dict(pieces), entries)
    merging = _Merging(pieces, entries)
    with bar("merging", entries - len(bpe.BYTES), "entries") as progress:
        for done in merging.run():
            progress.advance(done)
    return merging.vocabulary(), merging.merges()


def _count_as_twin(texts: Iterable[str], pattern: "regex.Pattern[str]") -> dict[bytes, int]:
    counts: Counter[str] = Counter()
    with bar("counting", None, "documents") as progress:
        for text in texts:
            counts.update(classes.split(text, pattern))
            progress.advance()
    return {utf8(piece): count for piece, count in counts.items()}


class _Counts:
    """One thread's table of counts."""

    def __init__(self) -> None:
        self._kernel = kernels("kernel_count")
        self._state = np.zeros(self._kernel.STATE_WORDS, np.int64)
        self._classes = classes.table()
        self._state[self._kernel.CLASSES] = address(self._classes)
        self._keep(np.zeros((FIRST_SLOTS, 4), np.int64))
        self._keep_keys(np.empty(FIRST_KEY_BYTES, np.uint8))

    def add_texts(self, documents: list[bytes]) -> None:
        kernel, state = self._kernel, self._state
        text, bounds = join(documents)
        begin = address(text)
        state[kernel.TEXT : kernel.POSITION + 1] = begin, address(bounds), len(documents), 0, begin
        while result := kernel.count_pieces(address(state)):
            self._grow(result, max(map(len, documents)))

    def add_counts(self, other: "_Counts") -> None:
        self._state[self._kernel.DOCUMENT] = 0
        table = address(other._table), len(other._table) - 1, address(other._keys)
        while result := self._kernel.add_table(address(self._state), *table):
            self._grow(result, len(other._keys))

    def pieces(self) -> Pieces:
        lengths = self._table[:, 3] >> 32
        size, number = int(lengths.sum()), int(self._state[self._kernel.TABLE_USED])
        text = np.empty(size, np.uint8)
        numbers = np.empty((3, number), np.int64)
        table = address(self._table), len(self._table) - 1, address(self._keys)
        self._kernel.list_pieces(*table, address(text), *(address(row) for row in numbers))
        return Pieces(text, *numbers)

    def _grow(self, what: int, longest: int) -> None:
        """Make room; `longest` is the size of what is to be added at most [bytes]."""
        if what == self._kernel.KEYS_FULL:
            keys = np.empty(2 * len(self._keys) + longest, np.uint8)
            keys[: len(self._keys)] = self._keys
            self._keep_keys(keys)
        else:
            table = np.zeros((2 * len(self._table), 4), np.int64)
            rehash = kernels("kernel_table").rehash
            rehash(address(self._table), len(self._table) - 1, address(table), len(table) - 1)
            self._keep(table)

    def _keep(self, table: Offsets) -> None:
        self._table = table
        self._state[self._kernel.TABLE], self._state[self._kernel.TABLE_MASK] = address(table), len(table) - 1

    def _keep_keys(self, keys: NDArray[np.uint8]) -> None:
        self._keys = keys
        self._state[self._kernel.KEYS], self._state[self._kernel.KEYS_ROOM] = address(keys), len(keys)


class _Merging:
    """The arrays of the merge loop (see kernel_learn), which grow when it says so."""

    def __init__(self, pieces: Pieces, entries: int) -> None:
        self._kernel = kernel = kernels("kernel_learn")
        self._state = np.zeros(kernel.STATE_WORDS, np.int64)
        self._entries = entries
        byte_ids = np.zeros(256, np.uint32)
        byte_ids[list(bpe.BYTES)] = np.arange(256)
        ids = byte_ids[pieces.text]
        slots = 2 ** (2 * entries).bit_length()
        self._arrays: dict[int, NDArray[Any]] = {
            kernel.IDS: ids,
            kernel.STARTS: pieces.starts,
            kernel.LENGTHS: pieces.lengths.copy(),
            kernel.FREQUENCIES: pieces.counts,
            kernel.PAIRS: np.zeros((FIRST_PAIRS, kernel.PAIR_BYTES // 8), np.int64),
            kernel.PLACES: np.empty((len(ids) + 2, 2), np.uint32),
            kernel.HEAP: np.empty((FIRST_PAIRS, 2), np.int64),
            kernel.CREATED: np.empty(2 * entries + 2, np.int64),
            kernel.MERGES: np.empty(entries, np.int64),
            kernel.TOKEN_PLACES: np.empty((entries, 2), np.int64),
            kernel.TOKEN_BYTES: np.empty(32 * entries, np.uint8),
            kernel.TOKEN_TABLE: np.zeros(slots, np.int64),
        }
        self._set(PIECES=len(pieces), PLACES_USED=1, TOKEN_TABLE_MASK=slots - 1)
        self._place()
        order = np.frombuffer(bpe.BYTES, np.uint8)
        kernel.add_bytes(address(self._state), address(order))

    def run(self) -> Iterator[int]:
        """Merge to the end; yields how many entries were added since the last time."""
        kernel, state = self._kernel, address(self._state)
        while result := kernel.count_pairs(state):
            self._grow(result)
        while self._get("PAIRS_USED") > self._get("HEAP_ROOM"):
            self._grow(kernel.HEAP_FULL)
        kernel.push_all_pairs(state)
        while self._get("HEAP_USED") and self._get("ENTRIES") < self._entries:
            before = self._get("ENTRIES")
            if result := kernel.merge_pairs(state, min(before + MERGES_A_CALL, self._entries)):
                self._grow(result)
            yield self._get("ENTRIES") - before

    def vocabulary(self) -> list[bytes]:
        text = self._arrays[self._kernel.TOKEN_BYTES].tobytes()
        places = self._arrays[self._kernel.TOKEN_PLACES][: self._get("ENTRIES")]
        return [text[start : start + length] for start, length in places.tolist()]

    def merges(self) -> list[bpe.Pair]:
        keys = self._arrays[self._kernel.MERGES][: self._get("MERGES_USED")]
        return list(zip((keys >> 32).tolist(), (keys & 0xFFFFFFFF).tolist(), strict=True))

    def _grow(self, what: int) -> None:
        kernel = self._kernel
        if what == kernel.PAIRS_FULL:
            old = self._arrays[kernel.PAIRS]
            new = np.zeros((2 * len(old), old.shape[1]), np.int64)
            kernel.grow_pairs(address(old), len(old) - 1, address(new), len(new) - 1)
            self._arrays[kernel.PAIRS] = new
        else:
            full = {
                kernel.PLACES_FULL: kernel.PLACES,
                kernel.HEAP_FULL: kernel.HEAP,
                kernel.TOKENS_FULL: kernel.TOKEN_BYTES,
                kernel.MERGES_FULL: kernel.MERGES,
            }[what]
            old = self._arrays[full]
            new = np.empty((2 * len(old), *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            self._arrays[full] = new
        self._place()

    def _place(self) -> None:
        """Write the addresses and sizes of all arrays into the state."""
        kernel, arrays = self._kernel, self._arrays
        for word, array in arrays.items():
            self._state[word] = address(array)
        self._set(
            PAIRS_MASK=len(arrays[kernel.PAIRS]) - 1,
            PLACES_ROOM=len(arrays[kernel.PLACES]),
            HEAP_ROOM=len(arrays[kernel.HEAP]),
            TOKEN_BYTES_ROOM=len(arrays[kernel.TOKEN_BYTES]) - compiled.PADDING_BYTES,
            MERGES_ROOM=len(arrays[kernel.MERGES]),
        )

    def _get(self, name: str) -> int:
        return int(self._state[getattr(self._kernel, name)])

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            self._state[getattr(self._kernel, name)] = value
