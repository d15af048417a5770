"""From logits to a token: what is kept, how often each is drawn, and noise that belongs to one request."""

import json

import pytest
import torch

from wholegpt.inference.sampling import keep_top_k, next_token, request_generator


def test_the_k_largest_are_kept():
    logits = torch.tensor([1.0, 4.0, 2.0, 3.0])
    assert keep_top_k(logits, 2).tolist() == [float("-inf"), 4.0, float("-inf"), 3.0]
    for everything in (0, 4, 99):
        assert torch.equal(keep_top_k(logits, everything), logits)


def test_equals_the_filters_of_transformers(fixtures):
    content = json.loads((fixtures / "sampling" / "filters.json").read_text())
    cases = [case for case in content["cases"] if case["top_p"] is None]
    assert len(cases) == 15
    for case in cases:
        for logits, expected in zip(content["logits"], case["probs"], strict=True):
            kept = keep_top_k(torch.tensor(logits), case["top_k"] or 0)
            found = torch.softmax(kept / case["temperature"], dim=-1)
            assert found.nonzero().flatten().tolist() == sorted(map(int, expected))
            assert {index: float(found[int(index)]) for index in expected} == pytest.approx(expected, abs=1e-6)


def test_temperature_zero_takes_the_largest_without_noise():
    generator = request_generator(0, 0)
    before = generator.get_state()
    assert next_token(torch.tensor([1.0, 3.0, 2.0]), 0.0, 0, generator) == 1
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_probabilities(temperature):
    logits = torch.tensor([2.0, 1.5, 0.0, -1.0, 0.5])
    expected = torch.softmax(logits / temperature, 0) * 20_000
    generator = request_generator(5, 0)
    drawn = torch.zeros(5)
    for _ in range(20_000):
        drawn[next_token(logits, temperature, 0, generator)] += 1
    # Chi-square of 4 degrees of freedom exceeds 18.5 once in a thousand draws; the seed is fixed.
    assert float(((drawn - expected) ** 2 / expected).sum()) < 18.5


def test_noise_depends_on_seed_and_request_alone():
    def draw(seed, index):
        generator = request_generator(seed, index)
        return [next_token(torch.zeros(50), 1.0, 0, generator) for _ in range(20)]

    assert draw(3, 1) == draw(3, 1)
    assert len({tuple(draw(seed, index)) for seed in range(3) for index in range(3)}) == 9
    assert draw(-1, 0) == draw(-1, 0)
