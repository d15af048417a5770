"""A hash table of pieces as kernels, for the encoder's word cache and for counting.

A slot has 32 bytes: two key words, a value, and length << 32 | what the owner likes; length 0 is an empty slot. A piece
of up to 16 bytes is its own key; a longer one has a hash, and the place of its bytes among the `keys`. Arguments are
addresses unless they are counts; a table has a power of two of slots, its mask is one less.
"""

from wholegpt.kernel_memory import compiled, inlined, load8, load32, load64, multiply, store64

SLOT_BYTES = 32
SHORT_KEY = 16
# Odd numbers without pattern, to multiply hashes with; signed, as all words here.
MIX_A = 0x9E3779B97F4A7C15 - 2**64
MIX_B = 0xD6E8FEB86659FD93 - 2**64


@inlined
def lowest(word: int, count: int) -> int:
    """The lowest `count` bytes of a word, at most all eight; without a branch, which no processor could foresee."""
    half = 4 * max(0, min(count, 8))
    return word & ~(-1 << half << half)


@inlined
def first_key(position: int, length: int) -> int:
    """The first eight bytes of a short piece, or a hash of all bytes of a long one."""
    if length <= SHORT_KEY:
        return lowest(load64(position), length)
    key = multiply(length, MIX_B)
    for offset in range(0, length - 7, 8):
        key = multiply(key ^ load64(position + offset), MIX_A)
        key ^= key >> 29
    return multiply(key ^ load64(position + length - 8), MIX_B)


@inlined
def second_key(position: int, length: int) -> int:
    """The bytes after the first eight of a short piece."""
    return lowest(load64(position + 8), length - 8) if length <= SHORT_KEY else 0


@inlined
def mix(first: int, second: int) -> int:
    """The hash that chooses the slot of two keys."""
    mixed = multiply(first ^ multiply(second, MIX_A), MIX_B)
    return mixed ^ mixed >> 32


@inlined
def same_bytes(one: int, other: int, length: int) -> bool:
    """Whether two places hold the same bytes."""
    index = 0
    while index < length and load8(one + index) == load8(other + index):
        index += 1
    return index == length


@inlined
def find_slot(table: int, mask: int, keys: int, position: int, length: int, first: int, second: int, start: int) -> int:
    """The slot of a piece, or the empty one where it belongs."""
    index = start & mask
    while True:
        slot = table + SLOT_BYTES * index
        found = load32(slot + 28)
        if found == 0:
            return slot
        if found == length and load64(slot) == first:
            if length <= SHORT_KEY:
                if load64(slot + 8) == second:
                    return slot
            elif same_bytes(keys + load64(slot + 8), position, length):
                return slot
        index = (index + 1) & mask


@compiled
def rehash(table: int, mask: int, larger: int, larger_mask: int) -> None:
    """Copy the slots of one table into a larger, empty one."""
    for index in range(mask + 1):
        slot = table + SLOT_BYTES * index
        length = load32(slot + 28)
        if length > 0:
            second = load64(slot + 8) if length <= SHORT_KEY else 0
            target = mix(load64(slot), second) & larger_mask
            while load32(larger + SLOT_BYTES * target + 28) > 0:
                target = (target + 1) & larger_mask
            for offset in range(0, SLOT_BYTES, 8):
                store64(larger + SLOT_BYTES * target + offset, load64(slot + offset))
