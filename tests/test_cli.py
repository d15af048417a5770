"""The command line as a user meets it: help, exit codes, one sentence for what goes wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wholegpt import __version__, cli
from wholegpt.errors import UsageError
from wholegpt.training.loop import TrainOptions


def fails(capsys, code: int, *arguments: object) -> str:
    """Run a command line that must fail with this exit code and one sentence; returns the sentence."""
    assert cli.run([str(argument) for argument in arguments]) == code
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence.startswith("wholegpt: ")
    assert "Traceback" not in sentence
    return sentence


def test_version_and_help(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"wholegpt {__version__}\n"
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in cli.VERBS)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_of_every_verb(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.run([*verb.split(), "--help"])
    assert stopped.value.code == 0
    assert "usage: wholegpt " + verb in capsys.readouterr().out


def test_unknown_verb(capsys):
    assert "did you mean train?" in fails(capsys, 2, "trian")
    assert "tokenizer encode" in fails(capsys, 2, "tokenizer")


def test_unknown_flag(capsys, tmp_path):
    sentence = fails(capsys, 2, "corpus", "build", "builtin:kjv", "-o", tmp_path / "c", "--held-uot", "0.1")
    assert "no option --held-uot; did you mean --held-out?" in sentence
    assert not (tmp_path / "c").exists()


def test_unknown_recipe_key(capsys, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("n_layers = 3\n")
    sentence = fails(capsys, 2, "train", tmp_path, "-o", tmp_path / "run", "--recipe", recipe)
    assert "unknown key n_layers; did you mean n_layer?" in sentence
    recipe.write_text("n_layer = 'three'\n")
    assert "expected int" in fails(capsys, 2, "train", tmp_path, "-o", tmp_path / "run", "--recipe", recipe)
    assert "neither a file nor one that comes" in fails(capsys, 2, "train", tmp_path, "-o", "x", "--recipe", "nothing")


def test_flags_over_recipe_over_defaults(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("n_layer = 3\nlearning_rate = 1\n")
    options = cli.parse(TrainOptions, "train", ["shards", "-o", "run", "--recipe", str(recipe), "--n-layer", "5"])
    assert (options.n_layer, options.learning_rate, options.n_embd) == (5, 1, TrainOptions.n_embd)
    assert options.shards == Path("shards")


def test_a_reference_curve_in_a_recipe(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("reference = [[1000, 7], [2000, 6.5]]\n")
    options = cli.parse(TrainOptions, "train", ["shards", "-o", "run", "--recipe", str(recipe)])
    assert options.reference == ((1000, 7), (2000, 6.5))


def test_values_of_a_recipe_are_checked(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("steps = 0\n")
    with pytest.raises(UsageError, match="--steps is 0"):
        cli.parse(TrainOptions, "train", ["shards", "-o", "run", "--recipe", str(recipe)])


def test_empty_file(capsys, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    sentence = fails(capsys, 1, "corpus", "build", tmp_path / "empty.txt", "-o", tmp_path / "c")
    assert "empty.txt holds no text: it is empty" in sentence
    assert not (tmp_path / "c").exists()


def test_not_utf8(capsys, tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    sentence = fails(capsys, 1, "corpus", "build", tmp_path / "latin.txt", "-o", tmp_path / "c")
    assert "latin.txt is not UTF-8 text (byte 3 is 0xe9)" in sentence
    assert not (tmp_path / "c").exists()


def test_text_too_short(capsys, tmp_path):
    (tmp_path / "short.txt").write_text("word " * 20)
    sentence = fails(capsys, 1, "demo", "--text", tmp_path / "short.txt", "-o", tmp_path / "demo")
    assert "too short to hold a part of it out" in sentence
    (tmp_path / "short.jsonl").write_text("".join(f'{{"text": "document {number}"}}\n' for number in range(9)))
    sentence = fails(capsys, 1, "demo", "--text", tmp_path / "short.jsonl", "-o", tmp_path / "demo")
    assert "one window takes 257" in sentence
    assert not list((tmp_path / "demo").glob("run*"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(capsys, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert "ermission denied" in fails(capsys, 1, "corpus", "build", "builtin:python", "-o", folder / "c")


def test_output_below_a_file(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in fails(capsys, 1, "corpus", "build", "builtin:python", "-o", tmp_path / "file" / "c")


def test_full_disk(capsys, tmp_path, monkeypatch):
    def no_space(_folder, _rows):
        raise OSError(28, "No space left on device", str(tmp_path / "c.partial"))

    monkeypatch.setattr("wholegpt.corpus.funnel.write", no_space)
    sentence = fails(capsys, 1, "corpus", "build", "builtin:python", "-o", tmp_path / "c")
    assert "no space is left on the disk; free some" in sentence
    assert not (tmp_path / "c").exists()


def test_a_missing_extra_is_named(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("wholegpt.corpus", "wholegpt.runner"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    sentence = fails(capsys, 1, "corpus", "build", "builtin:python", "-o", "c")
    assert "pip install 'wholegpt[corpus]'" in sentence


def test_module_is_the_command():
    result = subprocess.run([sys.executable, "-m", "wholegpt", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"wholegpt {__version__}\n"
