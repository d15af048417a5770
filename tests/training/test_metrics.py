"""Figures of a step by hand, the reference curve, memory, books."""

import json
import sys
import types

import pytest
import torch

from wholegpt.errors import WholeGPTError
from wholegpt.model.gpt import GPTConfig
from wholegpt.training import flops, journal, memory
from wholegpt.training.metrics import Meter, Reference

CPU = torch.device("cpu")


def test_utilisation_by_hand(monkeypatch):
    monkeypatch.setattr(flops, "peak_flops", lambda _device, _precision: 1e12)
    config = GPTConfig(100, n_ctx=64, n_embd=8, n_layer=2, n_head=2)
    # Matrices 2 x 12 x 64 + 100 x 8 = 2336; norms and biases 2 x 13 x 8 + 16 = 224; attention 2 x 8 x 32 = 512 a token.
    palm, exact = 6 * (2336 + 224) + 12 * 512, 6 * 2336 + 6 * 512
    meter = Meter(config, CPU, "float32", step_tokens=10_000_000, window=32, devices=2)
    speed = meter.speed(0.5)
    assert speed["tokens_per_second"] == 20_000_000
    assert speed["mfu"] == round(palm * 20e6 / 2e12, 4)
    assert speed["mfu_exact"] == round(exact * 20e6 / 2e12, 4)


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA A10G", 70e12), ("Tesla T4", 65e12)],
)
def test_a_known_gpu_has_its_nominal_peak(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: name)
    assert flops.peak_flops(torch.device("cuda"), "bfloat16") == peak


def test_the_peak_of_a_cpu_is_measured():
    assert 1e7 < flops.peak_flops(CPU, "float32") < 1e14


def test_a_slow_precision_is_measured_with_small_matrices(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(flops, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    assert flops.measured_flops(CPU, torch.float32) == 2 * 128**3  # one second each, and only of the first size


def test_the_reference_is_straight_in_the_logarithm():
    curve = Reference([(100, 6.0), (10_000, 4.0)])
    assert curve.above(1000, 5.3) == pytest.approx(0.3)  # halfway: 5.0
    assert curve.above(100, 6.0) == 0
    assert curve.above(10_000, 4.5) == 0.5
    assert curve.above(99, 6.0) is None
    assert curve.above(10_001, 6.0) is None
    assert Reference(()).above(5, 1.0) is None
    assert Reference([(5, 2.0)]).above(5, 3.0) == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    ],
)
def test_too_little_memory_says_what_to_change(error):
    flags = {"--activation-checkpointing": False, "--parallel fsdp": True}
    sentence = "with 8 windows at a time; run the same command with --micro-batch-size 4 or --activation-checkpointing"
    with pytest.raises(WholeGPTError, match=sentence), memory.enough(CPU, 8, flags):
        raise error
    with pytest.raises(WholeGPTError, match="take a smaller model or --n-ctx"), memory.enough(CPU, 1, {}):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), memory.enough(CPU, 8, {}):
        raise RuntimeError("shapes do not fit")


def test_memory_in_use():
    assert memory.peak_bytes(CPU) > 2**26


def test_a_rank_that_is_not_the_main_one_writes_nothing(tmp_path, capsys):
    with journal.kept(tmp_path, 0, 9, tensorboard=False, main=False) as books:
        books.write("metrics.jsonl", {"step": 1})
        books.advance("loss")
        books.note("line")
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err == ""


def test_tensorboard_gets_the_metrics(tmp_path, monkeypatch):
    seen = []
    writer = types.SimpleNamespace(add_scalar=lambda *point: seen.append(point), close=lambda: seen.append("closed"))
    monkeypatch.setattr(journal, "_summary_writer", lambda folder, step: seen.append((folder.name, step)) or writer)
    with journal.kept(tmp_path, 3, 9, tensorboard=True, main=True) as books:
        books.write("metrics.jsonl", {"step": 4, "loss": 2.5})
        books.write("samples.jsonl", {"step": 4, "text": "x"})
    assert seen == [("tensorboard", 3), ("loss", 2.5, 4), "closed"]
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 4, "loss": 2.5}


def test_tensorboard_that_is_missing_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(WholeGPTError, match=r"pip install 'wholegpt\[tensorboard\]'"):
        journal.check_tensorboard()
