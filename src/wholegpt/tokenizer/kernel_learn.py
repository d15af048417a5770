"""Learning merges as kernels: the most frequent pair is merged again and again, as in `bpe.learn`.

| array            | bytes | content                                                                             |
|------------------|-------|-------------------------------------------------------------------------------------|
| ids              | 4     | the ids of all pieces, one after another; a piece shrinks in its place              |
| starts, lengths, frequencies | 8 | where each piece begins, how many ids it has now, how often it occurs       |
| pairs            | 40    | hash table: key + 1, count, first place, last piece on the list, merge that made it |
| places           | 8     | linked lists of the pieces that hold a pair: piece, next place; 0 ends a list       |
| heap             | 16    | pairs, the most frequent first (kernel_heap); entries may be out of date            |
| created          | 8     | the keys of the pairs that the merge at hand has made                               |
| merges           | 8     | the keys of the merges in order                                                     |
| token places     | 16    | of each id, where its bytes begin among the token bytes and how many they are       |
| token table      | 8     | hash table: id + 1                                                                  |

A key is left id << 32 | right id. A kernel that runs out of room returns which array must grow, to be called again.
"""

from wholegpt.kernel_memory import compiled, inlined, load8, load32, load64, multiply, store8, store32, store64
from wholegpt.tokenizer.kernel_heap import drop_first, push_entry
from wholegpt.tokenizer.kernel_table import MIX_A, first_key, mix, same_bytes, second_key

# What a kernel returns: all is done, or which array must grow.
DONE, PAIRS_FULL, PLACES_FULL, HEAP_FULL, TOKENS_FULL, MERGES_FULL = range(6)

# The words of the state.
IDS, STARTS, LENGTHS, FREQUENCIES, PIECES, PIECE = range(6)
PAIRS, PAIRS_MASK, PAIRS_USED, PLACES, PLACES_USED, PLACES_ROOM, PLACES_FREE = range(6, 13)
HEAP, HEAP_USED, HEAP_ROOM, CREATED = range(13, 17)
ENTRIES, MERGES, MERGES_USED, MERGES_ROOM = range(17, 21)
TOKEN_PLACES, TOKEN_BYTES, TOKEN_BYTES_USED, TOKEN_BYTES_ROOM, TOKEN_TABLE, TOKEN_TABLE_MASK = range(21, 27)
STATE_WORDS = 27

PAIR_BYTES = 40
NO_PIECE = -1


@inlined
def find_pair(pairs: int, mask: int, key: int) -> int:
    """The slot of a pair, or the empty one where it belongs."""
    index = (multiply(key, MIX_A) >> 20) & mask
    while True:
        slot = pairs + PAIR_BYTES * index
        found = load64(slot)
        if found == key + 1 or found == 0:
            return slot
        index = (index + 1) & mask


@inlined
def claim_pair(state: int, key: int) -> int:
    """The slot of a pair, new pairs with count 0 and an empty list."""
    slot = find_pair(load64(state + 8 * PAIRS), load64(state + 8 * PAIRS_MASK), key)
    if load64(slot) == 0:
        store64(slot, key + 1)
        store64(slot + 8, 0)
        store64(slot + 16, 0)
        store64(slot + 24, NO_PIECE)
        store64(slot + 32, 0)
        store64(state + 8 * PAIRS_USED, load64(state + 8 * PAIRS_USED) + 1)
    return slot


@inlined
def add_places(state: int, key: int, piece: int, count: int) -> int:
    """Count a pair `count` times more in a piece that holds it; returns its slot."""
    slot = claim_pair(state, key)
    store64(slot + 8, load64(slot + 8) + count)
    if load64(slot + 24) != piece:
        places = load64(state + 8 * PLACES)
        place = load64(state + 8 * PLACES_FREE)
        if place > 0:
            store64(state + 8 * PLACES_FREE, load32(places + 8 * place + 4))
        else:
            place = load64(state + 8 * PLACES_USED)
            store64(state + 8 * PLACES_USED, place + 1)
        store32(places + 8 * place, piece)
        store32(places + 8 * place + 4, load64(slot + 16))
        store64(slot + 16, place)
        store64(slot + 24, piece)
    return slot


@inlined
def take_places(state: int, key: int, count: int) -> None:
    """Count a pair `count` times less."""
    slot = claim_pair(state, key)
    store64(slot + 8, load64(slot + 8) - count)


