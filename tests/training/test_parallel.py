"""What is applied to a model changes no number: checkpointing, padding, the compiler; and how it is undone."""

import copy

import pytest
import torch

from wholegpt.inference.engine import generate
from wholegpt.model import checkpoint
from wholegpt.model.gpt import GPT, GPTConfig, blocks_apart
from wholegpt.training import parallel
from wholegpt.training.optimizer import build
from wholegpt.training.ranks import Team
from wholegpt.training.step import Stepper

IDS = torch.randint(0, 300, (4, 33), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def team() -> Team:
    return Team(torch.device("cpu"))


def applied(model, team, compiles=False, checkpointing=False):
    return parallel.apply(model, "float32", team, IDS[:2], "ddp", compiles, checkpointing)


def gradients(model, objective):
    model.zero_grad()
    loss = objective(IDS)
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


def check_same(model, objective, plain, tolerance):
    """Loss and gradients equal those of the plain model."""
    loss, found = gradients(model, objective)
    expected_loss, expected = gradients(plain, parallel.Objective(plain, "float32"))
    torch.testing.assert_close(loss, expected_loss, atol=tolerance, rtol=0)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name][: len(gradient)], gradient, atol=tolerance, rtol=0, msg=name)


def test_checkpointing_keeps_the_gradients_and_computes_twice(model, team):
    plain = copy.deepcopy(model)
    calls = []
    model.h[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    objective = applied(model, team, checkpointing=True)
    check_same(model, objective, plain, 0.0)
    assert len(calls) == 2


def test_a_checkpointed_model_still_generates(model, team, tokenizer):
    expected = generate(model, tokenizer, ["The river"], max_new_tokens=9, temperature=0)
    applied(model, team, checkpointing=True)
    assert generate(model, tokenizer, ["The river"], max_new_tokens=9, temperature=0) == expected


def test_padding_changes_nothing_and_is_never_trained_nor_saved(model, team, tokenizer, tmp_path):
    plain = copy.deepcopy(model)
    parallel.pad_vocabulary(model, 128)
    assert model.wte.weight.shape == (384, 24)
    assert model(IDS[:, :32]).shape == (4, 32, 300)
    objective = applied(model, team)
    check_same(model, objective, plain, 1e-6)
    for name in ("adamw", "muon"):
        stepper = Stepper(model, objective, build(model, name, 0.01, 0.01, 0.1, (0.9, 0.95)), team, micro_batch_size=2)
        stepper.take(0, IDS, 1.0)
    assert not model.wte.weight[300:].any()
    checkpoint.save(tmp_path, parallel.whole(model), tokenizer)
    saved = checkpoint.load(tmp_path)[0]
    assert torch.equal(saved.wte.weight, model.wte.weight[:300])
    torch.testing.assert_close(saved(IDS[:, :32]), model.eval()(IDS[:, :32]), atol=1e-6, rtol=0)


def test_a_vocabulary_that_fits_is_left_alone(model):
    before = model.wte.weight
    parallel.pad_vocabulary(model, 100)
    assert model.wte.weight is before
    assert parallel.whole(model) is model


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch calls old
def test_compiled_equals_eager(team):
    torch.manual_seed(0)
    model = GPT(GPTConfig(300, n_ctx=32, n_embd=16, n_layer=1, n_head=2))
    plain = copy.deepcopy(model)
    objective = parallel.apply(model, "float32", team, IDS, "ddp", compiles=True, checkpointing=False)
    if isinstance(objective, parallel.Objective):
        pytest.skip("there is no compiler here that torch.compile can use")
    check_same(model, objective, plain, 1e-5)


def test_without_a_compiler_it_is_said_and_the_eager_model_trains(model, team, monkeypatch, capsys):
    def fail(*_arguments, **_options):
        raise RuntimeError("Windows not yet supported\nfor torch.compile")

    plain = copy.deepcopy(model)
    monkeypatch.setattr(torch, "compile", fail)
    objective = applied(model, team, compiles=True)
    said = "torch.compile does not work here (RuntimeError: Windows not yet supported); going on without it\n"
    assert capsys.readouterr().err == said
    check_same(model, objective, plain, 0.0)


def test_too_little_memory_is_no_fault_of_the_compiler(model, team, monkeypatch):
    def fail(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(torch.OutOfMemoryError):
        applied(model, team, compiles=True)


def test_documents_do_not_attend_to_each_other(model):
    """With a separator, logits of a document are those of the document alone at its positions."""
    first, second = [299, 5, 6, 7], [299, 8, 9]
    ids = torch.tensor([first + second])
    mixed = model(ids)
    model.separator = 299
    apart = model(ids)
    torch.testing.assert_close(apart[:, :4], model(ids[:, :4]), atol=1e-5, rtol=0)
    # The second, at positions 4 to 6: what stands before it does not matter.
    other = model(torch.tensor([[299, 1, 2, 3, *second]]))
    torch.testing.assert_close(apart[:, 4:], other[:, 4:], atol=1e-5, rtol=0)
    assert not torch.allclose(mixed[:, 4:], apart[:, 4:], atol=1e-3)
    assert torch.allclose(mixed[:, :4], apart[:, :4], atol=1e-5)


def test_documents_apart_in_a_window_that_begins_within_one(model):
    model.separator = 299
    ids = torch.tensor([[4, 5, 299, 6]])
    torch.testing.assert_close(model(ids)[:, :2], model(ids[:, :2]), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_documents_apart_by_blocks(model, monkeypatch):
    """FlexAttention and a mask give the same logits (forward only: its CPU kernel has no backward)."""
    ids = torch.randint(290, 300, (2, 32), generator=torch.Generator().manual_seed(0))
    model.separator = 299
    with torch.no_grad():
        expected = model(ids)
        monkeypatch.setattr("wholegpt.model.gpt.documents_apart", blocks_apart)
        torch.testing.assert_close(model(ids), expected, atol=1e-5, rtol=0)


@pytest.mark.gpu
def test_documents_apart_by_blocks_on_a_gpu(model):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    ids = torch.randint(290, 300, (2, 32), generator=torch.Generator().manual_seed(0))
    model.separator = 299
    gradients = []
    for device in ("cpu", "cuda"):
        model.zero_grad()
        logits = model.to(device)(ids.to(device))
        logits.square().mean().backward()
        gradients.append([parameter.grad.cpu().clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)
