"""Optimizers against torch's own and against the mathematics; the schedule by hand."""

import copy
import math

import pytest
import torch

from wholegpt.training.loss import batch_loss
from wholegpt.training.optimizer import Muon, build, orthogonal, schedule


def backward(model):
    batch_loss(model, torch.arange(66).view(2, 33), "float32").backward()
    return model


def test_adamw_equals_torch_with_decay_on_matrices_alone(model):
    other = copy.deepcopy(model)
    (ours,) = build(model, "adamw", 0.01, 0.0, 0.1, (0.9, 0.95))
    matrices = [p for p in other.parameters() if p.dim() == 2]
    vectors = [p for p in other.parameters() if p.dim() == 1]
    theirs = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=0.01, betas=(0.9, 0.95), eps=1e-8, foreach=False, fused=False,
    )  # fmt: skip
    for _ in range(3):
        backward(model)
        for mine, expected in zip(model.parameters(), other.parameters(), strict=True):
            expected.grad = mine.grad.clone()
        ours.step()
        theirs.step()
        ours.zero_grad()
    for (name, mine), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-6, rtol=1e-5, msg=name)


def test_the_first_step_of_adam_by_hand(model):
    (adamw,) = build(model, "adamw", 0.01, 0.0, 0.0, (0.9, 0.95))
    before = model.ln_f.bias.detach().clone()
    backward(model)
    gradient = model.ln_f.bias.grad.clone()
    adamw.step()
    # After bias correction the averages are g and g x g: the step is lr x g / |g|.
    torch.testing.assert_close(model.ln_f.bias.detach(), before - 0.01 * gradient.sign(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_parameter_has_one_optimizer(model, name):
    groups = [
        group for optimizer in build(model, name, 0.01, 0.02, 0.1, (0.9, 0.95)) for group in optimizer.param_groups
    ]
    held = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, model.parameters()))
    for group in groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.1 if parameter.dim() == 2 else 0.0)


def test_muon_takes_the_matrices_of_the_blocks(model):
    muon, adamw = build(model, "muon", 0.01, 0.02, 0.1, (0.9, 0.95))
    blocks = {id(p) for name, p in model.h.named_parameters() if p.dim() == 2}
    assert isinstance(muon, Muon)
    assert {id(p) for group in muon.param_groups for p in group["params"]} == blocks
    assert {group["lr"] for group in muon.param_groups} == {0.02}
    assert {group["lr"] for group in adamw.param_groups} == {0.01}


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 32), (2, 32, 8)])
def test_orthogonal_moves_singular_values_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 50
    values = torch.linalg.svdvals(orthogonal(matrices))
    # The quintic's coefficients let them end anywhere in about 0.7 to 1.2; the smallest start may need more steps.
    assert values.max() < 1.25
    assert values.median() > 0.65
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    well_conditioned = u @ torch.diag_embed(s.clamp(min=float(s.max()) / 5)) @ v
    assert torch.linalg.svdvals(orthogonal(well_conditioned)).min() > 0.65


def test_orthogonal_works_on_each_matrix_by_itself():
    matrices = torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(0))
    together = orthogonal(matrices * torch.tensor([1.0, 1e3, 1e-3])[:, None, None])
    for index in range(3):
        torch.testing.assert_close(together[index], orthogonal(matrices[index : index + 1])[0], atol=1e-3, rtol=0)


def test_orthogonal_of_zero_is_zero():
    assert not orthogonal(torch.zeros(1, 4, 6)).any()


def test_query_key_and_value_are_made_orthogonal_apart():
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(8, 24))
    parameter.grad = torch.randn(8, 24, generator=generator)
    Muon([parameter], lr=0.1, weight_decay=0.0).step()
    # From a zero average: 0.05 g, then Nesterov 0.05 g + 0.95 x 0.05 g, a multiple of g; its scale does not matter.
    for part, gradient in zip(parameter.detach().chunk(3, 1), parameter.grad.chunk(3, 1), strict=True):
        torch.testing.assert_close(part, -0.1 * orthogonal(gradient[None])[0], atol=1e-5, rtol=0)


def test_a_wide_matrix_moves_further_and_decays():
    parameter = torch.nn.Parameter(torch.ones(4, 16))
    parameter.grad = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    Muon([parameter], lr=0.1, weight_decay=0.5).step()
    # 1 x (1 - 0.1 x 0.5) and the step times sqrt(16 / 4) = 2.
    expected = 0.95 - 0.1 * 2 * orthogonal(parameter.grad[None])[0]
    torch.testing.assert_close(parameter.detach(), expected, atol=1e-5, rtol=0)


def test_momentum_keeps_going():
    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    muon = Muon([parameter], lr=0.1, weight_decay=0.0)
    for gradient in (torch.eye(2), torch.zeros(2, 2)):
        before = parameter.detach().clone()
        parameter.grad = gradient
        muon.step()
        assert not torch.equal(parameter.detach(), before)


def test_warm_up_by_hand():
    assert [schedule(step, 100, 4, "cosine", 0.1) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule(0, 100, 0, "linear", 0.0) == 1.0


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [
        ("constant", 90, 1.0),
        ("linear", 60, 0.55),  # half of the way from 20 to 100: 0.1 + 0.9 x 0.5
        ("linear", 99, 0.1 + 0.9 / 80),
        ("cosine", 60, 0.55),  # cos(pi / 2) = 0
        ("cosine", 40, 0.1 + 0.9 * 0.5 * (1 + math.sqrt(0.5))),  # a quarter: cos(pi / 4)
    ],
)
def test_decay_by_hand(name, step, expected):
    assert schedule(step, 100, 20, name, 0.1) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_it_never_rises_after_the_warm_up(name):
    shares = [schedule(step, 50, 5, name, 0.0) for step in range(5, 50)]
    assert shares == sorted(shares, reverse=True)
    assert 0 < shares[-1] < 0.05


def test_a_warm_up_longer_than_the_training():
    assert [schedule(step, 3, 10, "cosine", 0.1) for step in range(3)] == pytest.approx([0.1, 0.2, 0.3])
