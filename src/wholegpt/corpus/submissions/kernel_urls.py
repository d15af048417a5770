"""Normal forms of many URLs as a kernel: what `urls.normalise` says, byte by byte, of all but the odd ones.

Arguments are addresses (`kernel_memory`). `classes` has a byte for each byte: the bits below say where it may stand as
it is. What is left to the long way: other schemes, ports, users, hosts of one label or beyond ASCII, dot segments,
parameters of the path (`;`) beside encodings, spaces, controls and backslashes, fragments that name a page, queries of
very many fields.
"""

from wholegpt.kernel_memory import compiled, inlined, load8, load32, load64, store8, store32, store64

HOST, PATH, QUERY = 1, 2, 4
# Of a query: where name and value of a field begin and end.
MOST_FIELDS = 32
FIELD_BYTES = 32
NOT_PLAIN = -1
LONGEST_ENDING = 8
HTTP, WWW = int.from_bytes(b"http", "little"), int.from_bytes(b"www.", "little")
DOT, SLASH, COLON, SEMICOLON, EQUALS, AND, QUESTION, NUMBER, BANG, PLUS, STAR, PERCENT, SPACE = b"./:;=&?#!+*% "
BRACKETS_AND_BAR = tuple(b"[]|")
SMALL_S, BACKSLASH, DELETE = b"s\\\x7f"


@inlined
def lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@inlined
def hex_digit(byte: int) -> int:
    """Its value, -1 for others."""
    byte = lower(byte)
    if 48 <= byte <= 57:
        return byte - 48
    return byte - 87 if 97 <= byte <= 102 else -1


@inlined
def encoded(position: int, end: int) -> int:
    """The byte that a percent-encoding here stands for, -1 where it is none."""
    if end - position < 3 or load8(position) != PERCENT:
        return -1
    high, low = hex_digit(load8(position + 1)), hex_digit(load8(position + 2))
    return high << 4 | low if high >= 0 and low >= 0 else -1


@inlined
def encode(byte: int, target: int) -> int:
    """Write a percent-encoding, and return where it ends."""
    store8(target, PERCENT)
    for place in range(2):
        digit = byte >> 4 if place == 0 else byte & 15
        store8(target + 1 + place, digit + (48 if digit < 10 else 55))
    return target + 3


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
        while position < end and load8(classes + lower(load8(position))) & HOST:
            position += 1
        if position == label:
            return 0
        if position == end or load8(position) != DOT:
            return position if dots else 0
        dots += 1
        position += 1


@inlined
def write_host(begin: int, end: int, target: int) -> int:
    for position in range(begin, end):
        store8(target, lower(load8(position)))
        target += 1
    return target


@inlined
def bare(host: int, end: int) -> int:
    """Where a host in lower case begins without its `www.`, if a domain is left."""
    if end - host > 4 and load32(host) == WWW:
        for position in range(host + 4, end):
            if load8(position) == DOT:
                return host + 4
    return host


@inlined
def part_end(position: int, end: int, mark: int) -> int:
    """Where a part of a URL ends: at `mark`, at a fragment or at the end; 0 where a byte in it is odd."""
    while position < end and load8(position) != mark and load8(position) != NUMBER:
        if load8(position) <= SPACE or load8(position) == DELETE or load8(position) == BACKSLASH:
            return 0
        position += 1
    return position


@inlined
def write_path(position: int, end: int, target: int, classes: int) -> int:
    """Write a path, encoded where needed and only there, and return where it ends; 0 for one of the odd ones."""
    begin = target
    has_parameters = changed = False
    while position < end:
        byte, inner = load8(position), encoded(position, end)
        if byte == PERCENT and inner < 0:
            return 0
        has_parameters |= byte == SEMICOLON
        kept = inner in (PERCENT, SLASH, SEMICOLON, QUESTION)
        byte = inner if inner >= 0 else byte
        if byte == DOT and target > begin and load8(target - 1) == SLASH:
            return 0
        if kept or not load8(classes + byte) & PATH:
            target = encode(byte, target)
            changed = True
        else:
            store8(target, byte)
            target += 1
        changed |= inner >= 0 or byte in BRACKETS_AND_BAR
        position += 3 if inner >= 0 else 1
    if has_parameters and (changed or load8(target - 1) == SEMICOLON):
        return 0  # w3lib leaves parameters of the path as they are
    while target > begin and load8(target - 1) == SLASH:
        target -= 1
    return target


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
def decode(position: int, end: int, target: int) -> int:
    """Write what a name or a value in a query stands for, and return where it ends."""
    while position < end:
        byte, inner = load8(position), encoded(position, end)
        store8(target, inner if inner >= 0 else SPACE if byte == PLUS else byte)
        target += 1
        position += 3 if inner >= 0 else 1
    return target


