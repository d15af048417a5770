"""A heap of counted pairs as kernels, for learning: the most frequent first, of equally frequent the smaller key.

An entry has 16 bytes: -count and key, the least first. `heap` is an address, `size` the number of entries.
"""

from wholegpt.kernel_memory import inlined, load64, store64

ENTRY_BYTES = 16


@inlined
def precedes(count: int, key: int, entry: int) -> bool:
    """Whether -count and key stand before an entry of the heap."""
    other = load64(entry)
    return count < other or (count == other and key < load64(entry + 8))


@inlined
def write_entry(entry: int, count: int, key: int) -> None:
    """Write -count and key at an address."""
    store64(entry, count)
    store64(entry + 8, key)


@inlined
def push_entry(heap: int, size: int, count: int, key: int) -> None:
    """Put -count and key on the heap."""
    index = size
    while index > 0:
        above = heap + ENTRY_BYTES * ((index - 1) >> 1)
        if not precedes(count, key, above):
            break
        write_entry(heap + ENTRY_BYTES * index, load64(above), load64(above + 8))
        index = (index - 1) >> 1
    write_entry(heap + ENTRY_BYTES * index, count, key)


@inlined
def drop_first(heap: int, size: int) -> None:
    """Take the first entry off the heap; the last one finds a new place."""
    size -= 1
    count, key = load64(heap + ENTRY_BYTES * size), load64(heap + ENTRY_BYTES * size + 8)
    index = 0
    while 2 * index + 1 < size:
        child = 2 * index + 1
        below = heap + ENTRY_BYTES * child
        other = below + ENTRY_BYTES
        if child + 1 < size and precedes(load64(other), load64(other + 8), below):
            child += 1
            below = other
        if precedes(count, key, below):
            break
        write_entry(heap + ENTRY_BYTES * index, load64(below), load64(below + 8))
        index = child
    write_entry(heap + ENTRY_BYTES * index, count, key)
