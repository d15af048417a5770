"""The state of an unfinished run: whole or not there, the last two kept."""

import shutil

import pytest
import torch

from wholegpt.errors import WholeGPTError
from wholegpt.model.gpt import GPT
from wholegpt.training import state
from wholegpt.training.loss import batch_loss
from wholegpt.training.optimizer import build

IDS = torch.arange(66).view(2, 33)


def optimizers(model, name="muon"):
    return build(model, name, 0.01, 0.02, 0.1, (0.9, 0.95))


def step(model, steppers):
    batch_loss(model, IDS, "float32").backward()
    for stepper in steppers:
        stepper.step()
        stepper.zero_grad()


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_what_is_loaded_goes_on_as_what_was_saved(model, tmp_path, name):
    steppers = optimizers(model, name)
    step(model, steppers)
    state.save(tmp_path, 1, model, steppers, {"seconds": 2.5})
    step(model, steppers)
    torch.manual_seed(99)
    other = GPT(model.config)
    others = optimizers(other, name)
    assert state.load(tmp_path, other, others) == {"step": 1, "seconds": 2.5}
    step(other, others)
    for mine, expected in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, expected)


def test_without_a_state_nothing_changes(model, tmp_path):
    before = model.wte.weight.detach().clone()
    assert state.load(tmp_path / "state", model, optimizers(model)) is None
    assert torch.equal(model.wte.weight, before)


def test_the_last_two_are_kept(model, tmp_path):
    for number in (9, 10, 11, 1000):
        state.save(tmp_path, number, model, optimizers(model), {})
    assert [path.name for path in state.saved(tmp_path)] == ["step-000011", "step-001000"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000011", "step-001000"]


def test_the_order_is_that_of_the_steps(model, tmp_path):
    for number in (999_999, 1_000_000):
        state.save(tmp_path, number, model, optimizers(model), {})
    assert state.load(tmp_path, model, optimizers(model))["step"] == 1_000_000


def test_a_half_written_state_is_passed_over(model, tmp_path):
    state.save(tmp_path, 5, model, optimizers(model), {})
    (tmp_path / "step-000010.partial").mkdir()
    (tmp_path / "step-000010.partial" / "model.safetensors").write_bytes(b"half")
    assert state.load(tmp_path, model, optimizers(model))["step"] == 5
    state.save(tmp_path, 10, model, optimizers(model), {})
    assert state.load(tmp_path, model, optimizers(model))["step"] == 10


def test_the_same_step_may_be_saved_again(model, tmp_path):
    state.save(tmp_path, 5, model, optimizers(model), {"seconds": 1})
    state.save(tmp_path, 5, model, optimizers(model), {"seconds": 2})
    assert state.load(tmp_path, model, optimizers(model))["seconds"] == 2


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("name", ["optimizer.safetensors", "model.safetensors", "progress.json"])
def test_a_broken_state_is_refused_by_name(model, tmp_path, name, content):
    state.save(tmp_path, 4, model, optimizers(model), {})
    state.save(tmp_path, 5, model, optimizers(model), {})
    (tmp_path / "step-000005" / name).write_bytes(content)
    with pytest.raises(WholeGPTError, match="step-000005"):
        state.load(tmp_path, model, optimizers(model))
    shutil.rmtree(tmp_path / "step-000005")
    assert state.load(tmp_path, model, optimizers(model))["step"] == 4


def test_the_state_of_another_optimizer_is_refused(model, tmp_path):
    state.save(tmp_path, 5, model, optimizers(model, "muon"), {})
    with pytest.raises(WholeGPTError, match="step-000005 cannot be read"):
        state.load(tmp_path, model, optimizers(model, "adamw"))


def test_pickled_code_does_not_run(model, tmp_path, fixtures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for malicious in ("pytorch_model.bin", "legacy.bin", "plain.pkl"):
        state.save(tmp_path / "state", 5, model, optimizers(model), {})
        shutil.copy(fixtures / "malicious" / malicious, tmp_path / "state" / "step-000005" / "optimizer.safetensors")
        with pytest.raises(WholeGPTError, match="step-000005 cannot be read"):
            state.load(tmp_path / "state", model, optimizers(model))
        (tmp_path / "state" / "step-000005" / "optimizer.safetensors").chmod(0o644)
        shutil.rmtree(tmp_path / "state" / "step-000005" / "shards", ignore_errors=True)
        (tmp_path / "state" / "step-000005" / "shards").mkdir()
        shutil.copy(fixtures / "malicious" / malicious, tmp_path / "state" / "step-000005" / "shards" / ".metadata")
        with pytest.raises(WholeGPTError, match="step-000005 cannot be read"):
            state.load(tmp_path / "state", model, optimizers(model))
    assert not (tmp_path / "UNSAFE_PICKLE_RAN").exists()
