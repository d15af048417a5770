"""Merging as kernels: the bytes of a piece become ids, as in `bpe.encode_piece`.

Of all pairs of neighbours that were learnt the earliest is merged, wherever it stands, from left to right, until none
is left. A pair is found in a hash table with slots of 16 bytes: left << 32 | right, or -1 for an empty slot; and
rank << 32 | id. Arguments are addresses unless they are counts.
"""

import numpy as np
from numpy.typing import NDArray

from wholegpt.kernel_memory import compiled, inlined, load8, load64, multiply, store32, store64
from wholegpt.tokenizer.kernel_table import MIX_A

Words = NDArray[np.int64]

PAIR_BYTES = 16
# Up to here looking through all pairs again after each merge is faster than a heap.
LONGEST_SCAN = 96
SCRATCH_WORDS = 2 * LONGEST_SCAN
NEVER = 1 << 62
UNKNOWN = -1


@inlined
def merged(pairs: int, mask: int, left: int, right: int) -> int:
    """What a pair becomes, as rank << 32 | id; NEVER for a pair that was not learnt."""
    key = left << 32 | right
    index = (multiply(key, MIX_A) >> 32) & mask
    while True:
        slot = pairs + PAIR_BYTES * index
        found = load64(slot)
        if found == key:
            return load64(slot + 8)
        if found < 0:
            return NEVER
        index = (index + 1) & mask


@compiled
def fill_pairs(merges: int, count: int, pairs: int, mask: int) -> None:
    """Put `count` merges (left, right, id; in the order of learning) into a table whose keys are all -1."""
    for rank in range(count):
        merge = merges + 24 * rank
        key = load64(merge) << 32 | load64(merge + 8)
        index = (multiply(key, MIX_A) >> 32) & mask
        while load64(pairs + PAIR_BYTES * index) >= 0 and load64(pairs + PAIR_BYTES * index) != key:
            index = (index + 1) & mask
        if load64(pairs + PAIR_BYTES * index) < 0:  # of equal pairs the one learnt first counts
            store64(pairs + PAIR_BYTES * index, key)
            store64(pairs + PAIR_BYTES * index + 8, rank << 32 | load64(merge + 16))


@compiled
def merge_short(position: int, length: int, byte_ids: int, pairs: int, mask: int, scratch: int, out: int) -> int:
    """Write the ids of a piece of up to LONGEST_SCAN bytes to `out`; returns the end of what was written."""
    tokens, values = scratch, scratch + 8 * LONGEST_SCAN  # value: what a token and the next one become
    for index in range(length):
        store64(tokens + 8 * index, load64(byte_ids + 8 * load8(position + index)))
        store64(values + 8 * index, UNKNOWN)
    while True:
        best = NEVER
        first = 0
        for index in range(length - 1):
            value = load64(values + 8 * index)
            if value == UNKNOWN:
                value = merged(pairs, mask, load64(tokens + 8 * index), load64(tokens + 8 * index + 8))
                store64(values + 8 * index, value)
            if value < best:
                best = value
                first = index
        if best == NEVER:
            break
        store64(values + 8 * length - 8, NEVER)  # the last token has no neighbour
        source = target = first
        while source < length:
            if load64(values + 8 * source) == best:
                store64(tokens + 8 * target, best & 0xFFFFFFFF)
                store64(values + 8 * target, UNKNOWN)
                if target > 0:
                    store64(values + 8 * target - 8, UNKNOWN)
                source += 2
            else:
                store64(tokens + 8 * target, load64(tokens + 8 * source))
                store64(values + 8 * target, load64(values + 8 * source))
                source += 1
            target += 1
        length = target
    for index in range(length):
        store32(out + 4 * index, load64(tokens + 8 * index))
    return out + 4 * length


@inlined
def push(heap: Words, size: int, value: int) -> int:
    """Put a value on a heap of `size`, smallest first."""
    index = size
    while index > 0:
        above = (index - 1) >> 1
        if heap[above] <= value:
            break
        heap[index] = heap[above]
        index = above
    heap[index] = value
    return size + 1


@inlined
def pop(heap: Words, size: int) -> int:
    """Take the smallest value off a heap of `size`."""
    top = heap[0]
    size -= 1
    value = heap[size]
    index = 0
    while 2 * index + 1 < size:
        below = 2 * index + 1
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= value:
            break
        heap[index] = heap[below]
        index = below
    heap[index] = value
    return int(top)


@compiled
def merge_long(position: int, length: int, byte_ids: int, pairs: int, mask: int, out: int) -> int:
    """The same for a piece of any length, in n log n steps: a heap of rank << 32 | place over a linked list.

    All places of one rank are taken off the heap before the first is merged, so that a pair that comes into being
    meanwhile waits, whatever its rank, as it does for the twin.
    """
    tokens = np.empty(length, np.int64)
    after = np.empty(length, np.int64)
    before = np.empty(length, np.int64)
    for index in range(length):
        tokens[index] = load64(byte_ids + 8 * load8(position + index))
        after[index] = index + 1 if index + 1 < length else -1
        before[index] = index - 1
    heap = np.empty(2 * length, np.int64)  # a merge takes one entry off and puts at most two on
    batch = np.empty(length, np.int64)
    size = 0
    for index in range(length - 1):
        value = merged(pairs, mask, tokens[index], tokens[index + 1])
        if value != NEVER:
            size = push(heap, size, value >> 32 << 32 | index)
    while size > 0:
        rank = heap[0] >> 32
        places = 0
        while size > 0 and heap[0] >> 32 == rank and places < length:
            batch[places] = pop(heap, size) & 0xFFFFFFFF
            size -= 1
            places += 1
        for number in range(places):
            here = batch[number]
            right = after[here]
            if tokens[here] < 0 or right < 0:
                continue
            value = merged(pairs, mask, tokens[here], tokens[right])
            if value >> 32 != rank:  # the entry is out of date
                continue
            tokens[here] = value & 0xFFFFFFFF
            tokens[right] = -1
            right = after[right]
            after[here] = right
            left = before[here]
            if right >= 0:
                before[right] = here
                value = merged(pairs, mask, tokens[here], tokens[right])
                if value != NEVER:
                    size = push(heap, size, value >> 32 << 32 | here)
            if left >= 0:
                value = merged(pairs, mask, tokens[left], tokens[here])
                if value != NEVER:
                    size = push(heap, size, value >> 32 << 32 | left)
    index = 0
    while index >= 0:
        store32(out, tokens[index])
        out += 4
        index = after[index]
    return out