@compiled
def count_pairs(state: int) -> int:
    """Count the pairs of all pieces, from where the last call stopped."""
    while load64(state + 8 * PIECE) < load64(state + 8 * PIECES):
        piece = load64(state + 8 * PIECE)
        length = load64(load64(state + 8 * LENGTHS) + 8 * piece)
        ids = load64(state + 8 * IDS) + 4 * load64(load64(state + 8 * STARTS) + 8 * piece)
        # Pieces hold bytes yet: a piece adds no more pairs than there are pairs of bytes.
        if (load64(state + 8 * PAIRS_USED) + min(length, 1 << 16)) * 2 > load64(state + 8 * PAIRS_MASK):
            return PAIRS_FULL
        if load64(state + 8 * PLACES_USED) + length > load64(state + 8 * PLACES_ROOM):
            return PLACES_FULL
        count = load64(load64(state + 8 * FREQUENCIES) + 8 * piece)
        for index in range(length - 1):
            add_places(state, load32(ids + 4 * index) << 32 | load32(ids + 4 * index + 4), piece, count)
        store64(state + 8 * PIECE, piece + 1)
    return DONE


@compiled
def grow_pairs(pairs: int, mask: int, larger: int, larger_mask: int) -> None:
    """Copy the pairs of one table into a larger, empty one."""
    for index in range(mask + 1):
        slot = pairs + PAIR_BYTES * index
        if load64(slot) > 0:
            target = find_pair(larger, larger_mask, load64(slot) - 1)
            for offset in range(0, PAIR_BYTES, 8):
                store64(target + offset, load64(slot + offset))


@inlined
def push_pair(state: int, count: int, key: int) -> None:
    """Put a pair on the heap."""
    size = load64(state + 8 * HEAP_USED)
    push_entry(load64(state + 8 * HEAP), size, -count, key)
    store64(state + 8 * HEAP_USED, size + 1)


@inlined
def drop_top(state: int) -> None:
    """Take the first pair off the heap."""
    size = load64(state + 8 * HEAP_USED)
    drop_first(load64(state + 8 * HEAP), size)
    store64(state + 8 * HEAP_USED, size - 1)


@compiled
def push_all_pairs(state: int) -> None:
    """Put every pair on the heap, which has room for them."""
    pairs = load64(state + 8 * PAIRS)
    for index in range(load64(state + 8 * PAIRS_MASK) + 1):
        slot = pairs + PAIR_BYTES * index
        if load64(slot) > 0:
            push_pair(state, load64(slot + 8), load64(slot) - 1)


@inlined
def find_token(state: int, position: int, length: int) -> int:
    """The id of a token's bytes, or -1 - the slot of the table where it belongs."""
    table, mask = load64(state + 8 * TOKEN_TABLE), load64(state + 8 * TOKEN_TABLE_MASK)
    index = mix(first_key(position, length), second_key(position, length)) & mask
    while True:
        token = load64(table + 8 * index) - 1  # 0: empty
        if token < 0:
            return -1 - index
        place = load64(state + 8 * TOKEN_PLACES) + 16 * token
        text = load64(state + 8 * TOKEN_BYTES)
        if load64(place + 8) == length and same_bytes(text + load64(place), position, length):
            return token
        index = (index + 1) & mask


@compiled
def claim_token(state: int, length: int) -> int:
    """The id of the `length` bytes that stand behind those of all tokens: a new one, unless a token has these bytes."""
    used, places = load64(state + 8 * TOKEN_BYTES_USED), load64(state + 8 * TOKEN_PLACES)
    token = find_token(state, load64(state + 8 * TOKEN_BYTES) + used, length)
    if token < 0:
        slot = load64(state + 8 * TOKEN_TABLE) + 8 * (-1 - token)
        token = load64(state + 8 * ENTRIES)
        store64(state + 8 * ENTRIES, token + 1)
        store64(slot, token + 1)
        store64(places + 16 * token, used)
        store64(places + 16 * token + 8, length)
        store64(state + 8 * TOKEN_BYTES_USED, used + length)
    return token


@compiled
def add_bytes(state: int, order: int) -> None:
    """Give the 256 bytes their ids, in the order of the bytes at `order`."""
    for index in range(256):
        store8(load64(state + 8 * TOKEN_BYTES) + load64(state + 8 * TOKEN_BYTES_USED), load8(order + index))
        claim_token(state, 1)


@inlined
def join_tokens(state: int, left: int, right: int) -> int:
    """The id of the bytes of two tokens together."""
    text, places = load64(state + 8 * TOKEN_BYTES), load64(state + 8 * TOKEN_PLACES)
    target = text + load64(state + 8 * TOKEN_BYTES_USED)
    length = 0
    for token in (left, right):
        source, size = text + load64(places + 16 * token), load64(places + 16 * token + 8)
        for index in range(size):
            store8(target + length + index, load8(source + index))
        length += size
    return claim_token(state, length)


@inlined
def replace_pair(state: int, key: int, other: int, count: int, piece: int, created: int, number: int) -> int:
    """Where a neighbour changed: `key` occurs less, `other` more; it joins the pairs that merge `number` made."""
    take_places(state, key, count)
    slot = add_places(state, other, piece, count)
    if load64(slot + 32) != number:
        store64(slot + 32, number)
        store64(load64(state + 8 * CREATED) + 8 * created, other)
        created += 1
    return created


