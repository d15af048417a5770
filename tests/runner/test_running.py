"""`run` on this machine: what is missing is done, faults cost what they touch, and the driver may be killed."""

import json
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import stages
from stages import StageOptions

from wholegpt.errors import UsageError
from wholegpt.runner import Backend, Shard, local, run

TWO = Backend(workers=2)


@pytest.fixture(scope="module", autouse=True)
def _no_worker_stays():
    yield
    local.close(kill=True)


@pytest.fixture
def shards(tmp_path) -> list[Shard]:
    found = []
    for number in range(6):
        path = tmp_path / f"in{number}.txt"
        path.write_text(" ".join(map(str, range(number + 1))))
        found.append(Shard(f"{number:03d}", (path,)))
    return found


def test_results_come_in_order_with_their_sums(tmp_path, shards, capsys):
    report = run(stages.square, shards, tmp_path / "out", StageOptions(), TWO)
    assert [folder.name for folder in report.folders] == [shard.name for shard in shards]
    assert (report.folders[2] / "numbers.txt").read_text().split() == ["0", "2", "4"]
    assert report.counts == {"numbers/in": 21, "numbers/out": 21}
    assert not report.failed
    assert "square: 6/6 shards" in capsys.readouterr().err


def test_what_is_done_is_not_done_again(tmp_path, shards):
    log = tmp_path / "log"
    options = StageOptions(log=log)
    first = run(stages.square, shards[:4], tmp_path / "out", options, TWO)
    run(stages.square, shards, tmp_path / "out", options, TWO)
    assert sorted(line.split()[0] for line in log.read_text().splitlines()) == [shard.name for shard in shards]
    assert first.counts["numbers/in"] == 10


@pytest.mark.parametrize("change", ["options", "input", "missing", "truncated"])
def test_what_changed_is_done_again(tmp_path, shards, change):
    run(stages.square, shards, tmp_path / "out", StageOptions(), TWO)
    options = StageOptions()
    result = tmp_path / "out" / "001" / "numbers.txt"
    if change == "options":
        options = StageOptions(factor=3)
    elif change == "input":
        shards[1].inputs[0].write_text("5 6 7")
    elif change == "missing":
        result.unlink()
    else:
        result.write_text("0")
    run(stages.square, shards, tmp_path / "out", options, TWO)
    expected = {"options": ["0", "3"], "input": ["10", "12", "14"]}.get(change, ["0", "2"])
    assert result.read_text().split() == expected


def test_a_fault_costs_its_shard_only(tmp_path, capsys):
    kinds = ["fine", "raise", "refuse", "kill", "kill-once", "hang-once", "hang", "fine"]
    shards = [Shard(f"{number}-{kind}", (), (kind,)) for number, kind in enumerate(kinds)]
    (tmp_path / "seen").mkdir()
    options = StageOptions(log=tmp_path / "seen")
    report = run(stages.misbehave, shards, tmp_path / "out", options, TWO, timeout_seconds=0.5)
    assert report.failed == ["1-raise", "2-refuse", "3-kill", "6-hang"]
    assert report.counts["kinds/in"] == 4
    notes = {path.name: path.read_text() for path in (tmp_path / "out" / "failed").iterdir()}
    assert sorted(notes) == ["1-raise.txt", "2-refuse.txt", "3-kill.txt", "6-hang.txt"]
    assert "RuntimeError: poison" in notes["1-raise.txt"]
    assert "0.5 s" in notes["6-hang.txt"]
    said = capsys.readouterr().err
    assert said.count("1-raise failed (") == 2  # tried again twice
    assert "2-refuse failed (" not in said  # our own errors would end the same
    assert not list((tmp_path / "out").glob(".*"))


def test_relative_paths_are_those_of_the_driver(tmp_path, monkeypatch):
    run(stages.modules, [Shard("a", ())], tmp_path / "before", StageOptions(), TWO)  # workers that stand elsewhere
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("4")
    run(stages.square, [Shard("a", (Path("in.txt"),))], Path("out"), StageOptions(), TWO)
    assert (tmp_path / "out" / "a" / "numbers.txt").read_text() == "8"


def test_progress_for_machines(tmp_path, shards, capsys):
    run(stages.square, shards, tmp_path / "out", StageOptions(), Backend(workers=1, json=True))
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["stage"], last["done"], last["total"], last["failed"]) == ("square", 6, 6, 0)
    assert last["counts"] == {"numbers/in": 21, "numbers/out": 21}


def test_no_heavy_import_in_driver_or_worker(tmp_path):
    code = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(stages.__file__).parent)!r})
        import stages
        from wholegpt.runner import Backend, Shard, run
        if __name__ == "__main__":
            run(stages.modules, [Shard("a", ())], Path({str(tmp_path)!r}), stages.StageOptions(), Backend(workers=1))
            print(*sys.modules)
    """
    driver = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    for loaded in (driver.stdout.split(), (tmp_path / "a" / "modules.txt").read_text().split()):
        assert "wholegpt.runner.work" in loaded
        assert not {"ray", "pandas", "scipy", "torch"} & set(loaded)


DRIVER = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import stages
    from wholegpt.runner import Backend, Shard, run
    if __name__ == "__main__":
        folder = Path(sys.argv[2])
        shards = [Shard(path.stem, (path,)) for path in sorted(folder.glob("*.txt"))]
        options = stages.StageOptions(seconds=0.1, log=folder / "log")
        run(stages.square, shards, folder / "out", options, Backend(workers=2))
"""


def driver(folder: Path) -> "subprocess.Popen[bytes]":
    script = folder / "driver.py"
    script.write_text(textwrap.dedent(DRIVER))
    arguments = [sys.executable, str(script), str(Path(stages.__file__).parent), str(folder)]
    return subprocess.Popen(arguments, stderr=subprocess.DEVNULL)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_killed_at_random_moments(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(str(number))
    moments = random.Random(4)
    workers: set[int] = set()
    for _ in range(3):
        process = driver(tmp_path)
        deadline, before = time.monotonic() + 20, len(list((tmp_path / "out").glob("[0-9]")))
        while len(list((tmp_path / "out").glob("[0-9]"))) == before and time.monotonic() < deadline:
            time.sleep(0.02)  # until there was some progress
        time.sleep(moments.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        workers |= {int(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines()}
        time.sleep(3)
        assert not [pid for pid in workers if alive(pid)]
    assert driver(tmp_path).wait() == 0
    assert {name for name in stages.contents(tmp_path / "out") if name.endswith("numbers.txt")} == {
        f"{number}/numbers.txt" for number in range(8)
    }
    assert not list((tmp_path / "out").glob(".*"))
    assert len((tmp_path / "log").read_text().splitlines()) <= 8 + 3 * 4  # two in work and two begun, each time


def test_a_stage_must_be_importable(tmp_path):
    with pytest.raises(ValueError, match="no function of a module"):
        run(lambda *_: {}, [], tmp_path, StageOptions(), TWO)


@pytest.mark.parametrize(
    "fields", [{"workers": -1}, {"rank": 1}, {"world_size": 2}, {"address": "auto"}, {"shard_timeout": -1.0}]
)
def test_wrong_backends(fields):
    with pytest.raises(UsageError, match="--"):
        Backend(**fields)