@inlined
def read_query(position: int, end: int, text: int, names: int, bounds: int, count: int, fields: int) -> int:
    """Write the decoded fields of a query to `text`, and where they are to `fields`, without those that track; return
    their number, NOT_PLAIN for very many."""
    found = 0
    while position < end:
        stop = position
        while stop < end and load8(stop) != AND:
            stop += 1
        middle = position
        while middle < stop and load8(middle) != EQUALS:
            middle += 1
        value = decode(position, middle, text)
        value_end = decode(middle + 1, stop, value)
        if stop > position and not is_tracking(text, value, names, bounds, count):
            if found == MOST_FIELDS:
                return NOT_PLAIN
            field = fields + found * FIELD_BYTES
            store64(field, text)
            store64(field + 8, value)
            store64(field + 16, value)
            store64(field + 24, value_end)
            found += 1
        text, position = value_end, stop + 1
    return found


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
def quote(position: int, end: int, target: int, classes: int) -> int:
    """Write a name or a value as it stands in a query, and return where it ends."""
    while position < end:
        byte = load8(position)
        position += 1
        if byte == SPACE or load8(classes + byte) & QUERY:
            store8(target, PLUS if byte == SPACE else byte)
            target += 1
        else:
            target = encode(byte, target)
    return target


@inlined
def write_query(fields: int, count: int, target: int, classes: int) -> int:
    for number in range(count):
        field = fields + number * FIELD_BYTES
        store8(target, AND if number else QUESTION)
        target = quote(load64(field), load64(field + 8), target + 1, classes)
        store8(target, EQUALS)
        target = quote(load64(field + 16), load64(field + 24), target + 1, classes)
    return target


@inlined
def names_a_page(position: int, end: int) -> bool:
    """Whether a fragment begins here that does not go."""
    return position + 1 < end and load8(position) == NUMBER and load8(position + 1) == BANG


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


@compiled
def normalise(
    text: int,
    offsets: int,
    count: int,
    classes: int,
    names: int,
    name_bounds: int,
    name_count: int,
    scratch: int,
    fields: int,
    normal: int,
    normal_offsets: int,
    hosts: int,
    host_offsets: int,
    endings: int,
) -> None:
    """For each of `count` URLs in `text` (bounds of 4 bytes in `offsets`) write the normal form, the host, where they
    end (8 and 4 bytes), and the ending of the path; where the long way is needed, both empty and `NOT_PLAIN`.

    A normal form takes at most three times the room of its URL; `scratch` has the room of the longest, `fields` of
    `MOST_FIELDS`.
    """
    target, host_target = normal, hosts
    for index in range(count):
        word, form_end, host_stop = NOT_PLAIN, target, host_target
        end = text + load32(offsets + 4 * index + 4)
        host = host_begin(text + load32(offsets + 4 * index), end)
        path = host_end(host, end, classes) if host else 0
        query = part_end(path, end, QUESTION) if path else 0
        fragment = part_end(query, end, NUMBER) if query else 0
        if fragment and not names_a_page(fragment, end) and (path == query or load8(path) == SLASH):
            host_stop = write_host(host, path, host_target)
            begin = bare(host_target, host_stop)
            path_begin = target
            for position in range(begin, host_stop):
                store8(path_begin, load8(position))
                path_begin += 1
            path_stop = write_path(path, query, path_begin, classes)
            found = NOT_PLAIN
            if path_stop:
                found = read_query(query + 1, fragment, scratch, names, name_bounds, name_count, fields)
            if found >= 0:
                sort(fields, found)
                form_end = write_query(fields, found, path_stop, classes)
                word = ending(path_begin, path_stop)
        if word != NOT_PLAIN:
            target, host_target = form_end, host_stop
        store64(endings + 8 * index, word)
        store64(normal_offsets + 8 * index, target - normal)
        store32(host_offsets + 4 * index, host_target - hosts)
