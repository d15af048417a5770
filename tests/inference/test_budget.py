"""How many tokens at once: a share of free memory by arithmetic, never less than a window."""

import pytest

from wholegpt.inference import budget

# 24 wide, 2 layers, float32: 12 x 24 x 4 bytes and two parts of logits; 2 x 2 x 24 x 4 bytes of keys and values.
PASS_BYTES, CACHE_BYTES = 12 * 24 * 4 + 2 * 4 * 2048, 2 * 2 * 24 * 4


@pytest.mark.parametrize("tokens", [100, 500])
def test_a_quarter_of_free_memory(model, monkeypatch, tokens):
    monkeypatch.setattr(budget, "_free_bytes", lambda _: 4 * tokens * PASS_BYTES)
    assert budget.pass_tokens(model) == tokens
    monkeypatch.setattr(budget, "_free_bytes", lambda _: 4 * tokens * CACHE_BYTES)
    assert budget.cache_tokens(model) == tokens


@pytest.mark.parametrize(("free", "passes", "cached"), [(0, 32, 32), (2**50, 2048, 32768), (None, 2048, 32768)])
def test_a_window_at_least_and_no_more_than_is_of_use(model, monkeypatch, free, passes, cached):
    monkeypatch.setattr(budget, "_free_bytes", lambda _: free)
    assert (budget.pass_tokens(model), budget.cache_tokens(model)) == (passes, cached)


def test_rows_of_logits(model, monkeypatch):
    monkeypatch.setattr(budget, "LOGITS_BYTES", 4 * 300 * 5 + 1)
    assert budget.logits_rows(model) == 5
    monkeypatch.setattr(budget, "LOGITS_BYTES", 1)
    assert budget.logits_rows(model) == 1
