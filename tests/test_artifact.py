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


def test_a_manifest_of_another_program_is_left_alone(tmp_path):
    for content in ('{"name": "web app", "start_url": "/"}', "[1, 2]"):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(WholeGPTError, match=r"manifest\.json is not the manifest of something that wholegpt wrote"):
            make(tmp_path, overwrite=True)


def test_a_users_file_is_left_alone(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(WholeGPTError, match="was not written by wholegpt"):
        make(tmp_path / "a", overwrite=True)


def test_an_empty_directory_is_written_into(tmp_path):
    (tmp_path / "a").mkdir()
    make(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_another_verb_is_refused(tmp_path):
    make(tmp_path / "a")
    with pytest.raises(WholeGPTError, match="by `test`, not `bake`"):
        Artifact(tmp_path / "a", "bake", Options()).exists()


def test_a_failed_replacement_keeps_what_was_there(tmp_path):
    make(tmp_path / "a")
    with pytest.raises(OSError, match="full"), Artifact(tmp_path / "a", "test", Options(2), overwrite=True).write():
        raise OSError("the disk is full")
    assert (tmp_path / "a" / "file").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_kill_between_two_renames_left_is_no_hindrance(tmp_path):
    make(tmp_path / "a")
    (tmp_path / "a.old").mkdir()
    (tmp_path / "a.old" / "file").write_text("0")
    make(tmp_path / "a", number=2, overwrite=True)
    assert (tmp_path / "a" / "file").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_overwrite_begins_an_unfinished_run_anew(tmp_path):
    with pytest.raises(KeyError), Artifact(tmp_path / "a", "test", Options()).write(resume=True) as folder:
        (folder / "file").write_text("half")
        raise KeyError
    with Artifact(tmp_path / "a", "test", Options(2), overwrite=True).write(resume=True) as folder:
        assert not (folder / "file").exists()


@dataclass(frozen=True)
class Reading:
    sources: tuple[str, ...]
    output: Path


def reading(source: str, output: Path) -> Artifact:
    return Artifact(output, "read", Reading((source,), output), [Path(source)])


def test_a_plan_holds_no_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("input").write_text("abc")
    with reading("input", Path("a")).write():
        pass
    for source in ("input", "./input", str(tmp_path / "input")):
        assert reading(source, Path("a")).exists()
    Path("moved").mkdir()
    Path("a").rename("moved/a")
    Path("input").rename("moved/other")
    assert reading("moved/other", tmp_path / "moved" / "a").exists()


def test_fingerprints_change_with_the_content(tmp_path):
    (tmp_path / "folder").mkdir()
    found = []
    for name, content in (("x", "1"), ("x", "2"), ("y", "2")):
        for old in (tmp_path / "folder").iterdir():
            old.unlink()
        (tmp_path / "folder" / name).write_text(content)
        found += [artifact.fingerprint(tmp_path / "folder"), artifact.fingerprint(tmp_path / "folder" / name)]
    # Six prints, of which only the file's bytes are twice the same: "2" under two names.
    assert len(set(found)) == 5
    assert found[3] == found[5]


def test_the_fingerprint_of_an_artifact_says_what_not_where_and_when(tmp_path):
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        make(tmp_path / name, number)
    a, b, c = (artifact.fingerprint(tmp_path / name) for name in "abc")
    assert a == b != c


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(WholeGPTError, match="gone does not exist"):
        artifact.fingerprint(tmp_path / "gone")
    with pytest.raises(WholeGPTError, match="gone does not exist"):
        artifact.read_manifest(tmp_path / "gone")
    with pytest.raises(WholeGPTError, match="is no directory that wholegpt wrote"):
        artifact.read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000], ids=["cut", "not UTF-8", "deep"])
def test_broken_json_is_named(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(WholeGPTError, match=r"x\.json is not JSON"):
        artifact.read_json(tmp_path / "x.json")


def test_killed_before_the_rename(tmp_path, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(Artifact, "_finish", lambda _self: None)
        make(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.partial"]
    with pytest.raises(WholeGPTError, match="does not exist"):
        artifact.read_manifest(tmp_path / "a")
    assert Artifact(tmp_path / "a", "test", Options()).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["file", "manifest.json"]


def test_state_is_no_part_and_names_below_are_not_special(tmp_path):
    with Artifact(tmp_path / "a", "test", Options()).write() as folder:
        for name in ("state/file", "sub/lock", "sub/plan.json"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("")
    assert artifact.read_manifest(tmp_path / "a")["outputs"].keys() == {"sub/lock", "sub/plan.json"}
    assert not (tmp_path / "a" / "state").exists()


def test_a_file_is_whole_under_its_name_or_as_before(tmp_path):
    path = tmp_path / "file"
    with artifact.whole_file(path) as temporary:
        temporary.write_bytes(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    with pytest.raises(RuntimeError, match="stop"), artifact.whole_file(path) as temporary:
        temporary.write_bytes(b"half of tw")
        raise RuntimeError("stop")
    assert path.read_bytes() == b"one"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
