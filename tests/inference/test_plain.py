"""The readable twin against transformers' results, before others are held to it."""

import json

import pytest

from wholegpt.inference import plain
from wholegpt.inference.requests import Continuation, Generation
from wholegpt.model import checkpoint


def test_log_likelihoods_of_transformers(fixtures):
    model, _ = checkpoint.load(fixtures / "hf-tiny")
    for pair in json.loads((fixtures / "hf-tiny" / "expected_loglikelihoods.json").read_text())["items_by_ids"]:
        asked = Continuation(tuple(pair["context_ids"]), tuple(pair["continuation_ids"]))
        found = plain.loglikelihood(model, asked)
        assert found.logprob == pytest.approx(pair["sum_logprob"], abs=1e-3)
        assert found.is_greedy == pair["greedy_match"]


def test_greedy_of_transformers(fixtures):
    model, tokenizer = checkpoint.load(fixtures / "hf-tiny")
    case = json.loads((fixtures / "hf-tiny" / "expected_greedy.json").read_text())["items"][1]
    found = plain.generate_until(model, tokenizer, Generation(tuple(case["prompt_ids"]), 12))
    assert list(found.ids) == case["greedy_40"][:12]
