"""LAMBADA: each variant by hand, a model that knows the word or another one, other software's log-likelihoods."""

import json
import math

import pytest

from wholegpt import evalsets, load
from wholegpt.inference.requests import Scored
from wholegpt.zeroshot.lambada import is_stop_word, is_stop_word_or_mark
from wholegpt.zeroshot.stopwords import STOP_WORDS
from wholegpt.zeroshot.task import Setting
from wholegpt.zeroshot.tasks import TASKS

from .conftest import values

VARIANTS = ("word", "filter", "filter-every", "filter-marks", "last-token")


@pytest.mark.parametrize("right", [True, False])
def test_rigged(setting, rows, rigged, tokenizer, right):
    def teach(sample):
        first = sample.requests[0]
        rigged.teach(first.context, first.ids if right else tokenizer.encode_ordinary(" hills"))

    given = setting("lambada")
    found = rows("lambada", rigged, given, teach)
    figures = values("lambada", found, given)
    assert figures["acc,word"] == figures["acc,filter"] == figures["acc,filter-marks"] == right
    assert right or figures["acc,filter-every"] == 0
    assert figures["perplexity,word"] == pytest.approx(1.0) if right else figures["perplexity,word"] > 1e6
    assert {row["target"] for row in found} == {" river"}


def test_a_model_that_knows_nothing(setting, rows, rigged):
    given = setting("lambada")
    found = rows("lambada", rigged, given)
    tokens = len(given.tokenizer.encode_ordinary(" river"))
    figures = values("lambada", found, given)
    assert figures["perplexity,word"] == pytest.approx(300**tokens, rel=1e-4)
    assert figures["perplexity,last-token"] == pytest.approx(300, rel=1e-4)


def scored(tokenizer, best, greedy, logprobs=(-1.0, -2.0)):
    candidates = tuple((tokenizer.encode_ordinary(text)[0], -1.0) for text in best)
    return Scored(logprobs, greedy, candidates)


@pytest.mark.parametrize(
    ("first", "second", "greedy", "expected"),
    [
        # The word is " se" + "ven" below. Each of its places has a best token, and others after it.
        ((" se",), ("ven",), (True, True), (True, True, True, True, True)),
        ((" the", " se"), ("ven",), (False, True), (False, True, True, True, True)),
        ((" the", ".", " se"), ("ven",), (False, True), (False, False, False, True, True)),
        ((" the", " se"), ("it", "ven"), (False, False), (False, False, True, False, False)),
        ((" hill", " se"), ("ven",), (False, True), (False, False, False, False, True)),
        ((" the",), ("it",), (False, False), (False, False, False, False, False)),
    ],
)
def test_variants_by_hand(setting, gpt2, first, second, greedy, expected):
    task, given = TASKS["lambada"], setting("lambada")
    given = Setting(gpt2, 1024, given.options)
    ids = [gpt2.encode_ordinary(" se")[0], gpt2.encode_ordinary("ven")[0]]
    sample = next(iter(task.samples(TASKS["lambada"].read(setting("lambada")).examples, given)))
    sample = type(sample)(0, "", " seven", (), {"ids": ids, "cut_tokens": 0})
    row = task.row(sample, [scored(gpt2, first, greedy), scored(gpt2, second, greedy[1:], (-2.0,))], given)
    assert tuple(row[variant] for variant in VARIANTS) == expected
    assert (row["nats"], row["last_nats"]) == (3.0, 2.0)


def test_the_list_of_words():
    assert {"the", "and", "would", "herself", "against"} <= STOP_WORDS
    assert not STOP_WORDS & {"river", "door", "man", "ann", "time"}
    assert is_stop_word(" The") and not is_stop_word(".") and is_stop_word_or_mark('."')
    assert not is_stop_word_or_mark(" river")


def test_prefixes_and_what_is_cut(setting, tokenizer):
    task = TASKS["lambada"]
    examples = task.read(setting("lambada")).examples
    plain, newline, marked = (
        next(iter(task.samples(examples, setting("lambada", prefix=prefix))))
        for prefix in ("none", "newline", "endoftext")
    )
    assert tokenizer.decode(newline.requests[0].context) == "\n" + plain.prompt
    assert marked.requests[0].context == (tokenizer.eot, *plain.requests[0].context)
    short = next(iter(task.samples(examples, setting("lambada", window=8))))
    kept = len(short.requests[0].context)
    assert kept == 9 - len(short.requests[0].ids)
    assert short.notes["cut_tokens"] == len(plain.requests[0].context) - kept
    assert plain.requests[0].context[-kept:] == short.requests[0].context


def test_log_likelihoods_of_other_software(fixtures, shared, monkeypatch, rows, setting):
    """lm-evaluation-harness on the lines 600 to 699 of the test set."""
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(shared))
    model, tokenizer = load(fixtures / "trained")
    given = Setting(tokenizer, model.config.n_ctx, setting("lambada").options)
    examples = evalsets.find("lambada", offline=True).examples[600:700]
    found = rows("lambada", model, given, examples=examples)
    expected = json.loads((fixtures / "trained" / "expected" / "lambada.json").read_text(encoding="utf-8"))
    for row, item in zip(found, expected["items"], strict=True):
        assert row["target"] == item["target"]
        assert -row["nats"] == pytest.approx(item["loglikelihood"], abs=1e-3)
        assert row["word"] == item["greedy_match"]
    assert math.log(values("lambada", found, given)["perplexity,word"]) == pytest.approx(
        math.log(expected["ppl_of_word"]), abs=1e-3
    )
