"""What a machine trains fastest with: chosen among what is open, without touching the model."""

import pytest
import torch

from wholegpt.training import probe
from wholegpt.training.probe import Setup

IDS = torch.arange(34).view(2, 17)


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def speeds(monkeypatch):
    """Seconds a step of each setup, instead of a clock; and whether a product is faster in bfloat16."""
    table = {}
    monkeypatch.setattr(probe, "_seconds_per_step", lambda _model, _ids, setup: table[setup])
    monkeypatch.setattr(probe, "bfloat16_is_faster", lambda: any(setup.precision == "bfloat16" for setup in table))
    monkeypatch.setattr(probe.compiled, "threads", lambda: 2)
    return table


def test_the_fastest_is_chosen_and_what_was_tried_is_told(model, speeds):
    speeds.update({Setup(1, "float32"): 0.4, Setup(2, "float32"): 0.3, Setup(1, "bfloat16"): 0.25,
                   Setup(2, "bfloat16"): 0.5})  # fmt: skip
    setup, tried = probe.choose(model, IDS, 0, "auto")
    assert setup == Setup(1, "bfloat16")
    assert tried == {"1 thread, float32": 0.4, "2 threads, float32": 0.3, "1 thread, bfloat16": 0.25,
                     "2 threads, bfloat16": 0.5}  # fmt: skip


def test_a_slow_bfloat16_is_not_tried(model, speeds):
    speeds.update({Setup(1, "float32"): 0.4, Setup(2, "float32"): 0.3})
    assert probe.choose(model, IDS, 0, "auto")[0] == Setup(2, "float32")


def test_what_is_given_is_kept(model, speeds):
    assert probe.choose(model, IDS, 3, "bfloat16") == (Setup(3, "bfloat16"), {})
    speeds.update({Setup(3, "float32"): 0.1})
    assert probe.choose(model, IDS, 3, "auto") == (Setup(3, "float32"), {})


def test_the_model_is_not_changed(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    setup, tried = probe.choose(model, IDS, 0, "float32")
    assert setup.precision == "float32"
    assert len(tried) != 1
    assert all(seconds > 0 for seconds in tried.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_gpu_gets_the_best_that_it_has(model, monkeypatch):
    monkeypatch.setattr(probe.compiled, "threads", lambda: 2)
    capability, half = (8, 0), True
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: half)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    gpu = torch.device("cuda")
    assert probe.choose(model, IDS, 0, "auto", gpu) == (Setup(2, "bfloat16"), {})
    half, capability = False, (7, 5)
    assert probe.choose(model, IDS, 0, "auto", gpu)[0].precision == "float16"
    capability = (6, 1)
    assert probe.choose(model, IDS, 0, "auto", gpu)[0].precision == "float32"
    assert probe.choose(model, IDS, 0, "float16", gpu)[0].precision == "float16"
    assert probe.choose(model, IDS, 0, "auto", torch.device("mps"))[0].precision == "float32"


def test_a_device_that_cannot_train_is_left_for_the_cpu(model, capsys):
    assert probe.working_device(model, IDS, torch.device("cpu")) == torch.device("cpu")
    if not torch.backends.mps.is_available():
        assert probe.working_device(model, IDS, torch.device("mps")) == torch.device("cpu")
        assert "training does not work on mps (" in capsys.readouterr().err
    assert model.wte.weight.device.type == "cpu"
