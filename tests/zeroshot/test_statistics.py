"""Means and errors by hand; the bootstrap against the formula."""

import math

import numpy as np
import pytest

from wholegpt.zeroshot.metrics import bits_figure, mean_perplexity, perplexity_figure
from wholegpt.zeroshot.statistics import bootstrap, mean, standard_error


def test_mean_by_hand():
    rows = [{"acc": True}, {"acc": False}, {"acc": True}, {"acc": True}]
    figure = mean("acc")
    # 3/4; squared distances 3 x 1/16 + 9/16 = 3/4, over 3 and over 4.
    assert figure.value(rows) == 0.75
    assert figure.error(rows) == pytest.approx(math.sqrt(0.75 / 3 / 4))
    assert math.isnan(figure.error(rows[:1]))


def test_bootstrap_agrees_with_the_formula_and_is_seeded():
    numbers = np.random.default_rng(1).normal(5, 2, 400)
    rows = [{"x": number} for number in numbers]
    figure = mean("x")
    assert bootstrap(figure.value, rows, 0) == pytest.approx(figure.error(rows), rel=0.15)
    assert bootstrap(figure.value, rows, 0) == bootstrap(figure.value, rows, 0) != bootstrap(figure.value, rows, 1)
    assert standard_error(figure, rows, 0) == figure.error(rows)


@pytest.mark.parametrize("figure", [perplexity_figure("words"), bits_figure(), mean_perplexity("nats")])
def test_errors_of_ratios_agree_with_the_bootstrap(figure):
    generator = np.random.default_rng(2)
    rows = [
        {"nats": float(tokens * generator.normal(3, 0.4)), "tokens": tokens, "words": tokens // 2, "bytes": 4 * tokens}
        for tokens in (2 * generator.integers(1, 3, 500)).tolist()
    ]
    assert figure.error(rows) == pytest.approx(bootstrap(figure.value, rows, 3), rel=0.2)


def test_perplexity_by_hand():
    rows = [{"nats": 2.0, "tokens": 2, "words": 1, "bytes": 8}, {"nats": 4.0, "tokens": 2, "words": 2, "bytes": 8}]
    assert perplexity_figure("words").value(rows) == pytest.approx(math.exp(2))
    assert mean_perplexity("nats").value(rows) == pytest.approx(math.exp(3))
    assert bits_figure().value(rows) == pytest.approx(6 / math.log(2) / 16)
    # Nats a token 1.5; distances -1 and 1; over 3 words, times the perplexity.
    assert perplexity_figure("words").error(rows) == pytest.approx(math.exp(2) * math.sqrt(2 * 2 / 1) / 3)
    assert perplexity_figure("words").value([{"nats": 9e5, "tokens": 1, "words": 1, "bytes": 1}]) == math.inf
