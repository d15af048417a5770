"""Training repeats itself bit for bit: twice, after Ctrl-C, after kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wholegpt.corpus.build import BuildOptions
from wholegpt.corpus.build import build as build_corpus
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.training.loop import TrainOptions, train
from wholegpt.training.loss import batch_loss
from wholegpt.training.shards import ShardsOptions
from wholegpt.training.shards import build as build_shards

SMALL = {
    "n_layer": 2, "n_head": 2, "n_embd": 16, "n_ctx": 32, "dropout": 0.1, "batch_size": 4, "micro_batch_size": 2,
    "steps": 40, "warmup_steps": 4, "optimizer": "muon", "learning_rate": 0.01, "evaluate_every": 10,
    "sample_every": 20, "save_every": 5, "threads": 1, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory, text, tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    (folder / "text.txt").write_text(text, encoding="utf-8")
    (folder / "tokenizer").mkdir()
    tokenizer.save(folder / "tokenizer")
    build_corpus(BuildOptions((str(folder / "text.txt"),), folder / "corpus", passage_characters=1000))
    build_shards(ShardsOptions(folder / "corpus", folder / "shards", str(folder / "tokenizer")))
    return folder / "shards"


@pytest.fixture(scope="module")
def uninterrupted(shards, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("run") / "run"
    train(TrainOptions(shards, output, **SMALL))
    return output


def result(run: Path) -> tuple[list[tuple[int, float]], bytes]:
    """The losses of all steps and the weights."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    return losses, (run / "model.safetensors").read_bytes()


def test_learns_and_keeps_its_books(uninterrupted):
    losses, _ = result(uninterrupted)
    assert [step for step, _ in losses] == list(range(1, 41))
    assert losses[-1][1] < losses[0][1] - 0.5
    samples = [json.loads(line) for line in (uninterrupted / "samples.jsonl").read_text().splitlines()]
    assert [sample["step"] for sample in samples] == [20, 40]
    assert not (uninterrupted / "state").exists()


def test_two_runs_are_equal(shards, uninterrupted, tmp_path):
    train(TrainOptions(shards, tmp_path / "run", **SMALL))
    assert result(tmp_path / "run") == result(uninterrupted)
    train(TrainOptions(shards, tmp_path / "other", **(SMALL | {"seed": 1})))
    assert result(tmp_path / "other") != result(uninterrupted)


def start(shards: Path, output: Path) -> subprocess.Popen[bytes]:
    flags = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "wholegpt", "train", str(shards), "-o", str(output), *flags]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})


def wait_for_steps(process: subprocess.Popen[bytes], output: Path, steps: int) -> None:
    metrics = output.with_name(output.name + ".partial") / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.is_file() and metrics.read_bytes().count(b'"loss"') >= steps:
            return
        time.sleep(0.005)


def test_interrupted_equals_uninterrupted(shards, uninterrupted, tmp_path):
    output = tmp_path / "run"
    process = start(shards, output)
    wait_for_steps(process, output, 7)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not output.exists()
    train(TrainOptions(shards, output, **SMALL))
    assert result(output) == result(uninterrupted)


def test_killed_again_and_again_equals_uninterrupted(shards, uninterrupted, tmp_path):
    output = tmp_path / "run"
    for steps in (1, 11, 23):
        process = start(shards, output)
        wait_for_steps(process, output, steps)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        assert not output.exists()
    train(TrainOptions(shards, output, **SMALL))
    assert result(output) == result(uninterrupted)


def test_an_unfinished_run_of_other_options_is_not_continued(shards, tmp_path):
    partial = tmp_path / "run.partial"
    options = TrainOptions(shards, tmp_path / "run", **SMALL)
    process = start(shards, tmp_path / "run")
    wait_for_steps(process, tmp_path / "run", 6)
    process.kill()
    process.wait(60)
    assert partial.exists()
    with pytest.raises(WholeGPTError, match=r"learning_rate was 0\.01, now 0\.1"):
        train(replace(options, learning_rate=0.1))


def test_micro_batches_give_the_same_gradient(model):
    windows = torch.randint(0, model.config.vocab_size, (6, 33))
    batch_loss(model, windows, "float32").backward()
    whole = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for part in windows.split(2):
        (batch_loss(model, part, "float32") / 3).backward()
    for parameter, expected in zip(model.parameters(), whole, strict=True):
        torch.testing.assert_close(parameter.grad, expected, atol=1e-6, rtol=1e-5)


def test_loss_that_is_not_a_number_stops(shards, tmp_path):
    wild = SMALL | {"optimizer": "adamw", "learning_rate": 1e20, "warmup_steps": 0, "gradient_clip": 1e20}
    with pytest.raises(WholeGPTError, match="try a smaller --learning-rate"):
        train(TrainOptions(shards, tmp_path / "run", **wild))
    assert not (tmp_path / "run").exists()


def test_wrong_options(shards, tmp_path):
    with pytest.raises(UsageError, match="--steps is 0"):
        TrainOptions(shards, tmp_path / "run", steps=0)
    with pytest.raises(WholeGPTError, match="one window takes 100,001"):
        train(TrainOptions(shards, tmp_path / "run", **(SMALL | {"n_ctx": 100_000})))
    with pytest.raises(UsageError, match="not a multiple of n_head"):
        train(TrainOptions(shards, tmp_path / "run", **(SMALL | {"n_head": 3})))
