"""Training repeats itself bit for bit: twice, after Ctrl-C, after kill -9."""

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2LMHeadModel

from wholegpt import artifact, load
from wholegpt.artifact import read_manifest
from wholegpt.errors import Interrupted, UsageError, WholeGPTError
from wholegpt.ranks import Team
from wholegpt.tokenizer import Tokenizer
from wholegpt.training import journal, loop, start
from wholegpt.training.data import Data
from wholegpt.training.loop import TrainOptions, train
from wholegpt.training.loss import batch_loss
from wholegpt.training.optimizer import schedule
from wholegpt.training.step import Stepper

SMALL = {
    "n_layer": 2, "n_head": 2, "n_embd": 16, "n_ctx": 32, "dropout": 0.1, "batch_size": 4, "micro_batch_size": 2,
    "steps": 40, "warmup_steps": 4, "optimizer": "muon", "learning_rate": 0.01, "evaluate_every": 10,
    "sample_every": 20, "save_every": 5, "threads": 1, "precision": "float32",
}  # fmt: skip


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


def arguments(shards: Path, output: Path) -> list[str]:
    flags = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["train", str(shards), "-o", str(output), *flags]


def test_interrupted_equals_uninterrupted(shards, uninterrupted, launcher, tmp_path, wait_for_steps):
    output = tmp_path / "run"
    (process,) = launcher.start(arguments(shards, output), 0)
    wait_for_steps(output, 7)
    os.kill(process, signal.SIGINT)
    assert launcher.wait() == [130]
    assert "state saved; the same command goes on" in launcher.log(0)
    assert not output.exists()
    train(TrainOptions(shards, output, **SMALL))
    assert result(output) == result(uninterrupted)


def test_killed_again_and_again_equals_uninterrupted(shards, uninterrupted, launcher, tmp_path, wait_for_steps):
    output = tmp_path / "run"
    for steps in (1, 11, 23):
        (process,) = launcher.start(arguments(shards, output), 0)
        wait_for_steps(output, steps)
        os.kill(process, signal.SIGKILL)
        assert launcher.wait() == [-signal.SIGKILL]
        assert not output.exists()
    options = TrainOptions(shards, output, **SMALL)
    with pytest.raises(WholeGPTError, match=r"learning_rate was 0\.01, now 0\.1"):
        train(replace(options, learning_rate=0.1))
    train(options)
    assert result(output) == result(uninterrupted)


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


@pytest.mark.parametrize(("number", "step"), [(signal.SIGINT, 0), (signal.SIGTERM, 8), (signal.SIGINT, 38)])
def test_stopped_at_any_step_equals_uninterrupted(shards, uninterrupted, tmp_path, monkeypatch, number, step):
    def stop_at(now, *arguments):
        if now == step:
            os.kill(os.getpid(), number)
        return schedule(now, *arguments)

    monkeypatch.setattr(loop.optimizers, "schedule", stop_at)
    options = TrainOptions(shards, tmp_path / "run", **SMALL)
    with pytest.raises(Interrupted, match=f"stopped after step {step + 1} of 40, state saved"):
        train(options)
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    train(options)
    assert result(tmp_path / "run") == result(uninterrupted)


def test_a_stop_in_the_last_step_finishes(shards, uninterrupted, tmp_path, monkeypatch):
    def stop_at_the_end(now, *arguments):
        if now == 39:
            os.kill(os.getpid(), signal.SIGINT)
        return schedule(now, *arguments)

    monkeypatch.setattr(loop.optimizers, "schedule", stop_at_the_end)
    train(TrainOptions(shards, tmp_path / "run", **SMALL))
    assert result(tmp_path / "run") == result(uninterrupted)


