"""Ranks: commands that share a folder give the bytes that one gives, in whatever order they start and end."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import stages

from wholegpt.errors import Interrupted
from wholegpt.runner import Backend, local

CODE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import stages
from wholegpt.errors import Interrupted, WholeGPTError
from wholegpt.runner import Backend
if __name__ == "__main__":
    try:
        stages.verb(Path({folder!r}), Backend({backend}), {slow})
    except Interrupted as error:
        sys.exit(130)
    except WholeGPTError as error:
        sys.exit(str(error))
"""


def start(folder: Path, backend: str, slow: float = 0.0) -> "subprocess.Popen[str]":
    tests = str(Path(stages.__file__).parent)
    code = CODE.format(tests=tests, folder=str(folder), backend=backend, slow=slow)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def rank(number: int, world: int, timeout: float = 60.0) -> str:
    return f"'rank', workers=1, rank={number}, world_size={world}, rank_timeout={timeout}"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder with the words; links to them have the same dates, which are in the keys."""
    folder: Path = tmp_path_factory.mktemp("words")
    stages.words_of(folder)
    return folder


@pytest.fixture(scope="module")
def expected(inputs) -> dict[str, bytes]:
    stages.verb(inputs, Backend(workers=1))
    local.close(kill=True)
    return without_manifest(inputs)


def without_manifest(folder: Path) -> dict[str, bytes]:
    found = stages.contents(folder / "artifact" / "job")
    assert sum(name.endswith("counts.txt") for name in found) == stages.PARTITIONS
    return found


def share(first: Path, folder: Path) -> Path:
    for path in first.glob("words*.txt"):
        (folder / path.name).hardlink_to(path)
    return folder


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_give_what_one_command_gives(tmp_path, inputs, expected, world):
    share(inputs, tmp_path)
    running = [start(tmp_path, rank(number, world)) for number in reversed(range(world))]
    errors = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0] * world, errors
    assert without_manifest(tmp_path) == expected
    assert json.loads((tmp_path / "artifact" / "manifest.json").read_text())["counts"] == {"partitions": 3}
    assert not (tmp_path / "artifact.partial").exists()


def test_a_rank_alone_says_what_it_waited_for(tmp_path, inputs):
    share(inputs, tmp_path)
    waiting = start(tmp_path, rank(1, 2, timeout=1))
    assert "rank 1 waited 1 s for rank 0 to begin" in waiting.communicate(timeout=30)[1]
    leader = start(tmp_path, rank(0, 2, timeout=2))
    assert "rank 0 waited 2 s for 2 shards of rank 1" in leader.communicate(timeout=30)[1]
    assert leader.returncode == waiting.returncode == 1


def test_a_killed_rank_is_started_again(tmp_path, inputs, expected):
    share(inputs, tmp_path)
    leader, other = start(tmp_path, rank(0, 2)), start(tmp_path, rank(1, 2))
    time.sleep(1.5)
    for process in (other, leader):
        process.kill()
        process.communicate()
    again = [start(tmp_path, rank(number, 2)) for number in (0, 1)]
    assert [process.communicate(timeout=60) and process.returncode for process in again] == [0, 0]
    assert without_manifest(tmp_path) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_goes_on(tmp_path, inputs, expected, number):
    share(inputs, tmp_path)
    process = start(tmp_path, "workers=1", slow=20)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("artifact.partial/job/count/000[0-9]")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert list(tmp_path.glob("artifact.partial/job/scatter/000"))
    stages.verb(tmp_path, Backend(workers=1))
    local.close(kill=True)
    assert without_manifest(tmp_path) == expected


def test_interrupted_is_what_a_verb_raises(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "job", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(Interrupted, match="the same command goes on"):
        stages.verb(tmp_path, Backend(workers=1))
