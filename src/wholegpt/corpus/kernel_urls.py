"""Normal forms of many URLs as a kernel: `urls.normalise` where it takes its short way, byte by byte.

Arguments are addresses (`kernel_memory`). `classes` has a byte for each byte: the bits below say in which parts of a
plain URL it may stand.
"""

from wholegpt.kernel_memory import compiled, inlined, load8, load32, load64, store8, store32, store64

HOST, PATH, VALUE = 1, 2, 4
# Of a query: where name and value of a field begin and end. More fields are left to the long way.
MOST_FIELDS = 32
FIELD_BYTES = 32
NOT_PLAIN = -1
LONGEST_ENDING = 8
HTTP, WWW = int.from_bytes(b"http", "little"), int.from_bytes(b"www.", "little")
DOT, SLASH, COLON, SEMICOLON, EQUALS, AND, QUESTION, NUMBER, BANG, COMMA = b"./:;=&?#!,"
SMALL_S, STAR, PERCENT = b"s*%"


@inlined
def past(position: int, end: int, classes: int, part: int) -> int:
    """Where the bytes end that may stand in this part."""
    while position < end and load8(classes + load8(position)) & part:
        position += 1
    return position


@inlined
def lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@inlined
def copied(begin: int, end: int, target: int) -> int:
    for position in range(begin, end):
        store8(target, load8(position))
        target += 1
    return target


@inlined
def quoted(begin: int, end: int, target: int) -> int:
    """Copy what stands in a query: `/`, `:` and `,` as %2F, %3A and %2C."""
    for position in range(begin, end):
        byte = load8(position)
        if byte in (SLASH, COLON, COMMA):
            store8(target, PERCENT)
            store8(target + 1, 51 if byte == COLON else 50)
            store8(target + 2, 70 if byte == SLASH else 65 if byte == COLON else 67)
            target += 3
        else:
            store8(target, byte)
            target += 1
    return target


@inlined
def host_begin(begin: int, end: int) -> int:
    """Where the host of a URL of http or https begins; 0 for others."""
    if end - begin < 9 or load32(begin) != HTTP:
        return 0
    position = begin + 5 if load8(begin + 4) == SMALL_S else begin + 4
    if load8(position) != COLON or load8(position + 1) != SLASH or load8(position + 2) != SLASH:
        return 0
    return position + 3


@inlined
def host_end(position: int, end: int, classes: int) -> int:
    """Where a host of two labels or more ends; 0 for others."""
    dots = 0
    while True:
        label = position
        position = past(position, end, classes, HOST)
        if position == label:
            return 0
        if position == end or load8(position) != DOT:
            return position if dots else 0
        dots += 1
        position += 1


@inlined
def path_end(begin: int, end: int, classes: int) -> int:
    """Where a path ends that w3lib leaves as it is; 0 for others."""
    if begin == end or load8(begin) != SLASH:
        return begin
    stop = past(begin, end, classes, PATH)
    for position in range(begin, stop - 1):
        if load8(position) == SLASH and load8(position + 1) == DOT:
            return 0
    return 0 if load8(stop - 1) == SEMICOLON else stop


@inlined
def is_tracking(begin: int, end: int, names: int, bounds: int, count: int) -> bool:
    """Whether a name is in the list: `count` bounds of names in `names`; one that ends in `*` stands for any ending."""
    for number in range(count):
        name = names + load64(bounds + 8 * number)
        size = load64(bounds + 8 * number + 8) - load64(bounds + 8 * number)
        if load8(name + size - 1) == STAR:
            size -= 1
            if end - begin < size:
                continue
        elif end - begin != size:
            continue
        same = 0
        while same < size and load8(name + same) == lower(load8(begin + same)):
            same += 1
        if same == size:
            return True
    return False


@inlined
def order(begin: int, end: int, other: int, other_end: int) -> int:
    """Below 0 where the first string of bytes comes before the second, 0 where they are equal, above 0 else."""
    while begin < end and other < other_end:
        difference = load8(begin) - load8(other)
        if difference:
            return difference
        begin += 1
        other += 1
    return (end - begin) - (other_end - other)


@inlined
def comes_before(field: int, other: int) -> bool:
    found = order(load64(field), load64(field + 8), load64(other), load64(other + 8))
    if found == 0:
        found = order(load64(field + 16), load64(field + 24), load64(other + 16), load64(other + 24))
    return found < 0


