"""Artifacts: whole under their name or not there."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from wholegpt import artifact
from wholegpt.artifact import Artifact
from wholegpt.errors import WholeGPTError


@dataclass(frozen=True)
class Options:
    number: int = 1


def make(path: Path, number: int = 1, inputs: tuple[Path, ...] = (), overwrite: bool = False) -> Artifact:
    made = Artifact(path, "test", Options(number), inputs, overwrite)
    if not made.exists():
        with made.write() as folder:
            (folder / "file").write_text(str(number))
            made.counts = {"files": 1}
    return made


def test_manifest_says_how_it_was_made(tmp_path):
    (tmp_path / "input").write_text("abc")
    make(tmp_path / "a", inputs=(tmp_path / "input",))
    manifest = artifact.read_manifest(tmp_path / "a")
    assert (manifest["verb"], manifest["options"], manifest["counts"]) == ("test", {"number": 1}, {"files": 1})
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert manifest["inputs"] == {str((tmp_path / "input").resolve()): abc}
    assert manifest["outputs"]["file"]["bytes"] == 1
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["file", "manifest.json"]


def test_made_once(tmp_path):
    make(tmp_path / "a")
    again = Artifact(tmp_path / "a", "test", Options())
    assert again.exists()
    assert again.counts == {"files": 1}


def test_another_option_or_input_is_refused_or_replaces(tmp_path):
    source = tmp_path / "input"
    source.write_text("abc")
    make(tmp_path / "a", inputs=(source,))
    with pytest.raises(WholeGPTError, match="number was 1, now 2"):
        make(tmp_path / "a", number=2, inputs=(source,))
    source.write_text("abd")
    with pytest.raises(WholeGPTError, match="from other input"):
        make(tmp_path / "a", inputs=(source,))
    make(tmp_path / "a", number=2, inputs=(source,), overwrite=True)
    assert (tmp_path / "a" / "file").read_text() == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "input"]


def test_a_users_directory_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("")
    with pytest.raises(WholeGPTError, match="was not written by wholegpt"):
        make(tmp_path, overwrite=True)


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), Artifact(tmp_path / "a", "test", Options()).write() as folder:
        (folder / "file").write_text("half")
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_resume_keeps_what_was_there_if_the_plan_is_the_same(tmp_path):
    with pytest.raises(KeyError), Artifact(tmp_path / "a", "test", Options()).write(resume=True) as folder:
        (folder / "file").write_text("half")
        raise KeyError
    with (
        pytest.raises(WholeGPTError, match="number was 1, now 2"),
        Artifact(tmp_path / "a", "test", Options(2)).write(resume=True),
    ):
        pass
    with Artifact(tmp_path / "a", "test", Options()).write(resume=True) as folder:
        assert (folder / "file").read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_two_writers(tmp_path):
    with (
        Artifact(tmp_path / "a", "test", Options()).write(),
        pytest.raises(WholeGPTError, match="another process is writing"),
        Artifact(tmp_path / "a", "test", Options()).write(),
    ):
        pass
    assert artifact.read_manifest(tmp_path / "a")["verb"] == "test"


def test_killed_in_the_middle(tmp_path):
    script = f"""
import os, signal
from dataclasses import dataclass
from pathlib import Path
from wholegpt.artifact import Artifact
@dataclass(frozen=True)
class Options:
    number: int = 1
with Artifact(Path({str(tmp_path / "a")!r}), "test", Options()).write() as folder:
    (folder / "other").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert [path.name for path in tmp_path.iterdir()] == ["a.partial"]
    make(tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["file", "manifest.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
