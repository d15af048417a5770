"""The tasks that generate, by the verb and a model: a window that is too small, equal texts whatever the batch."""

import json

import pytest

from wholegpt.errors import UsageError
from wholegpt.zeroshot.evaluate import EvaluateOptions, evaluate
from wholegpt.zeroshot.tasks import chosen

NAMES = [task.name for task in chosen("generation")]


def rows_of(folder, name):
    text = (folder / f"samples_{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def results(run, data_dir, output, **options):
    evaluate(EvaluateOptions(run, output, "generation", data_dir, **options))
    return {name: json.loads((output / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES}


def test_files_that_can_be_checked(run, data_dir, tmp_path):
    """A window of 32 tokens of bytes: half of it is for the text, and many questions have no room."""
    made = results(run, data_dir, tmp_path / "results")
    for name, content in made.items():
        rows = rows_of(tmp_path / "results", name)
        assert len(rows) == {"coqa": 4, "cnn-dailymail": 3, "natural-questions": 3}.get(name, 2)
        assert content["fit"]["impossible"] == sum(bool(row["impossible"]) for row in rows)
        assert all((row["prompt"] == "") == bool(row["impossible"]) for row in rows)
        assert content["table"][0]["notes"][0].startswith("not the paper's data (n = ")
        assert all(note in content["table"][0]["notes"] for note in content["notes"])
    assert made["wmt14-en-fr"]["n-shot"] == {"wmt14-en-fr": 5}
    assert set(made["coqa"]["domains"]) == {"mctest"}
    assert made["cnn-dailymail"]["results"]["cnn-dailymail"]["rouge,lead-3"] > 0
    assert made["natural-questions"]["table5"]
    assert sum(content["fit"]["impossible"] for content in made.values()) < 14


def test_equal_texts_whatever_the_batch(run, data_dir, tmp_path):
    one, other = (results(run, data_dir, tmp_path / str(size), batch_tokens=size) for size in (32, 512))
    for name in NAMES:
        assert one[name]["results"] == other[name]["results"]
        texts = [[row["generated"] for row in rows_of(tmp_path / size, name)] for size in ("32", "512")]
        assert texts[0] == texts[1]


def test_fewer_pairs(run, data_dir, tmp_path):
    made = results(run, data_dir, tmp_path / "results", num_fewshot=0)
    assert made["natural-questions"]["n-shot"] == {"natural-questions": 0}
    with pytest.raises(UsageError, match="9 example pairs are asked for, and there are 5 own pairs"):
        results(run, data_dir, tmp_path / "more", num_fewshot=9)
