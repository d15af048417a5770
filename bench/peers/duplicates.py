"""Other people's near-duplicate search, each brought to the same form: texts in, the pairs that it calls alike out."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

BANDS, ROWS = 14, 8
Pair = tuple[int, int]
_WORDS = re.compile(r"\w+")


def shingles(text: str, n: int = 5) -> set[str]:
    """A text's word n-grams."""
    words = _WORDS.findall(text.lower())
    return {" ".join(words[start : start + n]) for start in range(len(words) - n + 1)}


def datasketch(texts: list[str]) -> Iterator[Pair]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    for number, text in enumerate(texts):
        signature = MinHash(num_perm=BANDS * ROWS)
        signature.update_batch([shingle.encode() for shingle in shingles(text)])
        for other in index.query(signature):
            yield other, number
        index.insert(number, signature, check_duplication=False)


def rensa(texts: list[str]) -> Iterator[Pair]:
    from rensa import RMinHash

    signatures = []
    for text in texts:
        signature = RMinHash(num_perm=BANDS * ROWS, seed=1)
        signature.update(list(shingles(text)))
        signatures.append(signature.digest())
    yield from of_bands(signatures)


def rensa_c(texts: list[str]) -> Iterator[Pair]:
    from rensa import CMinHash

    signatures = []
    for text in texts:
        signature = CMinHash(num_perm=BANDS * ROWS, seed=1)
        signature.update(list(shingles(text)))
        signatures.append(signature.digest())
    yield from of_bands(signatures)


def gaoya(texts: list[str]) -> Iterator[Pair]:
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(
        hash_size=32, jaccard_threshold=0.5, num_bands=BANDS, band_size=ROWS, num_hashes=BANDS * ROWS, analyzer="word",
        lowercase=True, ngram_range=(5, 5),
    )  # fmt: skip
    for number, text in enumerate(texts):
        for other in index.query(text):
            yield other, number
        index.insert_document(number, text)


def of_bands(signatures: Iterable[list[int]]) -> Iterator[Pair]:
    """Pairs that share a band, by dictionaries."""
    buckets: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, signature in enumerate(signatures):
        for band in range(BANDS):
            buckets[(band, *signature[band * ROWS : (band + 1) * ROWS])].append(number)
    for members in buckets.values():
        yield from combinations(members, 2)


PEERS = {"datasketch": datasketch, "rensa": rensa, "rensa CMinHash": rensa_c, "gaoya": gaoya}
