"""The vocabulary in parts gives what all logits at once give, ties included."""

import pytest
import torch

from wholegpt.inference import vocabulary


@pytest.mark.parametrize("entries", [1, 7, 299, 300, 2048])
def test_parts_equal_the_whole(model, monkeypatch, entries):
    monkeypatch.setattr(vocabulary, "PART_ENTRIES", entries)
    torch.manual_seed(0)
    x_RD = torch.randn(6, 24)
    rows_P, targets_P = torch.tensor([0, 5, 5, 2, 1, 3, 4]), torch.randint(0, 300, (7,))
    with torch.no_grad():
        logits_RV = model.unembed(x_RD)
        targets_P[1] = logits_RV[5].argmax()
        logprobs_P, greedy_P = vocabulary.predictions(model, x_RD, rows_P, targets_P)
    torch.testing.assert_close(logprobs_P, logits_RV.log_softmax(-1)[rows_P, targets_P], atol=1e-5, rtol=0)
    assert greedy_P.tolist() == (logits_RV.argmax(-1)[rows_P] == targets_P).tolist()
    assert greedy_P[1]


def test_of_equal_logits_the_first_is_the_most_likely(model, monkeypatch):
    monkeypatch.setattr(vocabulary, "PART_ENTRIES", 7)
    with torch.no_grad():
        _, greedy_P = vocabulary.predictions(
            model, torch.zeros(1, 24), torch.zeros(3, dtype=torch.long), torch.arange(3)
        )
    assert greedy_P.tolist() == [True, False, False]


def test_rows_that_pad_the_embedding_are_no_tokens(model):
    with torch.no_grad():
        x_RD = model.wte.weight[-1:].clone()
        expected = model.unembed(x_RD)[0].log_softmax(-1)[4]
        model.wte.weight = torch.nn.Parameter(torch.cat((model.wte.weight, 9 * x_RD)))
        logprobs_P, _ = vocabulary.predictions(model, x_RD, torch.tensor([0]), torch.tensor([4]))
    assert float(logprobs_P) == pytest.approx(float(expected), abs=1e-5)


def test_the_most_likely_are_sorted_and_at_most_all(model):
    torch.manual_seed(0)
    with torch.no_grad():
        ids_RK, logprobs_RK = vocabulary.most_likely(model, torch.randn(2, 24), 1000)
        (first_R,) = vocabulary.most_likely(model, torch.randn(1, 24), 3)[0]
    assert ids_RK.shape == (2, 300)
    assert len(first_R) == 3
    torch.testing.assert_close(logprobs_RK.exp().sum(-1), torch.ones(2))
    assert torch.all(logprobs_RK.diff(dim=-1) <= 0)
