"""A sweep trains once for each value, goes on where it stopped, and says which is best."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from wholegpt.errors import Interrupted, UsageError, WholeGPTError
from wholegpt.training import sweep
from wholegpt.training.loop import TrainOptions, begin, train

TINY = {
    "n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 32, "batch_size": 2, "steps": 6, "warmup_steps": 1,
    "evaluate_every": 6, "sample_every": 6, "save_every": 6, "threads": 1, "precision": "float32",
}  # fmt: skip


@pytest.fixture
def options(run, tmp_path) -> TrainOptions:
    return TrainOptions(run.parent / "shards", tmp_path / "sweep", **TINY, sweep="lr=1e-5,0.01")


def test_trains_for_each_value(options, capsys):
    begin(options)
    written = json.loads((options.output / "sweep.json").read_text())
    assert written["option"] == "learning_rate"
    best, worst = written["runs"]
    assert (best["learning_rate"], best["folder"]) == (0.01, "lr-0.01")
    assert (worst["learning_rate"], worst["folder"]) == (1e-5, "lr-1e-5")
    assert best["held_out_bits_per_byte"] < worst["held_out_bits_per_byte"]
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split()[0] == "learning_rate"
    assert [line.split()[0] for line in shown[1:]] == ["0.01", "1e-05"]
    manifest = json.loads((options.output / "lr-0.01" / "manifest.json").read_text())
    assert (manifest["options"]["learning_rate"], manifest["options"]["sweep"]) == (0.01, "")


def test_goes_on_where_it_stopped(options):
    asked = []

    def stopped_in_the_second(alone):
        asked.append(alone.learning_rate)
        if len(asked) == 2:
            raise Interrupted("stopped")
        return train(alone)

    with pytest.raises(Interrupted):
        sweep.run(options, stopped_in_the_second)
    assert [row["learning_rate"] for row in json.loads((options.output / "sweep.json").read_text())["runs"]] == [1e-5]
    first = (options.output / "lr-1e-5" / "manifest.json").read_bytes()
    assert len(sweep.run(options, train)) == 2
    assert (options.output / "lr-1e-5" / "manifest.json").read_bytes() == first


def test_a_failed_training_stands_last(options, capsys):
    def fails_when_high(alone):
        if alone.learning_rate > 1e-3:
            raise WholeGPTError("the loss is nan")
        return SimpleNamespace(counts={"held_out_bits_per_byte": 2.0, "tokens": 1, "seconds": 1.0})

    rows = sweep.run(options, fails_when_high)
    assert rows[-1] == {"learning_rate": 0.01, "folder": "lr-0.01", "failed": "the loss is nan"}
    assert "the loss is nan" in capsys.readouterr().out
    with pytest.raises(WholeGPTError, match="every training of the sweep failed"):
        sweep.run(replace(options, sweep="lr=0.01,0.02"), fails_when_high)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("lr=0.001,0.003", ("lr", "learning_rate", {"0.001": 0.001, "0.003": 0.003})),
        ("learning-rate=1", ("learning_rate", "learning_rate", {"1": 1.0})),
        ("n_layer=2, 4", ("n_layer", "n_layer", {"2": 2, "4": 4})),
        ("muon-lr=0.02", ("muon_lr", "muon_learning_rate", {"0.02": 0.02})),
    ],
)
def test_parse(options, written, expected):
    assert sweep.parse(replace(options, sweep=written)) == expected


@pytest.mark.parametrize(
    "written", ["lr", "lr=", "lr=a", "lr=0.1,,", "n_layer=1.5", "dropuot=0.1", "precision=float32", "overwrite=1", "=1"]
)
def test_refuses(options, written):
    with pytest.raises(UsageError, match="--sweep is"):
        sweep.parse(replace(options, sweep=written))


def test_names_the_nearest(options):
    with pytest.raises(UsageError, match="did you mean dropout"):
        sweep.parse(replace(options, sweep="dropuot=0.1"))
