"""Learning by kernels: the merges of the twin and of Hugging Face's trainer, whatever the threads and the order."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.tokenizer import Tokenizer, bpe
from wholegpt.tokenizer.learning import Pieces, count_pieces, learn
from wholegpt.tokenizer.train import TokenizerTrainOptions, train

FIXTURES = Path(__file__).parents[2].parent / "shared" / "data" / "fixtures" / "tokenizer"
PATTERN = regex.compile(bpe.PATTERN)


def counted(texts: list[str]) -> Counter[bytes]:
    return Counter(piece.encode() for text in texts for piece in bpe.split(text, PATTERN))


def prose(seed: int, words: int) -> str:
    """Words with a Zipf-like distribution, some very long, some with letters of several bytes."""
    numbers = random.Random(seed)
    known = ["".join(numbers.choices("etaoinshrdlué", k=numbers.randint(1, 12))) for _ in range(2000)]
    known += ["".join(numbers.choices("ab", k=60)), "=" * 40, "naïveté" * 5]
    return " ".join(known[min(int(numbers.paretovariate(0.6)) - 1, len(known) - 1)] for _ in range(words))


@given(st.lists(st.text(st.sampled_from("aab bc\n\n'sé1"), max_size=80), max_size=12), st.integers(257, 300))
@settings(max_examples=300, deadline=None)
def test_small_texts_give_the_merges_of_the_twin(texts: list[str], entries: int) -> None:
    pieces = count_pieces(texts, threads=1)
    assert dict(pieces) == counted(texts)
    assert learn(pieces, entries) == bpe.learn(counted(texts), entries)


@given(st.dictionaries(st.text(st.sampled_from("abc"), min_size=1, max_size=30), st.integers(1, 5), max_size=8))
@settings(max_examples=300, deadline=None)
def test_ties_runs_and_shared_ids(counts: dict[str, int]) -> None:
    """Few letters and small counts: most pairs tie, and different merges give the same bytes."""
    encoded = {piece.encode(): count for piece, count in counts.items()}
    assert learn(Pieces.of(encoded), 2000) == bpe.learn(encoded, 2000)


def test_prose_gives_the_merges_of_the_twin_by_any_threads_in_any_order() -> None:
    texts = [prose(seed, 4000) for seed in range(30)]
    expected = bpe.learn(counted(texts), 1500)
    assert len(expected[1]) > 1200
    for threads in (1, 2, 4):
        random.Random(threads).shuffle(texts)
        assert learn(count_pieces(texts, threads=threads), 1500) == expected


def test_counts_beyond_32_bits() -> None:
    """A pair in 40 GB of English occurs more often than 2**31 times."""
    counts = {b"ab": 3 << 40, b"bc": (3 << 40) + 1, b"abc": 7}
    assert learn(Pieces.of(counts), 260) == bpe.learn(counts, 260)


def test_long_pieces() -> None:
    text = "a" * 50_000 + " " + "xyz" * 20_000 + "!" * 30_000
    pieces = count_pieces([text])
    vocabulary, merges = learn(pieces, 300)
    assert (vocabulary, merges) == bpe.learn(counted([text]), 300)


def test_nothing_to_learn_from() -> None:
    assert learn(count_pieces([]), 300) == bpe.learn({}, 300)


def test_another_pattern() -> None:
    """Pieces of three characters, which GPT-2's pattern would cut otherwise."""
    text = "ab cd ef " * 50
    pieces = count_pieces([text], r"(?s)...")
    assert dict(pieces) == Counter(text[start : start + 3].encode() for start in range(0, len(text), 3))
    assert learn(pieces, 262) == bpe.learn(dict(pieces), 262)


def test_a_pattern_that_leaves_text_out_is_refused() -> None:
    with pytest.raises(WholeGPTError, match="leaves out a part of the text"):
        count_pieces(["ab cd"], r"\w+")


@pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"{FIXTURES} is not there")
@pytest.mark.parametrize("name", ["train_text", "train_ties"])
def test_merges_learnt_by_hugging_face(name: str) -> None:
    expected = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    text = (FIXTURES / f"{name}.txt").read_text(encoding="utf-8")
    vocabulary, merges = learn(count_pieces([text]), expected["vocab_size"] - 1)
    names = ["".join(bpe.BYTE_TO_CHARACTER[byte] for byte in token) for token in vocabulary]
    learnt = [[names[left], names[right]] for left, right in merges]
    assert learnt == [pair.split(" ") if isinstance(pair, str) else list(pair) for pair in expected["merges"]]


def test_merges_of_the_installed_trainer() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    texts = [prose(seed, 3000) for seed in range(10)]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1200,
        initial_alphabet=[bpe.BYTE_TO_CHARACTER[byte] for byte in bpe.BYTES],
        special_tokens=[],
        show_progress=False,
    )
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.train_from_iterator(texts, trainer)
    expected = json.loads(theirs.to_str())["model"]["merges"]
    vocabulary, merges = learn(count_pieces(texts), 1200)
    names = ["".join(bpe.BYTE_TO_CHARACTER[byte] for byte in token) for token in vocabulary]
    assert [[names[left], names[right]] for left, right in merges] == [list(pair) for pair in expected]


def corpus(folder: Path, texts: list[str]) -> Path:
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return folder


def test_the_verb_writes_the_same_files_for_any_order(tmp_path: Path) -> None:
    texts = [prose(seed, 500) for seed in range(6)]
    tokenizers = []
    for name, order in (("one", texts), ("two", texts[::-1])):
        options = TokenizerTrainOptions(corpus(tmp_path / f"{name}-text", order), tmp_path / name, vocab_size=400)
        counts = train(options).counts
        tokenizers.append((tmp_path / name / "vocab.json").read_bytes() + (tmp_path / name / "merges.txt").read_bytes())
    assert tokenizers[0] == tokenizers[1]
    assert counts["bytes"] == sum(len(text.encode()) for text in texts)
    learnt = Tokenizer.load(tmp_path / "one")
    assert counts["tokens"] == sum(len(learnt.encode_ordinary(text)) for text in texts)


def test_a_sample_depends_on_the_texts_alone(tmp_path: Path) -> None:
    texts = [prose(seed, 100) for seed in range(40)]
    sizes = []
    for name, order in (("one", texts), ("two", texts[::-1])):
        folder = corpus(tmp_path / f"{name}-text", order)
        options = TokenizerTrainOptions(folder, tmp_path / name, vocab_size=300, sample=0.5)
        sizes.append(train(options).counts["bytes"])
    assert sizes[0] == sizes[1]
    assert 0.2 < sizes[0] / sum(len(text.encode()) for text in texts) < 0.8


def test_a_tokenizer_keeps_its_pattern(tmp_path: Path) -> None:
    pattern = r"\w+|\W+"
    folder = corpus(tmp_path / "text", ["it's what it's " * 20])
    train(TokenizerTrainOptions(folder, tmp_path / "tokenizer", vocab_size=270, pattern=pattern))
    loaded = Tokenizer.load(tmp_path / "tokenizer")
    assert loaded.pattern == pattern
    text = "it's what"
    assert loaded.decode(loaded.encode(text)) == text
    assert max(loaded.token_bytes(index).count(b" ") for index in range(loaded.vocab_size)) == 1
    assert loaded.encode("what it") == [*loaded.encode("what"), *loaded.encode(" "), *loaded.encode("it")]


@pytest.mark.parametrize(
    "wrong", [{"sample": 0.0}, {"sample": 1.5}, {"pattern": "("}, {"pattern": "(a|b)"}, {"vocab_size": 257}]
)
def test_wrong_options(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        TokenizerTrainOptions(tmp_path, tmp_path / "out", **wrong)  # type: ignore[arg-type]
