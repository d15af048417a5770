"""The encoder as a kernel: documents in UTF-8 become ids.

Text repeats itself, so a hash table, the word cache, remembers the ids of pieces. `encode` splits a block of pieces
and asks the memory for their slots, then looks them up: meanwhile the memory has answered. The value of a slot holds
up to two ids, or the place of more among the `SPILLED` ones; beside the length of the piece stands how many there are.
`state` is the address of the words listed below, which are addresses unless they count.
"""

from wholegpt.kernel_memory import compiled, inlined, load8, load32, load64, prefetch, store8, store32, store64
from wholegpt.tokenizer.kernel_merge import LONGEST_SCAN, merge_long, merge_short
from wholegpt.tokenizer.kernel_split import piece_end
from wholegpt.tokenizer.kernel_table import SHORT_KEY, SLOT_BYTES, find_slot, first_key, mix, second_key

# The words of the state: the vocabulary, the cache, what this call asks for, how far it is.
CLASSES, BYTE_IDS, PAIRS, PAIRS_MASK = range(4)
WORDS, WORDS_MASK, WORDS_USED, WORDS_LARGEST = range(4, 8)
KEYS, KEYS_USED, KEYS_ROOM, SPILLED, SPILLED_USED, SPILLED_ROOM = range(8, 14)
SPANS, SCRATCH = range(14, 16)
TEXT, BOUNDS, DOCUMENTS, BEFORE, IDS, STARTS = range(16, 22)
DOCUMENT, POSITION, END, WRITTEN = range(22, 26)
STATE_WORDS = 26

# Longer pieces are rare and not remembered.
LONGEST_WORD = 512
INLINE_IDS = 2
# Pieces that are split before they are looked up, and the bytes of each span: position, length, two keys, hash.
BLOCK = 64
SPAN_BYTES = 40
DOCUMENT_START = -1


@inlined
def remember(state: int, slot: int, position: int, length: int, first: int, second: int, ids: int, count: int) -> None:
    """Put a piece and its ids into an empty slot, if there is room."""
    keys_used, spilled_used = load64(state + 8 * KEYS_USED), load64(state + 8 * SPILLED_USED)
    if length > SHORT_KEY:
        if keys_used + length > load64(state + 8 * KEYS_ROOM):
            return
        second = keys_used
    if count > INLINE_IDS:
        if spilled_used + count > load64(state + 8 * SPILLED_ROOM):
            return
        for index in range(count):
            store32(load64(state + 8 * SPILLED) + 4 * (spilled_used + index), load32(ids + 4 * index))
        store64(state + 8 * SPILLED_USED, spilled_used + count)
        store64(slot + 16, spilled_used)
    else:
        store64(slot + 16, load64(ids))
    if length > SHORT_KEY:
        for index in range(length):
            store8(load64(state + 8 * KEYS) + keys_used + index, load8(position + index))
        store64(state + 8 * KEYS_USED, keys_used + length)
    store64(slot, first)
    store64(slot + 8, second)
    store64(slot + 24, length << 32 | count)
    store64(state + 8 * WORDS_USED, load64(state + 8 * WORDS_USED) + 1)


@inlined
def recall(slot: int, spilled: int, out: int) -> int:
    """Write the ids of a slot to `out`; returns the end of what was written."""
    count = load32(slot + 24)
    if count <= INLINE_IDS:
        store64(out, load64(slot + 16))
    else:
        source = spilled + 4 * load64(slot + 16)
        for index in range(count):
            store32(out + 4 * index, load32(source + 4 * index))
    return out + 4 * count


@compiled
def look_up(state: int, count: int) -> None:
    """Write the ids of a block of `count` spans behind those that are there."""
    words, mask = load64(state + 8 * WORDS), load64(state + 8 * WORDS_MASK)
    keys, spilled = load64(state + 8 * KEYS), load64(state + 8 * SPILLED)
    byte_ids, scratch = load64(state + 8 * BYTE_IDS), load64(state + 8 * SCRATCH)
    pairs, pairs_mask = load64(state + 8 * PAIRS), load64(state + 8 * PAIRS_MASK)
    ids = load64(state + 8 * IDS)
    out = ids + 4 * load64(state + 8 * WRITTEN)
    for number in range(count):
        span = load64(state + 8 * SPANS) + SPAN_BYTES * number
        position, length = load64(span), load64(span + 8)
        if length == DOCUMENT_START:
            store64(load64(state + 8 * STARTS) + 8 * position, (out - ids) >> 2)
            if load64(state + 8 * BEFORE) >= 0:
                store32(out, load64(state + 8 * BEFORE))
                out += 4
        elif length > LONGEST_WORD:
            out = merge_long(position, length, byte_ids, pairs, pairs_mask, out)
        else:
            first, second = load64(span + 16), load64(span + 24)
            slot = find_slot(words, mask, keys, position, length, first, second, load64(span + 32))
            if load32(slot + 28) > 0:
                out = recall(slot, spilled, out)
            else:
                start = out
                if length > LONGEST_SCAN:
                    out = merge_long(position, length, byte_ids, pairs, pairs_mask, out)
                else:
                    out = merge_short(position, length, byte_ids, pairs, pairs_mask, scratch, out)
                if load64(state + 8 * WORDS_USED) * 4 < mask * 3:
                    remember(state, slot, position, length, first, second, start, (out - start) >> 2)
    store64(state + 8 * WRITTEN, (out - ids) >> 2)


@compiled
def encode(state: int) -> bool:
    """Encode documents from where the last call stopped; True when all are done, False when the cache should grow."""
    classes, spans = load64(state + 8 * CLASSES), load64(state + 8 * SPANS)
    words, mask = load64(state + 8 * WORDS), load64(state + 8 * WORDS_MASK)
    documents, bounds = load64(state + 8 * DOCUMENTS), load64(state + 8 * BOUNDS)
    document, position, end = load64(state + 8 * DOCUMENT), load64(state + 8 * POSITION), load64(state + 8 * END)
    while position < end or document < documents:
        count = 0
        while count < BLOCK and (position < end or document < documents):
            span = spans + SPAN_BYTES * count
            if position < end:
                stop = piece_end(classes, position, end)
                length = stop - position
                store64(span, position)
                store64(span + 8, length)
                if length <= LONGEST_WORD:
                    first, second = first_key(position, length), second_key(position, length)
                    start = mix(first, second)
                    store64(span + 16, first)
                    store64(span + 24, second)
                    store64(span + 32, start)
                    prefetch(words + SLOT_BYTES * (start & mask))
                position = stop
            else:
                store64(span, document)
                store64(span + 8, DOCUMENT_START)
                document += 1
                end = load64(state + 8 * TEXT) + load64(bounds + 8 * document)
            count += 1
        look_up(state, count)
        used = load64(state + 8 * WORDS_USED)
        if used * 2 > mask and mask + 1 < load64(state + 8 * WORDS_LARGEST):
            break
    store64(state + 8 * DOCUMENT, document)
    store64(state + 8 * POSITION, position)
    store64(state + 8 * END, end)
    return position >= end and document >= documents