@inlined
def sort(fields: int, count: int) -> None:
    """By name, then value."""
    for number in range(1, count):
        place = fields + number * FIELD_BYTES
        while place > fields and comes_before(place, place - FIELD_BYTES):
            for offset in range(0, FIELD_BYTES, 8):
                earlier, later = load64(place - FIELD_BYTES + offset), load64(place + offset)
                store64(place - FIELD_BYTES + offset, later)
                store64(place + offset, earlier)
            place -= FIELD_BYTES


@inlined
def query_end(position: int, end: int, classes: int, names: int, bounds: int, count: int, fields: int) -> int:
    """Write the fields of a query and return their number << 32 | its length; NOT_PLAIN for others."""
    begin, found = position, 0
    while True:
        name = position
        position = past(position, end, classes, VALUE)
        if position == name:
            return 0 if found == 0 and position == begin else NOT_PLAIN
        if found == MOST_FIELDS or is_tracking(name, position, names, bounds, count):
            return NOT_PLAIN
        field = fields + found * FIELD_BYTES
        store64(field, name)
        store64(field + 8, position)
        if position < end and load8(position) == EQUALS:
            position += 1
            store64(field + 16, position)
            position = past(position, end, classes, VALUE)
        else:
            store64(field + 16, position)
        store64(field + 24, position)
        found += 1
        if position == end or load8(position) != AND:
            return found << 32 | (position - begin)
        position += 1


@inlined
def is_fragment(position: int, end: int) -> bool:
    """Whether a fragment begins here that names no page of its own."""
    return load8(position) == NUMBER and (position + 1 == end or load8(position + 1) != BANG)


@inlined
def ending(begin: int, end: int) -> int:
    """The ending of a path in lower case as a word, 0 where there is none or it is long."""
    position = end - 1
    while position > begin and load8(position) != SLASH:
        if load8(position) == DOT:
            size = end - position - 1
            word = 0
            if size <= LONGEST_ENDING:
                for offset in range(size):
                    word |= lower(load8(position + 1 + offset)) << 8 * offset
            return word
        position -= 1
    return 0


@inlined
def bare(host: int, end: int) -> int:
    """Where a host begins without its `www.`, if a domain is left."""
    if end - host > 4 and load32(host) == WWW:
        for position in range(host + 4, end):
            if load8(position) == DOT:
                return host + 4
    return host


@inlined
def written(host: int, path: int, path_stop: int, fields: int, count: int, target: int) -> int:
    """Write a normal form of its parts, and return where it ends."""
    target = copied(bare(host, path), path_stop, target)
    sort(fields, count)
    for number in range(count):
        field = fields + number * FIELD_BYTES
        store8(target, AND if number else QUESTION)
        target = quoted(load64(field), load64(field + 8), target + 1)
        store8(target, EQUALS)
        target = quoted(load64(field + 16), load64(field + 24), target + 1)
    return target


@compiled
def normalise(
    text: int,
    offsets: int,
    count: int,
    classes: int,
    names: int,
    name_bounds: int,
    name_count: int,
    fields: int,
    normal: int,
    normal_offsets: int,
    hosts: int,
    host_offsets: int,
    endings: int,
) -> None:
    """For each of `count` URLs in `text` (bounds of 4 bytes in `offsets`) write the normal form, the host, where they
    end (8 and 4 bytes), and the ending of the path; where the long way is needed, both empty and `NOT_PLAIN`.

    A normal form takes at most three times the room of its URL; `fields` has room for `MOST_FIELDS`.
    """
    target, host_target = normal, hosts
    for index in range(count):
        store64(endings + 8 * index, NOT_PLAIN)
        end = text + load32(offsets + 4 * index + 4)
        host = host_begin(text + load32(offsets + 4 * index), end)
        path = host_end(host, end, classes) if host else 0
        stop = path_end(path, end, classes) if path else 0
        position, found = stop, 0 if stop else NOT_PLAIN
        if stop and position < end and load8(position) == QUESTION:
            query = query_end(position + 1, end, classes, names, name_bounds, name_count, fields)
            found = query >> 32
            position += 1 + (query & 0xFFFFFFFF)
        if found >= 0 and (position == end or is_fragment(position, end)):
            while stop > path and load8(stop - 1) == SLASH:
                stop -= 1
            target = written(host, path, stop, fields, found, target)
            host_target = copied(host, path, host_target)
            store64(endings + 8 * index, ending(path, stop))
        store64(normal_offsets + 8 * index, target - normal)
        store32(host_offsets + 4 * index, host_target - hosts)