def test_handlers_of_signals_are_put_back(shards, tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(TrainOptions(shards, tmp_path / "run", **(SMALL | {"steps": 1})))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_call_does_nothing(shards, uninterrupted, capsys):
    before = read_manifest(uninterrupted)
    train(TrainOptions(shards, uninterrupted, **SMALL))
    assert "is there already" in capsys.readouterr().err
    assert read_manifest(uninterrupted) == before


def test_counts_by_hand(uninterrupted):
    counts = read_manifest(uninterrupted)["counts"]
    # Embeddings (300 + 32) x 16; two blocks of 12 x 16^2 + 13 x 16; a last norm of 2 x 16.
    assert counts["parameters"] == 332 * 16 + 2 * (12 * 256 + 13 * 16) + 32
    assert (counts["steps"], counts["tokens"]) == (40, 40 * 4 * 32)
    assert (counts["threads"], counts["precision"]) == (1, "float32")


def test_transformers_opens_a_run(uninterrupted):
    ids = torch.arange(32)[None]
    model, _ = load(uninterrupted)
    with torch.no_grad():
        theirs = GPT2LMHeadModel.from_pretrained(uninterrupted).eval()(ids).logits
        torch.testing.assert_close(model(ids), theirs, atol=1e-4, rtol=0)


def test_batches_are_the_windows_of_the_order(shards, tokenizer):
    data = Data.open(shards, 32, 0, tokenizer)
    tokens = data.train.read(0, len(data.train))
    for step in (0, 7, 1000):
        starts = data.order.starts(step * 4, 4)
        expected = [tokens[start : start + 33].tolist() for start in starts.tolist()]
        assert data.batch(step, 4).tolist() == expected
        assert [data.batch(step, 4, rank, 2).tolist() for rank in range(2)] == [expected[::2], expected[1::2]]


def test_held_out_bits_by_hand(shards, tokenizer, uninterrupted):
    model, _ = load(uninterrupted)
    data = Data.open(shards, 32, 0, tokenizer)
    windows = (len(data.val) - 1) // 32
    losses = []
    for index in range(16):
        ids = torch.from_numpy(data.val.read(windows * index // 16 * 32, 33))
        with torch.no_grad():
            logprobs = model(ids[None, :-1])[0].log_softmax(-1)
        losses.append(-float(logprobs[range(32), ids[1:]].mean()))
    counts = read_manifest(shards)["counts"]["val"]
    expected = sum(losses) / 16 / math.log(2) * counts["tokens"] / counts["bytes"]
    assert windows >= 16
    assert read_manifest(uninterrupted)["counts"]["held_out_bits_per_byte"] == pytest.approx(expected, abs=1e-4)


def test_metrics_say_what_happened(uninterrupted, shards):
    lines = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").read_text().splitlines()]
    looks = [line["step"] for line in lines if "held_out_bits_per_byte" in line]
    assert looks == [10, 20, 30, 40]
    counts = read_manifest(shards)["counts"]["train"]
    for line in lines:
        if "loss" in line:
            bits = line["loss"] / math.log(2) * counts["tokens"] / counts["bytes"]
            assert line["bits_per_byte"] == pytest.approx(bits)
            assert line["learning_rate_share"] == schedule(line["step"] - 1, 40, 4, "cosine", 0.1)


@pytest.mark.parametrize("micro_batch_size", [1, 3, 4, 99])
def test_a_step_does_not_depend_on_micro_batches(shards, tmp_path, micro_batch_size):
    plain = SMALL | {"dropout": 0.0, "steps": 3}
    losses = []
    for name, size in (("two", 2), ("other", micro_batch_size)):
        train(TrainOptions(shards, tmp_path / name, **(plain | {"micro_batch_size": size})))
        losses.append([loss for _, loss in result(tmp_path / name)[0]])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_bfloat16_repeats_itself_too(shards, tmp_path):
    for name in ("one", "two"):
        train(TrainOptions(shards, tmp_path / name, **(SMALL | {"precision": "bfloat16", "steps": 3})))
    assert result(tmp_path / "one") == result(tmp_path / "two")
    train(TrainOptions(shards, tmp_path / "exact", **(SMALL | {"steps": 3})))
    assert result(tmp_path / "exact") != result(tmp_path / "one")


def test_the_setup_of_the_first_start_is_kept(tmp_path, model):
    (tmp_path / "setup.json").write_text('{"threads": 7, "precision": "bfloat16"}')
    setup = start.setup(tmp_path / "setup.json", model, torch.zeros(1, 9), 0, "auto", Team(torch.device("cpu")))
    assert (setup.threads, setup.precision) == (7, "bfloat16")


def test_metrics_of_a_killed_run_are_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 2, "x": 0}\n{"step": 3}\n{"step": 4}\n{"st')
    journal.cut(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 2, "x": 0}\n'
    path.write_text('{"step": 1}\n{"step"')
    journal.cut(path, 2)
    assert path.read_text() == '{"step": 1}\n'


def test_a_folder_without_shards_is_refused(run, tmp_path):
    with pytest.raises(WholeGPTError, match="holds no shards of the part train"):
        train(TrainOptions(run.parent / "tokenizer", tmp_path / "run", **SMALL))
    with pytest.raises(WholeGPTError, match="gone does not exist"):
        train(TrainOptions(tmp_path / "gone", tmp_path / "run", **SMALL))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("moment", ["sha256", "sync"])
def test_interrupted_after_the_last_step_nothing_is_trained_again(shards, uninterrupted, tmp_path, monkeypatch, moment):
    """While outputs are hashed, and while they are synced."""
    output = tmp_path / "run"
    real = getattr(artifact, moment)

    def interrupted(path: Path) -> object:
        if path == output.with_name("run.partial") / "model.safetensors":
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(artifact, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(TrainOptions(shards, output, **SMALL))
    assert not output.exists()
    monkeypatch.setattr(artifact, moment, real)
    monkeypatch.setattr("wholegpt.training.step.Stepper.take", None)  # one step would fail
    train(TrainOptions(shards, output, **SMALL))
    assert result(output) == result(uninterrupted)
    assert not (output / "state").exists()


def test_steps_without_a_finite_loss_are_skipped_and_their_batches_kept(shards, uninterrupted, tmp_path, monkeypatch):
    """One bad step is passed over; the run goes on and finishes."""
    real = Stepper._gradients

    def spoil(self, windows):
        yield from real(self, windows)
        if self.calls == 6:
            yield torch.tensor(math.nan)

    def count(self, *arguments):
        self.calls = getattr(self, "calls", -1) + 1
        return taken(self, *arguments)

    taken = Stepper.take
    monkeypatch.setattr(Stepper, "take", count)
    monkeypatch.setattr(Stepper, "_gradients", spoil)
    train(TrainOptions(shards, tmp_path / "run", **SMALL))
    (record,) = [json.loads(line) for line in (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()]
    assert (record["step"], record["loss"]) == (7, "nan")
    data = Data.open(shards, 32, 0, Tokenizer.load(shards))
    assert [data.train.read(start, 33).tolist() for start in record["windows_begin_at_tokens"]] == data.batch(
        6, 4
    ).tolist()
    losses, _ = result(tmp_path / "run")
    assert [step for step, _ in losses] == [step for step in range(1, 41) if step != 7]
    assert losses[:6] == result(uninterrupted)[0][:6]
    assert read_manifest(tmp_path / "run")["counts"]["skipped_steps"] == 1


def test_the_best_model_on_held_out_text_is_kept(shards, tmp_path, monkeypatch):
    """The rate jumps after half of the steps, so that the best look is the one before."""
    monkeypatch.setattr(loop.optimizers, "schedule", lambda step, *_: 0.5 if step < 20 else 200.0)
    options = SMALL | {"optimizer": "adamw", "keep_states": 1, "gradient_clip": 1e9}
    train(TrainOptions(shards, tmp_path / "run", **options))
    counts = read_manifest(tmp_path / "run")["counts"]
    assert counts["best_step"] == 20
    assert counts["best_held_out_bits_per_byte"] < counts["held_out_bits_per_byte"] - 0.5
    train(TrainOptions(shards, tmp_path / "half", **(options | {"steps": 20})))
    best, half = (load(tmp_path / name)[0].state_dict() for name in ("run/best", "half"))
    assert all(torch.equal(best[name], tensor) for name, tensor in half.items())
    assert not (tmp_path / "half" / "best").exists()


def test_how_a_training_is_done_may_change_on_the_way(shards, tmp_path):
    """What saves memory may be added after a stop; the state is the same run's."""
    plain = SMALL | {"dropout": 0.0, "steps": 6, "optimizer": "adamw"}
    train(TrainOptions(shards, tmp_path / "one", **plain))
    before = read_manifest(tmp_path / "one")
    train(TrainOptions(shards, tmp_path / "one", **(plain | {"micro_batch_size": 1}), activation_checkpointing=True))
    assert read_manifest(tmp_path / "one") == before


def test_fine_tuning_begins_with_the_model(shards, uninterrupted, tmp_path):
    options = SMALL | {"steps": 2, "learning_rate": 1e-4, "optimizer": "adamw", "dropout": 0.0, "n_ctx": 16}
    train(TrainOptions(shards, tmp_path / "run", **(options | {"n_layer": 9}), init=str(uninterrupted)))
    model, _ = load(tmp_path / "run")
    assert (model.config.n_layer, model.config.n_ctx) == (2, 32)
    first = result(tmp_path / "run")[0][0][1]
    windows = Data.open(shards, 16, 0, Tokenizer.load(shards)).batch(0, 4)
    with torch.no_grad():
        assert first == pytest.approx(float(batch_loss(load(uninterrupted)[0], windows, "float32")), abs=1e-5)


def test_another_tokenizer_than_the_models_is_refused(shards, tmp_path, fixtures):
    with pytest.raises(WholeGPTError, match=r"made with another tokenizer \(300 entries\).*--tokenizer"):
        train(TrainOptions(shards, tmp_path / "run", **SMALL, init=str(fixtures / "hf-tiny")))
    assert not list(tmp_path.iterdir())


def test_documents_apart_by_option(shards, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("wholegpt.model.gpt.documents_apart", lambda _ids, separator: seen.append(separator))
    train(TrainOptions(shards, tmp_path / "plain", **(SMALL | {"steps": 1})))
    assert not seen
    train(TrainOptions(shards, tmp_path / "apart", **(SMALL | {"steps": 1}), doc_mask=True))
    assert set(seen) == {Tokenizer.load(shards).eot}


def test_a_reference_is_compared_with(shards, tmp_path, capsys):
    options = SMALL | {"steps": 10, "reference": ((128, 1.0), (1280, 1.0))}
    train(TrainOptions(shards, tmp_path / "run", **options))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["above_reference"] == pytest.approx(line["loss"] - 1) for line in lines if "loss" in line)
    assert "bits per byte on held-out text, above the reference by" in capsys.readouterr().err
    with pytest.raises(UsageError, match="rising tokens"):
        TrainOptions(shards, tmp_path / "run", reference=((5, 1.0), (5, 0.9)))


def test_what_does_not_fit_says_what_to_change(shards, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Stepper, "_gradients", fail)
    with pytest.raises(WholeGPTError, match="--micro-batch-size 1 or --activation-checkpointing: it goes on"):
        train(TrainOptions(shards, tmp_path / "run", **SMALL))
