"""Words, n-grams, MinHash and the index as kernels over UTF-8; their readable twins stand in the files beside.

Arguments are addresses unless they count; texts end in the spare bytes of `compiled.PADDING_BYTES`. `lowered` is the
table of `words.lowered_table()`. Of a text `fill` makes the hashes of its n-grams a block at a time; the other kernels
do something with each. `state` is the address of the words listed below.
"""

from wholegpt.kernel_memory import (
    code_point,
    compiled,
    count_zeros_below,
    inlined,
    load8,
    load32,
    load64,
    multiply,
    prefetch,
    store8,
    store64,
    subtract,
)

# Where in the text `fill` is, and where it ends; the n-gram so far, how many words it has seen, the last of them.
POSITION, END, ROLLING, WORDS, RING = range(5)
LONGEST_GRAM = 16
STATE_WORDS = RING + LONGEST_GRAM
# N-grams that are made before they are used.
BLOCK = 512
# A bin without an n-gram.
EMPTY = 1 << 32

# Odd numbers without pattern, signed as all words here; twins of those in `hashing.py`.
MIX_A = 0x9E3779B97F4A7C15 - 2**64
MIX_B = 0xD6E8FEB86659FD93 - 2**64
SEED = 0x2545F4914F6CDD1D
BASE = 0x5851F42D4C957F2B
LOW_32 = 0xFFFFFFFF

# The same byte in all eight places of a word.
ONES = 0x0101010101010101
HIGH_BITS = 0x80 * ONES - 2**64
LOW_BITS = 0x7F * ONES
CASE_BITS = 0x20 * ONES
LETTERS_FROM, LETTERS_TO = ord("a") * ONES, (0x80 | ord("z")) * ONES - 2**64
DIGITS_FROM, DIGITS_TO = ord("0") * ONES, (0x80 | ord("9")) * ONES - 2**64


@inlined
def mix(word: int) -> int:
    """Spread every bit of a word over all; no two words become the same."""
    word = multiply(word, MIX_A)
    word ^= word >> 32 & LOW_32
    word = multiply(word, MIX_B)
    return word ^ (word >> 32 & LOW_32)


@inlined
def add(one: int, other: int) -> int:
    """The sum of two words, which wraps around."""
    return subtract(one, subtract(0, other))


@inlined
def lowest(word: int, count: int) -> int:
    """The lowest `count` bytes of a word, 0 to 8; without a branch, which no processor could foresee."""
    half = 4 * count
    return word & ~(-1 << half << half)


@inlined
def alphanumeric(eight: int) -> int:
    """The high bit of each of eight bytes that is an ASCII letter or digit."""
    lower, low = (eight | CASE_BITS), eight & LOW_BITS
    letters = subtract(lower | HIGH_BITS, LETTERS_FROM) & subtract(LETTERS_TO, lower & LOW_BITS)
    digits = subtract(low | HIGH_BITS, DIGITS_FROM) & subtract(DIGITS_TO, low)
    return (letters | digits) & ~eight & HIGH_BITS


@inlined
def byte_width(letter: int) -> int:
    """How many bytes a letter of the table `lowered` has."""
    return 1 + (letter > 0xFF) + (letter > 0xFFFF) + (letter > 0xFFFFFF)


