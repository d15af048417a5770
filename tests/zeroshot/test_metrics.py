"""Figures by hand, and a model that knows nothing."""

import math

import numpy as np
import pytest
import torch

from wholegpt.inference.scoring import text_logprob
from wholegpt.zeroshot import baselines
from wholegpt.zeroshot.metrics import NOTHING, Likelihood


def test_units_by_hand():
    # 8 bits of surprise over 4 tokens, 2 words, 16 bytes.
    figures = Likelihood(8 * math.log(2), 4, 2, 16).figures()
    assert figures == {"nats": 5.5452, "token_perplexity": 4.0, "word_perplexity": 16.0, "bits_per_byte": 0.5}
    assert NOTHING.figures()["bits_per_byte"] == math.inf
    assert Likelihood(1e6, 1, 1, 1).figures()["word_perplexity"] == math.inf


def test_a_uniform_model_is_as_surprised_as_arithmetic_says(model, tokenizer, text):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    ids = tokenizer.encode_ordinary(text[:3000])
    assert -text_logprob(model, tokenizer, ids) == pytest.approx(len(ids) * math.log(300), rel=1e-6)


def test_baselines_by_hand():
    # Four entries, the last is <|endoftext|>. Smoothed training counts 4, 2, 2 of 8: 1, 2 and 2 bits.
    train, tested = np.array([3, 1, 1, 5]), np.array([2, 1, 1, 9])
    found = baselines.predictors(train, tested, eot=3, size_bytes=4)
    assert found == {"uniform": round(4 * math.log2(3) / 4, 5), "unigram": round((2 * 1 + 2 + 2) / 4, 5)}


def test_compressors():
    noise, repeated = bytes(range(256)) * 4, b"a" * 1024
    assert baselines.compressors(repeated)["gzip -9"] < 0.3
    assert baselines.compressors(repeated)["xz -9"] < baselines.compressors(noise)["xz -9"]
