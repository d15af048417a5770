"""Language modelling: units by hand, a model that knows nothing, token counts of other software, every option."""

import math

import pytest

from wholegpt.errors import UsageError
from wholegpt.inference.scoring import text_logprob
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot.task import Setting
from wholegpt.zeroshot.tasks import TASKS

from .conftest import FILES, values


def test_words_bytes_and_what_is_read(setting, rows, model):
    given = setting("ptb", window=32)
    found = rows("ptb", model, given)
    for variant, text in (
        ("detokenized", "the river isn't <unk> at $1\nit's late\n"),
        ("as-is", FILES["ptb/ptb.test.txt"]),
    ):
        mine = [row for row in found if row["variant"] == variant]
        # Eight and three words, and two line ends; bytes are those of the file in both.
        assert sum(row["words"] for row in mine) == 13
        assert sum(row["bytes"] for row in mine) == len(FILES["ptb/ptb.test.txt"])
        assert "".join(row["target"] for row in mine) == text
        ids = given.tokenizer.encode_ordinary(text)
        assert sum(row["nats"] for row in mine) == pytest.approx(-text_logprob(model, given.tokenizer, ids), rel=1e-5)
        assert values("ptb", found, given)[f"word_perplexity,{variant}"] == pytest.approx(
            math.exp(sum(row["nats"] for row in mine) / 13)
        )
        assert all(row["nats"] == pytest.approx(-sum(row["logprobs"]), abs=1e-4) for row in mine)


@pytest.mark.parametrize("name", ["wikitext2", "ptb", "lm1b", "enwik8", "text8"])
def test_a_uniform_model_gives_exactly_what_arithmetic_says(setting, rows, rigged, name):
    given = setting(name)
    found = rows(name, rigged, given)
    for key, value in values(name, found, given).items():
        metric, _, variant = key.partition(",")
        mine = [row for row in found if row["variant"] == variant]
        tokens = sum(row["tokens"] for row in mine)
        if metric == "word_perplexity":
            assert value == pytest.approx(300 ** (tokens / sum(row["words"] for row in mine)), rel=1e-5)
        elif metric == "token_perplexity":
            assert value == pytest.approx(300, rel=1e-5)
        elif metric.startswith("bits"):
            assert value == pytest.approx(math.log2(300) * tokens / sum(row["bytes"] for row in mine), rel=1e-5)
        else:
            easier = values(name, found, given)[f"word_perplexity,{variant}"]
            assert value == pytest.approx(values(name, found, given)["word_perplexity,as-is"] - easier)


@pytest.mark.parametrize(
    ("name", "part", "texts", "tokens", "units"),
    [
        ("wikitext2", "raw", "as-is", 286_221, 245_569),
        ("wikitext2", "raw", "megatron", 272_045, 245_569),
        ("wikitext2", "test", "as-is", 295_877, 245_569),
        ("wikitext2", "test", "megatron", 278_365, 245_569),
        ("wikitext103", "test", "as-is", 285_234, 245_569),
        ("wikitext103", "test", "megatron", 270_330, 245_569),
        ("ptb", "test", "as-is", 105_243, 82_430),
        ("ptb", "test", "megatron", 100_650, 82_430),
        ("lm1b", "test", "as-is", 178_483, 159_658),
    ],
)
def test_token_counts_of_other_software(shared, monkeypatch, name, part, texts, tokens, units):
    """GPT-2's tokens and the canonical units of the files, which decide every perplexity."""
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(shared))
    task = TASKS[name]
    defaults = {key: option.default for key, option in task.options.items()}
    gpt2 = Tokenizer.load(str(shared / "gpt2-vocab"))
    given = Setting(gpt2, 1024, {**defaults, "texts": texts, "part": part})
    samples = list(task.samples(task.read(given).examples, given))
    assert sum(window.count for sample in samples for window in sample.requests) == tokens
    assert sum(sample.notes["words"] for sample in samples) == units
    assert len(samples) == math.ceil(tokens / 1024)


def test_token_count_of_bytes(shared, setting):
    given = Setting(
        Tokenizer.load(str(shared / "gpt2-vocab")), 1024, setting("enwik8").options,
        data_dir=shared / "eval" / "enwik8" / "enwik5_head100k.xml",
    )  # fmt: skip
    data = TASKS["enwik8"].read(given)
    assert data.label == "not the paper's data (n = 100,001 bytes)"
    samples = list(TASKS["enwik8"].samples(data.examples, given))
    assert sum(window.count for sample in samples for window in sample.requests) == 26_626
    assert sum(sample.notes["bytes"] for sample in samples) == 100_001


def test_bytes_that_are_no_text_stay_as_they_are(setting, tokenizer):
    given = setting("enwik8")
    data = "où".encode()[2:] + b" why " + "où".encode()[:2]
    (sample,) = TASKS["enwik8"].samples([data], given)
    (window,) = sample.requests
    assert tokenizer.decode_bytes(window.ids[1:]) == data


def test_strides_predict_every_token_once_with_more_before_it(setting, rows, model):
    plain, strided = setting("wikitext2", window=32), setting("wikitext2", window=32, stride=8)
    found, other = rows("wikitext2", model, plain), rows("wikitext2", model, strided)
    assert {row["tokens"] for row in other if row["variant"] == "as-is"} >= {32, 8}
    for unit in ("tokens", "words", "bytes"):
        assert sum(row[unit] for row in found) == sum(row[unit] for row in other)
    assert "".join(row["target"] for row in found) == "".join(row["target"] for row in other)
    assert sum(row["nats"] for row in found) != sum(row["nats"] for row in other)
    with pytest.raises(UsageError, match="the stride is 33, the model's window 32 tokens"):
        TASKS["wikitext2"].samples(TASKS["wikitext2"].read(plain).examples, setting("wikitext2", 32, stride=33))


def test_each_document_by_itself(setting, rows, model, tokenizer):
    given = setting("lm1b", texts="as-is", reading="documents")
    found = rows("lm1b", model, given)
    lines = FILES["lm1b/news.en.heldout-00000-of-00050"].splitlines(keepends=True)
    assert [row["target"] for row in found] == lines
    for row, line in zip(found, lines, strict=True):
        assert row["nats"] == pytest.approx(-text_logprob(model, tokenizer, tokenizer.encode_ordinary(line)), rel=1e-5)


def test_the_first_token_left_out(setting, rows, model):
    found = rows("ptb", model, setting("ptb", 32, texts="as-is"))
    other = rows("ptb", model, setting("ptb", 32, texts="as-is", first_token="left-out"))
    assert found[0]["logprobs"][1:] == pytest.approx(other[0]["logprobs"], abs=1e-4)
    assert [row["logprobs"] for row in found[1:]] == [row["logprobs"] for row in other[1:]]
    assert [row["words"] for row in found] == [row["words"] for row in other]


def test_line_ends_not_counted(setting, rows, model):
    found = rows("ptb", model, setting("ptb", 32, line_ends="not-counted", texts="as-is"))
    assert sum(row["words"] for row in found) == 11


def test_texts(setting):
    given = setting("ptb", texts="megatron")
    (sample,) = TASKS["ptb"].samples(TASKS["ptb"].read(given).examples, given)
    assert sample.target == " the river isn't <unk> at $ N\nit's late\n"  # its rules know N between spaces only
    with pytest.raises(UsageError, match="texts is natural, expected names out of detokenized, as-is, megatron"):
        TASKS["ptb"].figures(setting("ptb", texts="natural"))
    with pytest.raises(UsageError, match=r"out of detokenized, as-is$"):
        TASKS["lm1b"].figures(setting("lm1b", texts="megatron"))
