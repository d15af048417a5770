"""Counting pieces as kernels, for learning: a hash table of `kernel_table` whose values are counts.

Memory grows with the distinct pieces alone. A kernel that runs out of room returns which array must grow, to be called
again. `state` is the address of the words listed below, which are addresses unless they count.
"""

from wholegpt.kernel_memory import compiled, inlined, load8, load32, load64, store8, store64
from wholegpt.tokenizer.kernel_split import piece_end
from wholegpt.tokenizer.kernel_table import SHORT_KEY, SLOT_BYTES, find_slot, first_key, mix, second_key

# What a kernel returns: all is done, or which array must grow.
DONE, TABLE_FULL, KEYS_FULL = range(3)

# The words of the state: what this call counts and how far it is; the table.
CLASSES, TEXT, BOUNDS, DOCUMENTS, DOCUMENT, POSITION = range(6)
TABLE, TABLE_MASK, TABLE_USED, KEYS, KEYS_USED, KEYS_ROOM = range(6, 12)
STATE_WORDS = 12


@inlined
def add(state: int, position: int, length: int, count: int) -> int:
    """Count a piece `count` times; DONE, or what must grow first."""
    table, mask, keys = load64(state + 8 * TABLE), load64(state + 8 * TABLE_MASK), load64(state + 8 * KEYS)
    first, second = first_key(position, length), second_key(position, length)
    slot = find_slot(table, mask, keys, position, length, first, second, mix(first, second))
    if load32(slot + 28) == 0:
        used, keys_used = load64(state + 8 * TABLE_USED), load64(state + 8 * KEYS_USED)
        if used * 2 > mask:
            return TABLE_FULL
        if length > SHORT_KEY:
            if keys_used + length > load64(state + 8 * KEYS_ROOM):
                return KEYS_FULL
            for index in range(length):
                store8(keys + keys_used + index, load8(position + index))
            store64(state + 8 * KEYS_USED, keys_used + length)
            second = keys_used
        store64(slot, first)
        store64(slot + 8, second)
        store64(slot + 16, 0)
        store64(slot + 24, length << 32)
        store64(state + 8 * TABLE_USED, used + 1)
    store64(slot + 16, load64(slot + 16) + count)
    return DONE


@compiled
def count_pieces(state: int) -> int:
    """Count the pieces of some documents, from where the last call stopped."""
    classes, bounds = load64(state + 8 * CLASSES), load64(state + 8 * BOUNDS)
    while load64(state + 8 * DOCUMENT) < load64(state + 8 * DOCUMENTS):
        document, position = load64(state + 8 * DOCUMENT), load64(state + 8 * POSITION)
        end = load64(state + 8 * TEXT) + load64(bounds + 8 * document + 8)
        while position < end:
            stop = piece_end(classes, position, end)
            result = add(state, position, stop - position, 1)
            if result != DONE:
                store64(state + 8 * POSITION, position)
                return result
            position = stop
        store64(state + 8 * POSITION, position)
        store64(state + 8 * DOCUMENT, document + 1)
    return DONE


@compiled
def add_table(state: int, table: int, mask: int, keys: int) -> int:
    """Add all counts of another table, from slot DOCUMENT on, where the last call stopped."""
    for index in range(load64(state + 8 * DOCUMENT), mask + 1):
        slot = table + SLOT_BYTES * index
        length = load32(slot + 28)
        if length > 0:
            source = slot if length <= SHORT_KEY else keys + load64(slot + 8)
            result = add(state, source, length, load64(slot + 16))
            if result != DONE:
                store64(state + 8 * DOCUMENT, index)
                return result
    return DONE


@compiled
def list_pieces(table: int, mask: int, keys: int, text: int, starts: int, lengths: int, counts: int) -> None:
    """Copy the pieces of a table of counts: their bytes one after another, where each begins, its length and count."""
    piece = used = 0
    for index in range(mask + 1):
        slot = table + SLOT_BYTES * index
        length = load32(slot + 28)
        if length > 0:
            source = slot if length <= SHORT_KEY else keys + load64(slot + 8)
            for offset in range(length):
                store8(text + used + offset, load8(source + offset))
            store64(starts + 8 * piece, used)
            store64(lengths + 8 * piece, length)
            store64(counts + 8 * piece, load64(slot + 16))
            piece += 1
            used += length
