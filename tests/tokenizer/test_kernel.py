"""The kernels against the readable twin: the same ids for every text, vocabulary and number of threads."""

import copy
import pickle
import random
from itertools import pairwise

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.tokenizer import Tokenizer, bpe, classes
from wholegpt.tokenizer.encoder import Encoder, PlainEncoder

PATTERN = regex.compile(bpe.PATTERN)


@pytest.fixture(scope="module")
def gpt2() -> Tokenizer:
    return Tokenizer.load("gpt2")


@pytest.fixture(scope="module")
def twin(gpt2: Tokenizer) -> PlainEncoder:
    """The functions of `bpe` with a memory for pieces."""
    return PlainEncoder(gpt2._tables.byte_ids, gpt2._tables.merges, bpe.PATTERN)


def ids_of(twin: PlainEncoder, text: str) -> list[int]:
    return twin.encode([text.encode()])[0].tolist()


def twin_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids by nothing but the functions of `bpe`."""
    ids = {token: index for index, token in enumerate(tokenizer.vocabulary) if index not in tokenizer.special.values()}
    byte_ids = {byte: ids[bytes([byte])] for byte in range(256)}
    merges: dict[bpe.Pair, bpe.Merge] = {}
    for rank, (left, right) in enumerate(tokenizer.merges):
        merges.setdefault((left, right), (rank, ids[tokenizer.vocabulary[left] + tokenizer.vocabulary[right]]))
    return [
        index for piece in classes.split(text, PATTERN) for index in bpe.encode_piece(piece.encode(), byte_ids, merges)
    ]


# What splitting turns on: contractions in every case, all kinds of white space, letters and numbers of many scripts,
# combining marks, joiners, characters at the ends of the planes.
SNIPPETS = st.sampled_from(
    [
        *"aZ09_-'’!?\t\n\r\v\f \x1c\x1f\x85\xa0\u1680\u2003\u2028\u3000\u200b\u200d\u0301\ufeff\ufffd\x00",
        *("'s", "'S", "'ll", "'Ve", "'re", "'t", "  ", "   ", "abcdefgh", "<|endoftext|>"),
        *("é", "ß", "Ω", "ж", "א", "ع", "中", "文", "²", "½", "٣", "१", "Ⅷ", "𝒜", "𝟘", "\U00033000"),
        *("🙂", "👩\u200d👩", "🇩🇪", "\U0001fffe", "\U0010ffff", "\U000e0041"),
    ]
)
TEXTS = st.one_of(
    st.lists(SNIPPETS, max_size=40).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.binary(max_size=60).map(lambda data: data.decode(errors="replace")),
    st.binary(max_size=60).map(lambda data: data.decode("latin-1")),
)


@given(TEXTS)
@settings(max_examples=1000, deadline=None)
def test_any_text_has_the_ids_of_the_twin(gpt2: Tokenizer, twin: PlainEncoder, text: str) -> None:
    assert isinstance(gpt2._encoder, Encoder)
    ids = gpt2.encode_ordinary(text)
    assert ids == ids_of(twin, text)
    assert gpt2.decode(ids) == text


def test_the_plain_encoder_is_the_twin(gpt2: Tokenizer, twin: PlainEncoder) -> None:
    text = "It's a test:  we'll see 42 naïve 中文 🙂\n\n end "
    assert ids_of(twin, text) == twin_ids(gpt2, text) == gpt2.encode_ordinary(text)


@given(st.lists(st.binary(max_size=40), max_size=10))
@settings(max_examples=300, deadline=None)
def test_bytes_that_are_not_utf8_do_no_harm(gpt2: Tokenizer, documents: list[bytes]) -> None:
    ids = gpt2.encode_documents(documents)
    ends = [*np.flatnonzero(ids == gpt2.eot).tolist(), len(ids)]
    assert [gpt2.decode_bytes(ids[start + 1 : end].tolist()) for start, end in pairwise(ends)] == documents


@given(st.lists(TEXTS, max_size=10))
@settings(max_examples=200, deadline=None)
def test_words_are_those_of_split(gpt2: Tokenizer, twin: PlainEncoder, texts: list[str]) -> None:
    documents = [text.encode() for text in texts]
    assert gpt2.count_words(documents) == twin.words(documents) == sum(len(text.split()) for text in texts)


def test_every_white_space_character_ends_a_word(gpt2: Tokenizer) -> None:
    text = "a".join(chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    assert gpt2.count_words([text.encode()]) == len(text.split())


RUNS = {
    "letters": "a" * 100_000,
    "spaces": " " * 1_000_000 + "x",
    "newlines": "\n" * 100_000,
    "marks": "!" * 100_000,
    "pairs": "ab" * 50_000,
    "ideographs": "天地玄黃宇宙洪荒" * 12_500,
    "random": "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz", k=100_000)),
}


@pytest.mark.parametrize("name", RUNS)
def test_long_runs(gpt2: Tokenizer, twin: PlainEncoder, name: str) -> None:
    """The twin is quadratic, so it checks a part: `merge_long` begins at 97 bytes."""
    text = RUNS[name]
    assert gpt2.decode(gpt2.encode_ordinary(text)) == text
    short = text[:700] + "'s" + text[-300:]
    assert gpt2.encode_ordinary(short) == ids_of(twin, short)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 31, 95, 96, 97, 511, 512, 513, 1025])
def test_pieces_of_every_size_class(gpt2: Tokenizer, twin: PlainEncoder, length: int) -> None:
    """Keys of one and two words and hashes, scans and heaps, remembered or not; the second time from the cache."""
    letters = random.Random(length)
    for _ in range(20):
        text = "".join(letters.choices("etaoinsré", k=length))[:length]
        expected = ids_of(twin, text)
        assert gpt2.encode_ordinary(text) == expected
        assert gpt2.encode_ordinary(text) == expected


def test_a_full_word_cache_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, gpt2: Tokenizer, twin: PlainEncoder
) -> None:
    monkeypatch.setattr("wholegpt.tokenizer.encoder.FIRST_WORDS", 2**6)
    monkeypatch.setattr("wholegpt.tokenizer.encoder.LARGEST_WORDS", 2**9)
    monkeypatch.setattr("wholegpt.tokenizer.encoder.KEY_BYTES", 2**10)
    monkeypatch.setattr("wholegpt.tokenizer.encoder.SPILLED_IDS", 2**8)
    small = copy.copy(gpt2)
    numbers = random.Random(3)
    text = " ".join("".join(numbers.choices("abcdeé", k=numbers.randint(1, 30))) for _ in range(5000))
    assert small.encode_ordinary(text) == gpt2.encode_ordinary(text) == ids_of(twin, text)
    state, kernel = small._encoder._idle[0].state, small._encoder._kernel
    assert state[kernel.WORDS_MASK] == 2**9 - 1


def test_batches_and_threads(gpt2: Tokenizer) -> None:
    numbers = random.Random(5)
    texts = ["".join(numbers.choices("ab c'd é\n1", k=numbers.randint(0, 3000))) for _ in range(1500)] + ["", "x"]
    one, two = gpt2.encode_batch(texts, threads=1), gpt2.encode_batch(texts, threads=2)
    assert [ids.tolist() for ids in one] == [ids.tolist() for ids in two]
    assert {ids.dtype for ids in one} == {np.dtype(np.uint16)}
    assert [ids.tolist() for ids in one] == [gpt2.encode_ordinary(text) for text in texts]
    assert gpt2.encode_batch([]) == []
    documents = gpt2.encode_documents([text.encode() for text in texts])
    assert documents.tolist() == [index for ids in one for index in [gpt2.eot, *ids.tolist()]]


def test_a_lone_surrogate_is_refused_with_its_place(gpt2: Tokenizer) -> None:
    for encode in (gpt2.encode, gpt2.encode_ordinary, lambda text: gpt2.encode_batch(["fine", text], threads=2)):
        with pytest.raises(ValueError, match=r"a lone surrogate \(U\+D83D\) at character 3, which has no UTF-8 bytes"):
            encode("abc\ud83d d")


def test_copies_and_pickles_encode(gpt2: Tokenizer) -> None:
    gpt2.encode("warm")
    for other in (copy.copy(gpt2), copy.deepcopy(gpt2), pickle.loads(pickle.dumps(gpt2))):
        assert other.encode("Hello world") == [15496, 995]


def small_vocabulary(order: int) -> Tokenizer:
    """Ids in any order, a special token first, and merges of which several give the same bytes."""
    merges = [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b"a", b"bc"), (b"a", b"a"), (b"aa", b"a"), (b"a", b"aa")]
    merges += [(b"aa", b"aa"), (b"abc", b"abc"), (b"c", b"a"), (b"ca", b"b"), (b"c", b"ab"), (b"cab", b"c")]
    merges += [(b" ", b"a"), (b" a", b"bc"), (b" ", b"abc"), (b"\xc3", b"\xa9"), (b"a", b"\xc3\xa9")]
    numbers = random.Random(order)
    numbers.shuffle(merges)
    tokens = [bytes([byte]) for byte in range(256)] + sorted({left + right for left, right in merges})
    numbers.shuffle(tokens)
    vocabulary = [b"<|endoftext|>", *tokens]
    ids = {token: index for index, token in enumerate(vocabulary)}
    pairs = [(ids[left], ids[right]) for left, right in merges]
    return Tokenizer(vocabulary, pairs, {"<|endoftext|>": 0})


@pytest.mark.parametrize("order", range(20))
def test_other_orders_and_shared_ids(order: int) -> None:
    """Where merges share an id, a new pair may be older than the one at hand: it waits until that one is done."""
    tokenizer = small_vocabulary(order)
    assert tokenizer.eot == 0
    numbers = random.Random(order)
    for length in (3, 5, 8, 20, 60, 96, 97, 200, 600):
        for _ in range(10):
            text = "".join(numbers.choices("aaabbcé ", k=length))
            assert tokenizer.encode_ordinary(text) == twin_ids(tokenizer, text)
            text = text.replace(" ", "c")  # one long piece
            assert tokenizer.encode_ordinary(text) == twin_ids(tokenizer, text)


def test_a_vocabulary_of_more_than_65536_entries() -> None:
    """Ids beyond uint16, in the standard order."""
    vocabulary = [bytes([byte]) for byte in range(256)]
    pairs = []
    for left in range(256):
        for right in range(256):
            pairs.append((left, right))
            vocabulary.append(bytes([left, right]))
    pairs.append((256 + 256 * ord("a") + ord("b"), 256 + 256 * ord("c") + ord("d")))
    vocabulary.append(b"abcd")
    tokenizer = Tokenizer([*vocabulary, b"<|endoftext|>"], pairs, {"<|endoftext|>": len(vocabulary)})
    assert tokenizer.encode_ordinary("abcd abcd") == twin_ids(tokenizer, "abcd abcd")
    assert tokenizer.encode_ordinary("abcd") == [65792]
    assert tokenizer.encode_batch(["abcd"])[0].dtype == np.uint32