@compiled
def merge_in_piece(state: int, piece: int, left: int, right: int, new: int, created: int, number: int) -> int:
    """Merge a pair in one piece; returns how many pairs the merge has made so far."""
    ids = load64(state + 8 * IDS) + 4 * load64(load64(state + 8 * STARTS) + 8 * piece)
    length = load64(load64(state + 8 * LENGTHS) + 8 * piece)
    count = load64(load64(state + 8 * FREQUENCIES) + 8 * piece)
    source = target = 0
    while source < length:
        token = load32(ids + 4 * source)
        if token == left and source + 1 < length and load32(ids + 4 * source + 4) == right:
            if target > 0:
                before = load32(ids + 4 * target - 4)
                created = replace_pair(state, before << 32 | left, before << 32 | new, count, piece, created, number)
            if source + 2 < length:
                after = load32(ids + 4 * source + 8)
                created = replace_pair(state, right << 32 | after, new << 32 | after, count, piece, created, number)
            token = new
            source += 1
        store32(ids + 4 * target, token)
        source += 1
        target += 1
    store64(load64(state + 8 * LENGTHS) + 8 * piece, target)
    return created


@inlined
def room_for(state: int, slot: int, left: int, right: int) -> int:
    """DONE if the arrays have room for the merge of a pair, otherwise the one that must grow."""
    entries = load64(state + 8 * ENTRIES)
    most_pairs = 2 * entries + 2  # a new id has at most every id on each side
    if (load64(state + 8 * PAIRS_USED) + most_pairs) * 2 > load64(state + 8 * PAIRS_MASK):
        return PAIRS_FULL
    if load64(state + 8 * HEAP_USED) + most_pairs > load64(state + 8 * HEAP_ROOM):
        return HEAP_FULL
    places, lengths = load64(state + 8 * PLACES), load64(state + 8 * LENGTHS)
    needed = 0
    place = load64(slot + 16)
    while place > 0:
        needed += load64(lengths + 8 * load32(places + 8 * place))
        place = load32(places + 8 * place + 4)
    if load64(state + 8 * PLACES_USED) + needed > load64(state + 8 * PLACES_ROOM):
        return PLACES_FULL
    tokens = load64(state + 8 * TOKEN_PLACES)
    size = load64(tokens + 16 * left + 8) + load64(tokens + 16 * right + 8)
    if load64(state + 8 * TOKEN_BYTES_USED) + size > load64(state + 8 * TOKEN_BYTES_ROOM):
        return TOKENS_FULL
    # Merges that give the same bytes share an id: there may be more merges than entries.
    return MERGES_FULL if load64(state + 8 * MERGES_USED) >= load64(state + 8 * MERGES_ROOM) else DONE


@compiled
def merge_pairs(state: int, entries: int) -> int:
    """Merge until there are so many entries or no pair is left; or returns which array must grow."""
    while load64(state + 8 * HEAP_USED) > 0 and load64(state + 8 * ENTRIES) < entries:
        top = load64(state + 8 * HEAP)
        count, key = -load64(top), load64(top + 8)
        slot = find_pair(load64(state + 8 * PAIRS), load64(state + 8 * PAIRS_MASK), key)
        current = load64(slot + 8)
        if current != count:  # out of date: the pair was counted again since
            drop_top(state)
            if current > 0:
                push_pair(state, current, key)
            continue
        left, right = key >> 32, key & 0xFFFFFFFF
        lacking = room_for(state, slot, left, right)
        if lacking != DONE:
            return lacking
        drop_top(state)
        new = join_tokens(state, left, right)
        number = load64(state + 8 * MERGES_USED) + 1
        store64(load64(state + 8 * MERGES) + 8 * number - 8, key)
        store64(state + 8 * MERGES_USED, number)
        places, place = load64(state + 8 * PLACES), load64(slot + 16)
        store64(slot + 16, 0)
        store64(slot + 24, NO_PIECE)
        created = 0
        while place > 0:
            piece, following = load32(places + 8 * place), load32(places + 8 * place + 4)
            store32(places + 8 * place + 4, load64(state + 8 * PLACES_FREE))
            store64(state + 8 * PLACES_FREE, place)
            place = following
            created = merge_in_piece(state, piece, left, right, new, created, number)
        store64(slot + 8, 0)  # every place was merged; overlapping ones were counted, too
        for index in range(created):
            other = load64(load64(state + 8 * CREATED) + 8 * index)
            remaining = load64(find_pair(load64(state + 8 * PAIRS), load64(state + 8 * PAIRS_MASK), other) + 8)
            if remaining > 0:
                push_pair(state, remaining, other)
    return DONE
