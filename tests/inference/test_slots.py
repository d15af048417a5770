"""The cache of rows: cached equals uncached, whatever enters and leaves beside it."""

import pytest
import torch

from wholegpt.inference.slots import Slots


def uncached(model, ids):
    with torch.inference_mode():
        return model.hidden_states(torch.tensor([ids]))[0][0, -1]


def check(model, x_RD, texts):
    for x_D, ids in zip(x_RD, texts, strict=True):
        torch.testing.assert_close(x_D, uncached(model, ids), atol=3e-5, rtol=1e-5)


def test_rows_of_different_lengths_enter_step_and_leave(model):
    slots = Slots(model, rows=4, capacity=20)
    texts = [[5, 6, 7, 8, 9], [5, 6, 7, 1], [200]]
    check(model, slots.read([tuple(ids) for ids in texts]), texts)
    for token in (11, 12, 13):
        texts = [[*ids, token + row] for row, ids in enumerate(texts)]
        check(model, slots.step([ids[-1] for ids in texts]), texts)
    slots.drop(0)
    texts = [texts[2], texts[1]]
    late = [[40, 41, 42], [43] * 19]
    check(model, slots.read([tuple(ids) for ids in late]), late)
    texts = [[*ids, 77] for ids in [*texts, *late]]
    check(model, slots.step([77] * 4), texts)
    assert slots.lengths == [len(ids) for ids in texts]
    slots.drop(3)
    assert slots.lengths == [len(ids) for ids in texts[:3]]


def test_prompts_are_read_in_passes_of_the_budget(model, monkeypatch):
    monkeypatch.setattr("wholegpt.inference.budget.pass_tokens", lambda _: 6)
    texts = [[1, 2, 3], [4] * 9, [1, 2, 5], [6]]
    slots = Slots(model, rows=4, capacity=12)
    check(model, slots.read([tuple(ids) for ids in texts]), texts)
    texts = [[*ids, 8] for ids in texts]
    check(model, slots.step([8] * 4), texts)


@pytest.mark.parametrize("row", [0, 1])
def test_a_row_that_leaves_takes_nothing_with_it(model, row):
    texts = [[1, 2, 3], [4, 5]]
    slots = Slots(model, rows=2, capacity=8)
    slots.read([tuple(ids) for ids in texts])
    slots.drop(row)
    left = texts[1 - row]
    check(model, slots.step([9]), [[*left, 9]])
