"""One step: the same whatever the split of its batch, not taken where it would do harm, its noise keyed."""

import copy
from dataclasses import replace

import pytest
import torch

from wholegpt.model.gpt import GPT
from wholegpt.ranks import Team
from wholegpt.training.optimizer import build
from wholegpt.training.parallel import Objective
from wholegpt.training.step import Stepper

IDS = torch.randint(0, 300, (6, 33), generator=torch.Generator().manual_seed(0))


def stepper(model, precision="float32", **options):
    steppers = build(model, "adamw", 0.01, 0.0, 0.1, (0.9, 0.95))
    return Stepper(model, Objective(model, precision), steppers, Team(torch.device("cpu")), precision, **options)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 5, 6, 100])
def test_any_split_gives_the_same_gradient(model, micro_batch_size):
    """4 and 5 leave a smaller rest: tokens count, not micro-batches."""
    whole = copy.deepcopy(model)
    Objective(whole, "float32")(IDS).backward()
    one = stepper(model, micro_batch_size=micro_batch_size)
    losses = list(one._gradients(IDS))
    assert len(losses) == -(-6 // micro_batch_size)
    for parameter, expected in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, atol=1e-6, rtol=0)


def test_a_loss_that_is_no_number_changes_nothing(model):
    one = stepper(model, micro_batch_size=2)
    assert one.take(0, IDS, 1.0).taken
    with torch.no_grad():
        model.ln_f.bias[0] = float("nan")
    before = copy.deepcopy((model.state_dict(), one.optimizers[0].state_dict()))
    outcome = one.take(1, IDS, 1.0)
    assert not outcome.taken
    assert not outcome.forgivable
    assert outcome.loss != outcome.loss
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.nan_to_num(0.5), before[0][name].nan_to_num(0.5)), name
    for index, memory in one.optimizers[0].state_dict()["state"].items():
        assert all(torch.equal(tensor, before[1]["state"][index][key]) for key, tensor in memory.items())
    with torch.no_grad():
        model.ln_f.bias[0] = 0.0
    assert one.take(2, IDS, 1.0).taken


def test_a_float16_scale_that_is_too_large_is_halved(model):
    one = stepper(model, "float16", micro_batch_size=6)
    one.load_state(one.state() | {"scale": 2.0**40})
    before = model.wte.weight.detach().clone()
    outcome = one.take(0, IDS, 1.0)
    assert (outcome.taken, outcome.forgivable) == (False, True)
    assert torch.equal(model.wte.weight, before)
    assert one.state()["scale"] == 2.0**39
    steps = 1
    while not one.take(steps, IDS, 1.0).taken:
        steps += 1
    assert steps < 40
    assert not torch.equal(model.wte.weight, before)


def test_noise_is_a_function_of_seed_step_and_rank(model):
    noisy = GPT(replace(model.config, dropout=0.3))
    one = stepper(noisy, micro_batch_size=6)

    def loss(step, seed=0, rank=0, count=2):
        one._seed, one.team.rank, one.team.count = seed, rank, count
        return one.take(step, IDS, 0.0).loss

    first = loss(5)
    assert loss(5) == first
    assert len({first, loss(6), loss(5, seed=1), loss(5, rank=1)}) == 4


def test_a_request_to_stop_comes_back(model):
    assert stepper(model).take(0, IDS, 1.0, stop=True).stop
    assert not stepper(model).take(0, IDS, 1.0).stop
