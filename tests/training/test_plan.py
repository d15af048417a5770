"""The plan of a training by hand, against the model, and against the memory that a training takes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from wholegpt import cli
from wholegpt.cli import RECIPES, parse
from wholegpt.model.gpt import GPT, GPTConfig
from wholegpt.model.gpt import parameter_count as count_in_model
from wholegpt.paper import SIZES
from wholegpt.training import flops, plan
from wholegpt.training.loop import TrainOptions

PAPER = dict(zip(("small", "medium", "large", "xl"), SIZES, strict=True))
SHAPES = (
    ({"vocab_size": 4096, "n_ctx": 128, "n_embd": 256, "n_layer": 4, "n_head": 4}, 4, "adamw"),
    ({"vocab_size": 512, "n_ctx": 128, "n_embd": 128, "n_layer": 6, "n_head": 4}, 12, "muon"),
)
# Two steps of two micro-batches: the most memory that a process of its own held above what it began with.
MEASURE = """
import json, sys
from pathlib import Path
import torch
from wholegpt.model.gpt import GPT, GPTConfig
from wholegpt.training import optimizer
from wholegpt.training.loss import batch_loss


def train(config, windows, name):
    model = GPT(config)
    steppers = optimizer.build(model, name, 1e-3, 0.02, 0.1, (0.9, 0.95))
    ids = torch.randint(0, config.vocab_size, (windows, config.n_ctx + 1))
    for _ in range(2):
        for _ in range(2):
            batch_loss(model, ids, "float32").backward()
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()


def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if key in line)


torch.set_num_threads(1)
for name in ("adamw", "muon"):
    train(GPTConfig(64, n_ctx=8, n_embd=8, n_layer=1, n_head=1), 1, name)  # loads what PyTorch loads late
taken = []
for sizes, windows, name in json.loads(sys.argv[1]):
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = resident("VmRSS")
    train(GPTConfig(**sizes), windows, name)
    taken.append(resident("VmHWM") - before)
print(json.dumps(taken))
"""


def config(size) -> GPTConfig:
    return GPTConfig(n_embd=size.n_embd, n_layer=size.n_layer, n_head=size.n_head)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_parameters_of_the_paper(size):
    assert plan.parameter_count(config(size)) == size.parameters


def test_parameters_of_a_model(model):
    assert plan.parameter_count(model.config) == count_in_model(GPT(model.config))


def test_memory_by_hand():
    """Two layers of width 8, two heads, windows of 4, 10 entries: N = 12 tokens in three windows."""
    sizes = GPTConfig(vocab_size=10, n_ctx=4, n_embd=8, n_layer=2, n_head=2)
    blocks = 2 * 12 * 64
    parameters = blocks + 2 * 13 * 8 + 10 * 8 + 4 * 8 + 2 * 8
    found = plan.memory(sizes, 3, "adamw", half=False, device="cpu")
    assert found.weights == 4 * parameters
    assert found.gradients == 4 * parameters + 4 * 80
    assert found.optimizer == 8 * parameters
    assert found.activations == 12 * (2 * (16 * 4 * 8 + 4 * 2) + 2 * 4 * 8)
    assert found.logits == 4 * 12 * 10 + 4 * 12 * 8
    half = plan.memory(sizes, 3, "muon", half=True)
    assert half.weights == 4 * parameters + 2 * (blocks + 80)
    assert half.optimizer == 8 * parameters - 4 * blocks
    assert half.activations == 12 * (2 * ((2 * 4 + 14 * 2) * 8 + 4 * 2) + 2 * 4 * 8)
    assert plan.memory(sizes, 3, checkpointing=True).activations < plan.memory(sizes, 3).activations


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of a process's memory")
def test_memory_that_a_training_takes():
    """With each large tensor mapped by itself, for glibc's heap would keep gaps: a third to a half as much again."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", MEASURE, json.dumps(SHAPES)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    for (sizes, windows, optimizer), taken in zip(SHAPES, json.loads(found), strict=True):
        planned = plan.memory(GPTConfig(**sizes), windows, optimizer, device="cpu").total
        assert 0.85 <= planned / taken <= 1.2, f"{planned / 1e6:.0f} MB planned, {taken / 1e6:.0f} MB taken"


def test_the_largest_micro_batch_divides_the_batch_and_fits():
    def need(windows):
        return plan.Memory(100, 0, 0, 10 * windows, 0)

    assert plan.largest_micro_batch(200, 12, need) == 6  # 10 fit
    assert plan.largest_micro_batch(220, 12, need) == 12
    assert plan.largest_micro_batch(109, 12, need) == 0


@pytest.mark.parametrize("name", [path.stem for path in sorted(RECIPES.glob("*.toml"))])
def test_dry_run_of_each_recipe(name, tmp_path, monkeypatch, capsys):
    """Nothing is there, nothing is made, and no model: the largest would take 25 GB."""
    monkeypatch.chdir(tmp_path)
    assert cli.run(["train", "none", "--recipe", name, "--dry-run", "--memory-gb", "80"]) == 0
    shown = capsys.readouterr().out
    assert "none is not there" in shown
    assert "GPU-hours" in shown
    assert not list(tmp_path.iterdir())
    if name in PAPER:
        assert f"{PAPER[name].parameters:,}" in shown


def test_dry_run_with_shards(run, tmp_path, capsys):
    shards = run.parent / "shards"
    options = TrainOptions(shards, tmp_path / "out", n_layer=1, n_head=2, n_embd=16, n_ctx=32, steps=10, batch_size=2)
    plan.show(options)
    shown = capsys.readouterr().out
    assert "vocabulary 300" in shown
    assert "640: 10 steps x 2 windows" in shown
    assert "times the" in shown
    plan.show(replace(options, memory_gb=1e-9))
    assert "nothing fits" in capsys.readouterr().out


@pytest.mark.parametrize("name", PAPER)
def test_recipes_have_the_papers_sizes_and_batch(name):
    options = parse(TrainOptions, "train", ["shards", "-o", "run", "--recipe", name])
    assert options.model_config(50257) == config(PAPER[name])
    assert (options.batch_size, options.n_ctx) == (512, 1024)
    assert options.batch_size % (8 * options.micro_batch_size) == 0


def test_recipes_state_their_arithmetic():
    """Tokens and operations in the comments are those of the values below them."""
    for name in (*PAPER, "fast"):
        text = (RECIPES / f"{name}.toml").read_text()
        options = parse(TrainOptions, "train", ["shards", "--recipe", name])
        tokens = options.steps * 512 * 1024
        exact = flops.exact_flops(options.model_config(50257), 1024)
        assert f"{options.steps:,} steps x 512 windows x 1,024 tokens = {tokens / 1e9:.3g}".rstrip("0") in text
        mantissa, exponent = f"{tokens * exact:.1e}".split("e")
        assert f"{mantissa}e{int(exponent)} FLOP exactly" in text
