"""Ranks: two train as one does, in both kinds; killed, stopped and late ones; the same from n to m."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from wholegpt import load
from wholegpt.artifact import read_manifest
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.ranks import LaunchedTeam, Team, join
from wholegpt.training import start
from wholegpt.training.loop import TrainOptions, train

SMALL = {
    "n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 32, "batch_size": 4, "micro_batch_size": 1, "steps": 20,
    "warmup_steps": 4, "learning_rate": 0.01, "evaluate_every": 10, "sample_every": 20, "save_every": 4,
    "threads": 1, "precision": "float32",
}  # fmt: skip


# A sample after every step leaves the time to interrupt a run, and changes nothing in it.
SLOWLY = {"sample_every": 1}


def arguments(shards: Path, output: Path, **options: object) -> list[str]:
    flags = [word for name, value in (SMALL | options).items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["train", str(shards), "-o", str(output), *flags]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def one(shards, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("one") / "run"
    train(TrainOptions(shards, output, **SMALL))
    return output


@pytest.fixture(scope="module")
def two(shards, launcher, tmp_path_factory) -> Path:
    """Two ranks, DDP."""
    output = tmp_path_factory.mktemp("two") / "run"
    launcher.start(arguments(shards, output), 2)
    assert launcher.wait() == [0, 0], launcher.log(0)
    return output


def check_equal(found: Path, expected: Path) -> None:
    """Losses of 20 steps within 1e-6, and weights as near as Adam leaves rounding errors."""
    assert len(losses(found)) == 20
    assert losses(found) == pytest.approx(losses(expected), abs=1e-6)
    for mine, theirs in zip(load(found)[0].parameters(), load(expected)[0].parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=0)


def test_two_ranks_train_as_one(one, two):
    check_equal(two, one)
    assert read_manifest(two)["counts"]["ranks"] == 2
    looks = [read_manifest(run)["counts"]["held_out_bits_per_byte"] for run in (one, two)]
    assert looks[0] == pytest.approx(looks[1], abs=1e-4)


def test_shards_saved_on_two_ranks_go_on_on_two_and_on_one(shards, launcher, one, tmp_path, wait_for_steps):
    """FSDP2, killed, stopped, resumed on two ranks and on one: as one rank that was never interrupted."""
    output = tmp_path / "run"
    sharded = arguments(shards, output, parallel="fsdp", pad_vocabulary=128, **SLOWLY)
    children = launcher.start(sharded, 2)
    wait_for_steps(output, 5)
    for child in children:
        os.kill(child, signal.SIGKILL)
    assert launcher.wait() == [-signal.SIGKILL] * 2
    assert list((tmp_path / "run.partial" / "state").glob("step-*/shards/__1_*.distcp"))
    children = launcher.start(sharded, 2)
    wait_for_steps(output, 9)
    os.kill(children[1], signal.SIGTERM)  # one is told, both stop
    assert launcher.wait() == [130, 130], launcher.log(0)
    assert "resuming after step" in launcher.log(0)
    assert "state saved; the same command goes on" in launcher.log(0)
    shutil.copytree(tmp_path / "run.partial", tmp_path / "alone.partial")
    launcher.start(sharded, 2)
    assert launcher.wait() == [0, 0], launcher.log(0)
    check_equal(output, one)
    train(TrainOptions(shards, tmp_path / "alone", **(SMALL | SLOWLY), pad_vocabulary=128))
    check_equal(tmp_path / "alone", one)


def test_one_of_two_is_killed_and_torchrun_goes_on(shards, two, tmp_path, wait_for_steps):
    """From the last state, bit for bit as if nothing had happened."""
    if not Path("/proc/self/environ").is_file():
        pytest.skip("ranks are found in /proc, which this system has not")
    output = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "-m", "wholegpt", *arguments(shards, output, **SLOWLY)], stdout=log, stderr=log
        )
        try:
            wait_for_steps(output, 6, process.poll)
            os.kill(rank_of(process.pid, 1), signal.SIGKILL)
            assert process.wait(120) == 0, (tmp_path / "log").read_text()
        finally:
            process.terminate()
            process.wait(60)
    assert "resuming after step" in (tmp_path / "log").read_text()
    assert losses(output) == losses(two)
    assert (output / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()


def rank_of(torchrun: int, rank: int) -> int:
    """The process that is a rank."""
    for child in Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split():
        if f"\0RANK={rank}\0".encode() in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError(f"no rank {rank}")


def test_a_rank_that_gives_no_sign_is_named(shards, launcher, tmp_path, wait_for_steps):
    output = tmp_path / "run"
    children = launcher.start(arguments(shards, output, steps=100_000, rank_timeout=2), 2)
    wait_for_steps(output, 3)
    os.kill(children[1], signal.SIGSTOP)
    ended(children[0])
    os.kill(children[1], signal.SIGKILL)
    assert launcher.wait() == [1, -signal.SIGKILL]
    assert re.search(r"rank 0 waited 2 s in step \d+: rank 1 is (dead|late)", launcher.log(0))


def ended(process: int) -> None:
    """Wait until a process is gone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("it did not end")


def test_a_late_rank_and_a_dead_one_are_named(monkeypatch):
    """From the signs of life (beats, step) of four ranks, read twice."""
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    team = object.__new__(LaunchedTeam)
    team.rank, team.count, team._step = 0, 4, 7
    signs = iter([[(5, 7), (5, 7), (5, 6), (5, 3)], [(9, 7), (9, 7), (9, 6), (5, 3)]])
    monkeypatch.setattr(team, "_signs", lambda: next(signs))
    assert team.missing() == "rank 3 is dead: no sign of life since step 4, rank 2 is late: still in step 7"
    signs = iter([[(5, 7)] * 4, [(8, 7)] * 4])
    assert team.missing() == ""


def test_what_fails_for_want_of_a_rank_names_it(monkeypatch):
    team = object.__new__(LaunchedTeam)
    monkeypatch.setattr(team, "missing", lambda: "rank 1 is dead")
    with pytest.raises(WholeGPTError, match="rank 1 is dead; torchrun --max-restarts goes on"), team.together():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
    with pytest.raises(RuntimeError, match="something else"), team.together():
        raise RuntimeError("something else")


@pytest.mark.parametrize(("batch", "ranks", "nearest"), [(4, 3, 3), (5, 3, 6), (512, 6, 510), (1, 4, 4), (7, 2, 6)])
def test_a_batch_that_does_not_divide_names_the_nearest(batch, ranks, nearest):
    team = Team(torch.device("cpu"))
    team.count = ranks
    with pytest.raises(UsageError, match=f"does not divide among {ranks} ranks; the nearest that does is {nearest}$"):
        start.check_batch(batch, team)
    start.check_batch(nearest, team)


def test_alone_nothing_is_sent():
    with join("cpu", 1.0) as team:
        assert (team.main, team.count, team.launched, team.device) == (True, 1, False, torch.device("cpu"))
        assert team.share([1]) == [1]
        assert team.sum([1.5, True]) == [1.5, 1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(UsageError, match="sees no GPU"), join("cuda", 1.0):
        raise AssertionError("entered")
