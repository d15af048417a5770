"""Log-likelihoods against transformers' results, lm-evaluation-harness's rules, and a sum by hand."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wholegpt.inference import scoring
from wholegpt.model import checkpoint


def test_rules_of_splitting(tokenizer):
    encode = tokenizer.encode_ordinary
    assert scoring.split_ids(tokenizer, "", "a b") == ([tokenizer.eot], encode("a b"))
    context, continuation = scoring.split_ids(tokenizer, "The river  ", "runs")
    assert context == encode("The river")
    assert tokenizer.decode(continuation) == "  runs"


def test_score_is_the_sum_of_log_probabilities(model, tokenizer):
    context, continuation = scoring.split_ids(tokenizer, "The river", " runs")
    ids = torch.tensor([context + continuation])
    with torch.no_grad():
        logprobs = model(ids).log_softmax(-1)[0]
    expected = sum(float(logprobs[len(context) + i - 1, token]) for i, token in enumerate(continuation))
    (score,) = scoring.score(model, tokenizer, [("The river", " runs")])
    assert score.logprob == pytest.approx(expected, abs=1e-4)
    assert score.tokens == len(continuation)


def test_too_long_continuation_is_refused_and_context_cut_on_the_left(model, tokenizer):
    with pytest.raises(ValueError, match="expected 1 to 32"):
        scoring.score(model, tokenizer, [("a", " zq" * 40)])
    long, short = scoring.score(
        model, tokenizer, [("x" * 90 + "The river", " runs"), ("x" * 95 + "The river", " runs")]
    )
    assert long == short


def test_loglikelihoods_of_transformers(shared):
    folder = shared / "fixtures" / "hf-tiny"
    expected = json.loads((folder / "expected_loglikelihoods.json").read_text())["items"]
    model, tokenizer = checkpoint.load(folder)
    assert len(expected) == 30
    found = scoring.score(model, tokenizer, [(pair["context"], pair["continuation"]) for pair in expected])
    for pair, score in zip(expected, found, strict=True):
        assert score.logprob == pytest.approx(pair["sum_logprob"], abs=2e-3)
        assert score.greedy == pair["greedy_match"]


@given(st.integers(1, 60), st.integers(1, 9))
def test_windows_predict_every_token_once(length, window):
    ids = list(range(1, length + 1))
    predicted = []
    for read, count in scoring.windows(ids, 0, window):
        assert count < len(read) <= window + 1
        predicted += read[-count:]
    assert predicted == ids


def test_text_logprob_by_hand(model, tokenizer):
    ids = tokenizer.encode_ordinary("The river rises in the hills")[:20]
    with torch.no_grad():
        logprobs = model(torch.tensor([[tokenizer.eot, *ids]]))[0].log_softmax(-1)
    expected = sum(float(logprobs[position, token]) for position, token in enumerate(ids))
    assert scoring.text_logprob(model, tokenizer, ids) == pytest.approx(expected, abs=1e-3)
