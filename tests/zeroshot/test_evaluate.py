"""The verb `evaluate`: files that can be checked, kills and ranks that change nothing, sets that are missing."""

import json
import math
import os
import signal
import time

import pytest

from wholegpt import cli
from wholegpt.artifact import read_manifest
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.zeroshot import evaluate as verb
from wholegpt.zeroshot import running
from wholegpt.zeroshot.evaluate import EvaluateOptions, evaluate

from .conftest import FILES

SETS = "cbt-cn,lambada,lm1b,ptb,text8,wikitext2,winograd"

# Continuations, windows and texts that are written.
EVERY_KIND = "lambada,wikitext2,winograd,wmt14-en-fr,heldout"


def files(folder):
    """What an evaluation leaves, but for the time that it took."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


@pytest.fixture(scope="module")
def whole(run, data_dir, home, tmp_path_factory):
    """Every task that has data here, uninterrupted."""
    output = tmp_path_factory.mktemp("whole") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "RUN_TOKENS", 100)
        patch.setenv("WHOLEGPT_HOME", str(home))
        evaluate(EvaluateOptions(run, output, "all", data_dir, batch_tokens=256))
    return output


def test_the_shape_of_the_harness(whole, data_dir):
    content = json.loads((whole / "wikitext2.json").read_text(encoding="utf-8"))
    assert content["versions"] == {"wikitext2": 1}
    assert content["n-shot"] == {"wikitext2": 0}
    assert content["n-samples"] == {"wikitext2": {"original": 2, "effective": 2}}
    assert content["higher_is_better"]["wikitext2"]["word_perplexity"] is False
    assert content["configs"]["wikitext2"]["options"]["texts"] == "detokenized,as-is"
    assert content["configs"]["wikitext2"]["data"] == [str(data_dir / "wikitext2" / "wiki.test.tokens")]
    results = content["results"]["wikitext2"]
    assert {"word_perplexity,detokenized", "word_perplexity_stderr,detokenized", "bits_per_byte,as-is"} <= set(results)
    assert all(isinstance(json.loads(path.read_text(encoding="utf-8")), dict) for path in whole.glob("*.json"))


def test_each_number_can_be_made_from_the_samples(whole):
    for path in whole.glob("samples_*.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        name = path.stem.removeprefix("samples_")
        results = json.loads((whole / f"{name}.json").read_text(encoding="utf-8"))["results"][name]
        assert [row["doc_id"] for row in rows] == list(range(len(rows)))
        for key, number in results.items():
            metric, _, variant = key.partition(",")
            mine = [row for row in rows if row.get("variant", "none") == variant]
            if metric == "word_perplexity":
                nats = -sum(sum(row["logprobs"]) for row in mine)
                assert number == pytest.approx(math.exp(nats / sum(row["words"] for row in mine)), rel=1e-4)
            if (name, key) == ("lambada", "perplexity,word"):
                assert number == pytest.approx(math.exp(-sum(sum(row["logprobs"]) for row in rows) / 6), rel=1e-4)
            if (name, key) == ("winograd", "acc,full"):
                assert number == sum(row["full"] for row in rows) / 2


def test_what_is_not_the_papers_fills_no_row(whole):
    for name in SETS.split(","):
        content = json.loads((whole / f"{name}.json").read_text(encoding="utf-8"))
        assert content["labels"][0].startswith("not the paper's data (n = ")
        assert all(line["paper"] is None and line["others"] is None for line in content["table"])


def test_a_missing_set_stops_no_other(whole, run, data_dir, capsys):
    counts = read_manifest(whole)["counts"]
    assert counts["missing"]["cbt-ne"] == "wholegpt data fetch cbt-ne, or --data-dir"
    assert set(counts) >= {*SETS.split(","), "heldout", "train-sample", "enwik8"}
    evaluate(EvaluateOptions(run, whole, "all", data_dir, batch_tokens=256))
    printed = capsys.readouterr().out
    assert "cbt-ne: no data here; wholegpt data fetch cbt-ne, or --data-dir" in printed
    assert "winograd: probability of what follows" in printed


def test_a_set_that_has_come_since_is_added_and_nothing_else_computed(run, data_dir, tmp_path, monkeypatch):
    options = EvaluateOptions(run, tmp_path / "results", "cbt-cn,cbt-ne,winograd", data_dir)
    evaluate(options)
    before = files(tmp_path / "results")
    new = data_dir / "cbt" / "cbtest_NE_valid_2000ex.txt"
    new.write_text(FILES["cbt/cbtest_CN_valid_2000ex.txt"], encoding="utf-8")
    computed = []
    monkeypatch.setattr(verb, "compute", lambda task, *rest: computed.append(task.name) or running.compute(task, *rest))
    try:
        evaluate(options)
        assert computed == ["cbt-ne"]
        assert files(tmp_path / "results").items() > before.items()
    finally:
        new.unlink()
    evaluate(options)  # what was evaluated stays when its data goes
    assert (tmp_path / "results" / "cbt-ne.json").is_file()


def test_no_set_at_all(run, tmp_path):
    with pytest.raises(WholeGPTError, match="none of the tasks has its data: wholegpt data fetch lambada"):
        evaluate(EvaluateOptions(run, tmp_path / "results", "lambada"))
    assert not (tmp_path / "results").exists()


def test_interrupted_it_goes_on_to_the_same_files(whole, run, data_dir, tmp_path, monkeypatch):
    """Stopped in the middle of a task: finished tasks and finished runs are kept."""
    monkeypatch.setattr(running, "RUN_TOKENS", 100)
    options = EvaluateOptions(run, tmp_path / "results", "all", data_dir, batch_tokens=256)
    asked = []

    def stops(*arguments):
        asked.append(arguments[0].name)
        if asked.count("wikitext2") == 2:
            raise KeyboardInterrupt
        return rows(*arguments)

    rows = running._rows
    monkeypatch.setattr(running, "_rows", stops)
    with pytest.raises(BaseException, match="the same command goes on where it was"):
        evaluate(options)
    monkeypatch.setattr(running, "_rows", lambda *arguments: asked.append(arguments[0].name) or rows(*arguments))
    first = list(asked)
    asked.clear()
    evaluate(options)
    assert "lambada" in first and "lambada" not in asked
    assert (first.count("wikitext2"), asked.count("wikitext2")) == (2, 2)  # of three runs, one was done
    assert files(tmp_path / "results") == files(whole)


def arguments(run, data_dir, output):
    return [
        "evaluate", str(run), "-o", str(output), "--tasks", EVERY_KIND, "--data-dir", str(data_dir), "--device", "cpu",
        "--batch-tokens", "256",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def one(run, data_dir, home, tmp_path_factory):
    """What one rank leaves."""
    output = tmp_path_factory.mktemp("one") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHOLEGPT_HOME", str(home))
        evaluate(EvaluateOptions(run, output, EVERY_KIND, data_dir, device="cpu", batch_tokens=256))
    return output


def test_two_ranks_find_what_one_does(run, data_dir, tmp_path, one, launcher):
    launcher.start(arguments(run, data_dir, tmp_path / "two"), 2)
    assert launcher.wait() == [0, 0], launcher.log(0) + launcher.log(1)
    assert files(tmp_path / "two") == files(one)
    assert "winograd: probability" in launcher.log(0)
    assert "winograd: probability" not in launcher.log(1)


@pytest.mark.parametrize("ranks", [0, 2])
def test_killed_it_goes_on_to_the_same_files(run, data_dir, tmp_path, one, launcher, ranks):
    """kill -9 as soon as something is finished; the second time on one rank."""
    children = launcher.start(arguments(run, data_dir, tmp_path / "killed"), ranks)
    state = tmp_path / "killed.partial" / "state"
    until = time.monotonic() + 60
    while not list(state.glob("*/*/*.jsonl")) and time.monotonic() < until:
        time.sleep(0.005)
    for child in children:
        os.kill(child, signal.SIGKILL)
    assert launcher.wait() == [-signal.SIGKILL] * len(children)
    assert not (tmp_path / "killed").exists()
    evaluate(EvaluateOptions(run, tmp_path / "killed", EVERY_KIND, data_dir, device="cpu", batch_tokens=256))
    assert files(tmp_path / "killed") == files(one)


def test_done_once(run, tmp_path, capsys):
    evaluate(EvaluateOptions(run, tmp_path / "results"))
    before = read_manifest(tmp_path / "results")
    first = capsys.readouterr().out
    evaluate(EvaluateOptions(run, tmp_path / "results"))
    assert capsys.readouterr().out == first
    assert read_manifest(tmp_path / "results") == before


def test_limit_and_json(run, data_dir, tmp_path, capsys):
    evaluate(EvaluateOptions(run, tmp_path / "results", "lambada", data_dir, limit=2, log_samples=False, json=True))
    (content,) = json.loads(capsys.readouterr().out)["results"]
    assert content["n-samples"]["lambada"] == {"original": 6, "effective": 2}
    assert content["labels"][1] == "the first 2 of 6 examples"
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["lambada.json", "manifest.json"]


def test_options_of_tasks(run, data_dir, tmp_path):
    evaluate(
        EvaluateOptions(
            run,
            tmp_path / "results",
            "lm1b,lambada",
            data_dir,
            stride=8,
            set=("lambada.prefix=newline", "lm1b.stride=4"),
        )
    )
    content = json.loads((tmp_path / "results" / "lm1b.json").read_text())
    assert content["configs"]["lm1b"]["options"]["stride"] == 4
    content = json.loads((tmp_path / "results" / "lambada.json").read_text())
    assert content["configs"]["lambada"]["options"]["prefix"] == "newline"
    with pytest.raises(WholeGPTError, match="was made otherwise"):
        evaluate(EvaluateOptions(run, tmp_path / "results", "lm1b,lambada", data_dir, stride=8))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"tasks": "heldout,lambda"}, "task lambda is unknown; did you mean lambada?"),
        ({"set": ("lambada.prefixes=none",)}, "there is no option lambada.prefixes; did you mean lambada.prefix?"),
        ({"set": ("lambada.prefix=one",)}, "expected none or newline or endoftext"),
        ({"set": ("ptb.stride=-1",)}, "--set ptb.stride=-1: expected a value like 0"),
        ({"set": ("ptb.stride=x",)}, "--set ptb.stride=x: expected a value like 0"),
        ({"limit": -1}, "must not be negative"),
        ({"model": ""}, "evaluate needs a model"),
        ({"output": None}, "evaluate needs --output"),
        ({"show_prompt": "lambda"}, "did you mean lambada?"),
    ],
)
def test_usage(run, tmp_path, change, fault):
    with pytest.raises(UsageError) as caught:
        EvaluateOptions(**{"model": str(run), "output": tmp_path, **change})
    assert fault in str(caught.value)


def test_list_and_prompts(run, data_dir, capsys):
    assert cli.run(["evaluate", "--list", "--data-dir", str(data_dir), "--json"]) == 0
    listed = {entry["task"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed["ptb"]["data"] == "not the paper's data (n = 2)"
    assert listed["cbt-ne"]["data"] == "wholegpt data fetch cbt-ne"
    assert listed["ptb"]["options"]["reading"]["text"].startswith("Unstated in the paper:")
    assert cli.run(["evaluate", "--list"]) == 0
    assert "lambada" in capsys.readouterr().out
    assert cli.run(["evaluate", str(run), "--show-prompt", "lambada", "--data-dir", str(data_dir)]) == 0
    assert capsys.readouterr().out == ("0 sacks, the miller's daughter said, and the\n--- target: ' river'\n")


def test_help_fits_a_screen(capsys):
    with pytest.raises(SystemExit):
        cli.run(["evaluate", "--help"])
    assert len(capsys.readouterr().out.splitlines()) <= 48