@compiled
def fill(state: int, lowered: int, n: int, power: int, out: int, room: int) -> int:
    """Write the hashes of the text's next n-grams, at most `room`; returns how many, fewer only at the text's end.

    `power` is BASE ** n.
    """
    position, end = load64(state + 8 * POSITION), load64(state + 8 * END)
    rolling, words = load64(state + 8 * ROLLING), load64(state + 8 * WORDS)
    written = 0
    while written < room and position < end:
        start = position
        # The word's hash so far, and the bytes, up to seven, that are still to go into it.
        hashed, block, held = SEED, 0, 0
        going_on = True
        while going_on:
            eight = load64(position)
            width = min(count_zeros_below(~alphanumeric(eight) & HIGH_BITS) >> 3, end - position)
            letters = lowest(eight | CASE_BITS, width)
            if width > 0:
                position += width
                # The byte after a shorter run ends the word, unless it is no ASCII.
                going_on = width == 8 or load8(position) >= 0x80
            else:
                if position >= end or load8(position) < 0x80:
                    break
                point = code_point(position)
                letters = load32(lowered + 4 * (point >> 3))
                if letters == 0:
                    break
                position += point & 7
                width = byte_width(letters)
            block |= letters << 4 * held << 4 * held
            if held + width >= 8:
                hashed = mix(hashed ^ block)
                rest = 4 * (8 - held)
                block = letters >> rest >> rest
            held = (held + width) & 7
        length = position - start
        position += 1 if load8(position) < 0x80 else code_point(position) & 7
        if length == 0:
            continue
        if held > 0:
            hashed = mix(hashed ^ block)
        before = load64(state + 8 * (RING + ((words - n) & (LONGEST_GRAM - 1))))
        store64(state + 8 * (RING + (words & (LONGEST_GRAM - 1))), hashed)
        rolling = add(multiply(rolling, BASE), hashed)
        if words >= n:
            rolling = subtract(rolling, multiply(before, power))
        words += 1
        if words >= n:
            gram = mix(rolling)
            store64(out + 8 * written, gram + (gram == 0))
            written += 1
    store64(state + 8 * POSITION, position)
    store64(state + 8 * ROLLING, rolling)
    store64(state + 8 * WORDS, words)
    return written


@inlined
def begin(state: int, text: int, bounds: int, document: int) -> None:
    """Let `fill` begin a document."""
    store64(state + 8 * POSITION, text + load64(bounds + 8 * document))
    store64(state + 8 * END, text + load64(bounds + 8 * document + 8))
    store64(state + 8 * ROLLING, 0)
    store64(state + 8 * WORDS, 0)


@compiled
def hashes(
    state: int, lowered: int, text: int, bounds: int, documents: int, n: int, power: int, out: int, ends: int, room: int
) -> None:
    """Write the hashes of all documents' n-grams one after another, and where those of each end."""
    written = 0
    for document in range(documents):
        begin(state, text, bounds, document)
        written += fill(state, lowered, n, power, out + 8 * written, room - written)
        store64(ends + 8 * document, written)


@inlined
def slot_of(table: int, mask: int, gram: int) -> int:
    """Where a hash stands in a table of hashes, or the empty place, a zero, where it belongs."""
    index = gram & mask
    while True:
        slot = table + 8 * index
        found = load64(slot)
        if found == gram or found == 0:
            return slot
        index = (index + 1) & mask


@inlined
def empty_table(table: int, keys: int) -> int:
    """Empty the beginning of a table for so many keys, at most half full; returns its mask."""
    slots = 8
    while slots < 2 * keys:
        slots *= 2
    for index in range(slots):
        store64(table + 8 * index, 0)
    return slots - 1


@compiled
def distinct(grams: int, bounds: int, documents: int, table: int, ends: int) -> None:
    """Keep each document's hashes once, moved together to the beginning of `grams`; write where each one's end."""
    written = 0
    for document in range(documents):
        start, end = load64(bounds + 8 * document), load64(bounds + 8 * document + 8)
        mask = empty_table(table, end - start)
        for index in range(start, end):
            gram = load64(grams + 8 * index)
            slot = slot_of(table, mask, gram)
            if load64(slot) == 0:
                store64(slot, gram)
                store64(grams + 8 * written, gram)
                written += 1
        store64(ends + 8 * document, written)


