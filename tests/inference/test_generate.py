"""The verb `generate`: samples on standard output or as an artifact."""

import json

import pytest

from wholegpt import load
from wholegpt.artifact import read_manifest
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.inference.engine import generate as continuations
from wholegpt.inference.generate import GenerateOptions, generate


def test_prints_prompts_with_their_continuations(run, capsys):
    generate(GenerateOptions(run, ("The river", "A sack"), max_new_tokens=5, seed=3))
    expected = continuations(*load(run), ["The river", "A sack"], 5, seed=3)
    assert capsys.readouterr().out == f"The river{expected[0]}\n---\nA sack{expected[1]}\n"


def test_prints_json(run, capsys):
    generate(GenerateOptions(run, ("Où",), max_new_tokens=5, num_return_sequences=3, json=True))
    samples = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [sample["prompt"] for sample in samples] == ["Où"] * 3
    assert len({sample["text"] for sample in samples}) > 1


def test_writes_an_artifact_once(run, tmp_path, capsys):
    options = GenerateOptions(run, ("The river", ""), tmp_path / "samples", max_new_tokens=5, seed=3)
    generate(options)
    samples = json.loads((tmp_path / "samples" / "samples.json").read_text(encoding="utf-8"))
    assert [sample["prompt"] for sample in samples] == ["The river", ""]
    assert [sample["text"] for sample in samples] == continuations(*load(run), ["The river", ""], 5, seed=3)
    assert read_manifest(tmp_path / "samples")["counts"] == {"samples": 2}
    generate(options)
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("fields", [{"temperature": -1.0}, {"top_k": -1}, {"max_new_tokens": -1}])
def test_wrong_options(run, fields):
    with pytest.raises(UsageError, match="must not be negative"):
        GenerateOptions(run, **fields)
    with pytest.raises(UsageError, match="at least 1"):
        GenerateOptions(run, num_return_sequences=0)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(WholeGPTError, match="gone"):
        generate(GenerateOptions(tmp_path / "gone", output=tmp_path / "samples"))
    assert not (tmp_path / "samples").exists()
