"""The model against the paper's counts, transformers' implementation, and itself with a cache."""

import math

import pytest
import torch
from transformers import GPT2LMHeadModel

from wholegpt import paper
from wholegpt.model import checkpoint
from wholegpt.model.gpt import GPT, GPTConfig, parameter_count


@pytest.mark.parametrize("size", paper.SIZES, ids=lambda size: size.name)
def test_parameter_counts_of_the_paper(size):
    with torch.device("meta"):
        model = GPT(GPTConfig(n_layer=size.n_layer, n_embd=size.n_embd, n_head=size.n_head))
    assert parameter_count(model) == size.parameters


def test_initialisation():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=2000, n_ctx=256, n_embd=128, n_layer=8, n_head=2))
    deviations = {
        name: float(parameter.detach().std()) for name, parameter in model.named_parameters() if parameter.dim() == 2
    }
    for name, found in deviations.items():
        residual = name.endswith("c_proj.weight")
        expected = 0.01 if name == "wpe.weight" else 0.02 / math.sqrt(16) if residual else 0.02
        assert found == pytest.approx(expected, rel=0.03), name
    assert not any(parameter.any() for name, parameter in model.named_parameters() if name.endswith("bias"))


def assert_equals_transformers(model, folder, ids):
    """Logits within 1e-4, gradients within 1e-5 of the largest of their parameter."""
    checkpoint.save(folder, model, None)
    other, report = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    ours, theirs = model(ids), other.eval()(ids).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    ours.logsumexp(-1).sum().backward()
    theirs.logsumexp(-1).sum().backward()
    gradients = {name.removeprefix("transformer."): p.grad for name, p in other.named_parameters()}
    for name, parameter in model.named_parameters():
        scale = float(gradients[name].abs().max())
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5 * scale, rtol=0, msg=name)


def test_logits_and_gradients_equal_transformers(model, tmp_path):
    assert_equals_transformers(model, tmp_path, torch.randint(0, 300, (3, 32)))


@pytest.mark.parametrize("size", paper.SIZES, ids=lambda size: size.name)
def test_the_four_widths_equal_transformers(size, tmp_path):
    """Two layers of each, at the scale of a fresh model, in a long sequence; and with a cache."""
    torch.manual_seed(2)
    model = GPT(GPTConfig(vocab_size=1000, n_layer=2, n_embd=size.n_embd, n_head=size.n_head)).eval()
    ids = torch.randint(0, 1000, (1, 200))
    assert_equals_transformers(model, tmp_path, ids)
    with torch.no_grad():
        first, cache = model(ids[:, :150], cache=model.empty_cache(1))
        second, _ = model(ids[:, 150:], cache=cache)
        torch.testing.assert_close(torch.cat([first, second], dim=1), model(ids), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cuts", [(1,), (31,), (5, 6, 20), tuple(range(1, 32))])
def test_cached_equals_uncached(model, cuts):
    ids = torch.randint(0, model.config.vocab_size, (2, 32))
    cache, logits = model.empty_cache(2), []
    for start, stop in zip((0, *cuts), (*cuts, 32), strict=True):
        part, cache = model(ids[:, start:stop], cache=cache)
        logits.append(part)
    torch.testing.assert_close(torch.cat(logits, dim=1), model(ids), atol=1e-5, rtol=1e-5)


def test_window_and_dropout(model):
    with pytest.raises(ValueError, match="33 positions exceed the context window of 32"):
        model(torch.zeros(1, 33, dtype=torch.long))
    torch.manual_seed(0)
    noisy = GPT(GPTConfig(vocab_size=50, n_ctx=8, n_embd=8, n_layer=1, n_head=1, dropout=0.5))
    ids = torch.arange(8)[None]
    assert not torch.equal(noisy(ids), noisy(ids))
    assert torch.equal(noisy.eval()(ids), noisy(ids))
    assert noisy.to(torch.bfloat16)(ids).dtype == torch.float32


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="n_embd 10 is not a multiple of n_head 3"):
        GPTConfig(n_embd=10, n_head=3)


@pytest.mark.parametrize("size", paper.SIZES, ids=lambda size: size.name)
def test_heads_divide_the_width_into_64(size):
    assert size.n_embd == 64 * size.n_head


def test_an_empty_cache_changes_nothing(model):
    ids = torch.arange(10)[None]
    logits, cache = model(ids, cache=model.empty_cache(1))
    assert torch.equal(logits, model(ids))
    assert [tuple(keys.shape) for keys, _ in cache] == [(1, 3, 10, 8)] * 2


def test_a_cache_is_extended_not_changed(model):
    _, cache = model(torch.arange(5)[None], cache=model.empty_cache(1))
    before = [(keys.clone(), values.clone()) for keys, values in cache]
    model(torch.arange(5)[None], cache=cache)
    for (keys, values), (old_keys, old_values) in zip(cache, before, strict=True):
        assert torch.equal(keys, old_keys)
        assert torch.equal(values, old_values)


def test_the_window_counts_cached_positions(model):
    _, cache = model(torch.zeros(1, 30, dtype=torch.long), cache=model.empty_cache(1))
    model(torch.zeros(1, 2, dtype=torch.long), cache=cache)
    with pytest.raises(ValueError, match="33 positions exceed the context window of 32"):
        model(torch.zeros(1, 3, dtype=torch.long), cache=cache)


def test_no_position_sees_a_later_one(model):
    ids = torch.randint(0, 300, (1, 32), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[0, 20:] = (changed[0, 20:] + 1) % 300
    first, second = model(ids), model(changed)
    torch.testing.assert_close(first[:, :20], second[:, :20], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(first[:, 20:], second[:, 20:])


def test_rows_of_a_batch_do_not_meet(model):
    ids = torch.randint(0, 300, (3, 16), generator=torch.Generator().manual_seed(0))
    for row in range(3):
        torch.testing.assert_close(model(ids)[row], model(ids[row : row + 1])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"n_layer": 0}, "n_layer is 0, expected at least 1"),
        ({"vocab_size": -1}, "vocab_size is -1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_impossible_sizes(fields, fault):
    with pytest.raises(ValueError, match=fault):
        GPTConfig(**fields)