@compiled
def count_shared(sets: int, bounds: int, lefts: int, rights: int, pairs: int, table: int, out: int) -> None:
    """How many hashes both sets of each pair have; quickest where pairs of one left set follow each other."""
    mask = 0
    for pair in range(pairs):
        left, right = load64(lefts + 8 * pair), load64(rights + 8 * pair)
        if pair == 0 or left != load64(lefts + 8 * pair - 8):
            start, end = load64(bounds + 8 * left), load64(bounds + 8 * left + 8)
            mask = empty_table(table, end - start)
            for index in range(start, end):
                gram = load64(sets + 8 * index)
                store64(slot_of(table, mask, gram), gram)
        shared = 0
        for index in range(load64(bounds + 8 * right), load64(bounds + 8 * right + 8)):
            shared += load64(slot_of(table, mask, load64(sets + 8 * index))) != 0
        store64(out + 8 * pair, shared)


@compiled
def band_keys(grams: int, bounds: int, documents: int, bands: int, rows: int, bins: int, filled: int, out: int) -> None:
    """Write the keys of all bands of each document; `bins` and `filled` are scratch of bands * rows words."""
    size = bands * rows
    for document in range(documents):
        start, end = load64(bounds + 8 * document), load64(bounds + 8 * document + 8)
        for number in range(size):
            store64(bins + 8 * number, EMPTY)
        for index in range(start, end):
            gram = load64(grams + 8 * index)
            place = bins + 8 * ((gram >> 32 & LOW_32) * size >> 32)
            store64(place, min(load64(place), gram & LOW_32))
        for number in range(size):
            value = load64(bins + 8 * number)
            attempt = 0
            while value == EMPTY and end > start:
                attempt += 1
                other = mix(number << 32 | attempt) >> 32 & LOW_32
                value = load64(bins + 8 * (other * size >> 32))
            store64(filled + 8 * number, value)
        for band in range(bands):
            key = mix(band + 1)
            for row in range(rows):
                key = mix(key ^ load64(filled + 8 * (band * rows + row)))
            store64(out + 8 * (document * bands + band), key)


@compiled
def fill_index(grams: int, count: int, table: int, mask: int, bits: int, bits_mask: int) -> None:
    """Put hashes into a table, and mark the bit that the high half of each chooses."""
    for index in range(count):
        gram = load64(grams + 8 * index)
        store64(slot_of(table, mask, gram), gram)
        bit = gram >> 32 & bits_mask
        place = bits + (bit >> 3)
        store8(place, load8(place) | 1 << (bit & 7))


@compiled
def search(
    state: int, lowered: int, text: int, bounds: int, documents: int, n: int, power: int, grams: int,
    table: int, mask: int, bits: int, bits_mask: int, marks: int, out: int,
) -> None:  # fmt: skip
    """Of each document write: how many n-grams, how many of them are in the table, the most that follow each other.

    Found slots get a mark, a byte each. The bits are asked first: they are few enough for a near memory. `grams` is
    scratch of 2 * BLOCK words.
    """
    maybe = grams + 8 * BLOCK
    for document in range(documents):
        begin(state, text, bounds, document)
        total = hits = run = longest = 0
        last = -1
        count = BLOCK
        while count == BLOCK:
            count = fill(state, lowered, n, power, grams, BLOCK)
            for index in range(count):
                prefetch(bits + ((load64(grams + 8 * index) >> 32 & bits_mask) >> 3))
            candidates = 0
            for index in range(count):
                gram = load64(grams + 8 * index)
                bit = gram >> 32 & bits_mask
                store64(maybe + 8 * candidates, index)
                candidates += load8(bits + (bit >> 3)) >> (bit & 7) & 1
            for candidate in range(candidates):
                prefetch(table + 8 * (load64(grams + 8 * load64(maybe + 8 * candidate)) & mask))
            for candidate in range(candidates):
                index = load64(maybe + 8 * candidate)
                slot = slot_of(table, mask, load64(grams + 8 * index))
                if load64(slot) != 0:
                    store8(marks + ((slot - table) >> 3), 1)
                    hits += 1
                    run = run + 1 if last == total + index - 1 else 1
                    last = total + index
                    longest = max(longest, run)
            total += count
        store64(out + 24 * document, total)
        store64(out + 24 * document + 8, hits)
        store64(out + 24 * document + 16, longest)
