"""Splitting as kernels: UTF-8 bytes into the pieces of GPT-2's pattern, `bpe.PATTERN`.

Arguments are addresses; `classes` is the table of `classes.table()`. Bytes that are not UTF-8 give some pieces and
never a read outside the padded text.
"""

from wholegpt.kernel_memory import (
    code_point,
    compiled,
    count_ones,
    count_zeros_below,
    inlined,
    load8,
    load64,
    multiply,
    subtract,
)

# The classes of `classes.py` that the pattern treats in a way of their own.
LETTER, SPACE = 1, 3

# The same byte in all eight places of a word.
ONES = 0x0101010101010101
LOW_BITS = 0x7F * ONES
HIGH_BITS = 0x80 * ONES - 2**64
CASE_BITS = 0x20 * ONES
FIRST_LETTERS = ord("a") * ONES
HIGH_LAST_LETTERS = (0x80 | ord("z")) * ONES - 2**64


@inlined
def class_and_width(classes: int, position: int) -> int:
    """The class of the character at a position and its width, as class << 3 | width."""
    lead = load8(position)
    if lead < 0x80:
        return load8(classes + lead) << 3 | 1
    point = code_point(position)
    return load8(classes + (point >> 3)) << 3 | point & 7


@inlined
def run_end(classes: int, position: int, end: int, kind: int) -> int:
    """Where the run of characters of one class ends."""
    while position < end:
        found = class_and_width(classes, position)
        if found >> 3 != kind:
            break
        position += found & 7
    return position


@inlined
def letters_end(classes: int, position: int, end: int) -> int:
    """Where the run of letters ends, eight ASCII letters at a time."""
    while position < end:
        eight = load64(position)
        lower = eight | CASE_BITS
        # The high bit of each byte: it is at least "a", at most "z", and was below 0x80.
        at_most = subtract(HIGH_LAST_LETTERS, lower & LOW_BITS)
        letters = subtract(lower | HIGH_BITS, FIRST_LETTERS) & at_most & ~eight
        others = ~letters & HIGH_BITS
        if others == 0:
            position += 8
            continue
        position += count_zeros_below(others) >> 3
        if position >= end or load8(position) < 0x80:
            break
        found = class_and_width(classes, position)
        if found >> 3 != LETTER:
            break
        position += found & 7
    return position


@inlined
def contraction(position: int, end: int) -> int:
    """The length of 's 't 'd 'm 'll 've 're at an apostrophe, 0 for none."""
    left = end - position
    first = load8(position + 1)
    if left > 1 and (first == ord("s") or first == ord("t") or first == ord("d") or first == ord("m")):
        return 2
    second = load8(position + 2)
    ends_in_e = (first == ord("v") or first == ord("r")) and second == ord("e")
    if left > 2 and (ends_in_e or (first == ord("l") and second == ord("l"))):
        return 3
    return 0


@inlined
def piece_end(classes: int, position: int, end: int) -> int:
    """Where the piece that begins at a position ends, by `bpe.PATTERN`."""
    lead = load8(position)
    if lead == ord("'"):
        length = contraction(position, end)
        if length > 0:
            return position + length
    start = position
    found = class_and_width(classes, position)
    if lead == ord(" ") and position + 1 < end:
        after = class_and_width(classes, position + 1)
        if after >> 3 != SPACE:  # one space leads the piece
            found = after
            start = position + 1
    kind = found >> 3
    stop = start + (found & 7)
    if kind == LETTER:
        stop = letters_end(classes, stop, end)
    elif kind != SPACE:
        stop = run_end(classes, stop, end, kind)
    else:
        last = position
        while stop < end:
            found = class_and_width(classes, stop)
            if found >> 3 != SPACE:
                break
            last = stop
            stop += found & 7
        # White space before a word leaves its last character to the word, unless it is the only one.
        if stop < end and last > position:
            stop = last
    return min(stop, end)


@inlined
def at_least(eight: int, byte: int) -> int:
    """The high bit of each of eight ASCII bytes that is at least so large."""
    return subtract(eight | HIGH_BITS, multiply(byte, ONES)) & HIGH_BITS


@compiled
def count_words(classes: int, text: int, bounds: int, documents: int) -> int:
    """How many words `str.split()` finds in all documents; it also splits at the separators U+001C to U+001F."""
    words = 0
    for document in range(documents):
        position, end = text + load64(bounds + 8 * document), text + load64(bounds + 8 * document + 8)
        before = 0x80  # white space before this place, as a high bit
        while position < end:
            eight = load64(position)
            if position + 8 <= end and eight & HIGH_BITS == 0:
                spaces = (at_least(eight, 9) ^ at_least(eight, 14)) | (at_least(eight, 28) ^ at_least(eight, 33))
                words += count_ones(~spaces & (spaces << 8 | before))
                before = spaces >> 56 & 0x80
                position += 8
                continue
            found = class_and_width(classes, position)
            space = found >> 3 == SPACE or 0x1C <= load8(position) <= 0x1F
            if before > 0 and not space:
                words += 1
            before = 0x80 if space else 0
            position += found & 7
    return words
