"""Byte-level BPE in plain Python (section 2.2 of the paper): split, encode, decode, learn.

This is the executable specification: whatever is faster must give the same ids. A text is split into pieces by
`PATTERN`, so that merges never cross the categories letters, digits and others, except that one space may lead a
piece. The UTF-8 bytes of a piece are then merged, the earliest learnt pair first, until no learnt pair is left.

Ids: the 256 bytes in GPT-2's order (`BYTES`), the merges in the order in which they were learnt, then
`<|endoftext|>`.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

import regex

# The pattern of the released code. `regex` and not `re`: \p{L} and \p{N} are Unicode categories.
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
END_OF_TEXT = "<|endoftext|>"

Pair = tuple[int, int]
Merge = tuple[int, int]  # rank (the order of learning) and the id that the pair becomes
NEVER: Merge = (1 << 62, -1)

# The released vocabulary numbers the printable bytes first, then the others. Its files write each byte as one
# printable character: a printable byte as itself, the others as the code points from 256 up.
PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
UNPRINTABLE = [byte for byte in range(256) if byte not in PRINTABLE]
BYTES = bytes(PRINTABLE + UNPRINTABLE)
BYTE_TO_CHARACTER = {byte: chr(byte) for byte in PRINTABLE} | {
    byte: chr(256 + index) for index, byte in enumerate(UNPRINTABLE)
}
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
BYTE_TO_ID = {byte: index for index, byte in enumerate(BYTES)}


def split(text: str, pattern: regex.Pattern[str]) -> list[str]:
    """The pieces of a text; joined they are the text again.

    >>> split("I'm here,  now", regex.compile(PATTERN))
    ['I', "'m", ' here', ',', ' ', ' now']
    """
    pieces: list[str] = pattern.findall(text)
    return pieces


def encode_piece(piece: bytes, byte_ids: Mapping[int, int], merges: Mapping[Pair, Merge]) -> list[int]:
    """The ids of one piece: merge the pair with the smallest rank, wherever it stands, until none can be merged."""
    ids = [byte_ids[byte] for byte in piece]
    while len(ids) > 1:
        pair = min(pairwise(ids), key=lambda pair: merges.get(pair, NEVER))
        if pair not in merges:
            break
        ids = merge(ids, pair, merges[pair][1])
    return ids


def merge(ids: list[int], pair: Pair, new: int) -> list[int]:
    """Replace the pair wherever it stands, from left to right.

    >>> merge([7, 7, 7, 8], (7, 7), 9)
    [9, 7, 8]
    """
    merged = []
    index = 0
    while index < len(ids):
        if index + 1 < len(ids) and (ids[index], ids[index + 1]) == pair:
            merged.append(new)
            index += 2
        else:
            merged.append(ids[index])
            index += 1
    return merged


def learn(counts: Mapping[bytes, int], entries: int) -> tuple[list[bytes], list[Pair]]:
    """Learn a vocabulary of up to so many entries from pieces and how often each occurs.

    Each step merges the most frequent pair of neighbours (overlapping places count each); of equally frequent pairs
    the one with the smaller (left id, right id), as Hugging Face's trainer does. Two merges may give the same bytes
    and then share an id. Returns the bytes of each id, and the merges in order; fewer where no pair is left.
    """
    pieces = [[BYTE_TO_ID[byte] for byte in piece] for piece in counts]
    frequency = list(counts.values())
    pair_count: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, piece in enumerate(pieces):
        for pair in pairwise(piece):
            pair_count[pair] += frequency[index]
            holders[pair].add(index)
    heap = [(-count, pair) for pair, count in pair_count.items()]
    heapq.heapify(heap)

    vocabulary = [bytes([byte]) for byte in BYTES]
    ids = {token: index for index, token in enumerate(vocabulary)}
    learnt: list[Pair] = []
    while heap and len(vocabulary) < entries:
        negative, best = heapq.heappop(heap)
        if -negative != pair_count[best]:  # out of date: the pair was counted again since
            if pair_count[best] > 0:
                heapq.heappush(heap, (-pair_count[best], best))
            continue
        token = vocabulary[best[0]] + vocabulary[best[1]]
        new = ids.setdefault(token, len(vocabulary))
        if new == len(vocabulary):
            vocabulary.append(token)
        learnt.append(best)
        for pair in _apply(best, new, holders.pop(best), pieces, frequency, pair_count, holders):
            heapq.heappush(heap, (-pair_count[pair], pair))
    return vocabulary, learnt


def _apply(
    best: Pair,
    new: int,
    where: Iterable[int],
    pieces: list[list[int]],
    frequency: list[int],
    pair_count: Counter[Pair],
    holders: defaultdict[Pair, set[int]],
) -> set[Pair]:
    """Merge one pair in the pieces that hold it; returns the pairs that came into being."""
    created: set[Pair] = set()
    for index in where:
        before = pieces[index]
        pieces[index] = after = merge(before, best, new)
        if len(after) == len(before):  # another merge took the pair away from this piece earlier
            continue
        for pair in pairwise(before):
            pair_count[pair] -= frequency[index]
        for pair in pairwise(after):
            pair_count[pair] += frequency[index]
            holders[pair].add(index)
            if new in pair:
                created.add(pair)
    return created
