"""Runs of samples: the same numbers after a kill, from several ranks, and never computed twice."""

import json

import pytest
import torch

from wholegpt.ranks import Team
from wholegpt.zeroshot import running
from wholegpt.zeroshot.running import Budget, compute, rows_of
from wholegpt.zeroshot.tasks import TASKS

LIMITS = Budget(256, 256)


@pytest.fixture
def computed(setting, model, monkeypatch):
    """Runs a task in runs of 40 tokens; counts the samples for which the model was asked."""
    monkeypatch.setattr(running, "RUN_TOKENS", 40)
    given = setting("wikitext2", 32)
    task = TASKS["wikitext2"]
    samples = list(task.samples(task.read(given).examples, given))
    asked = []

    def spy(*arguments):
        asked.append(len(arguments[1]))
        return rows(*arguments)

    rows = running._rows
    monkeypatch.setattr(running, "_rows", spy)

    def run(journal, team=None):
        asked.clear()
        compute(task, samples, model, given, journal, team or Team(torch.device("cpu")), LIMITS)
        return list(rows_of(journal)), sum(asked)

    run.samples = samples
    return run


def test_a_run_is_computed_once(computed, tmp_path):
    rows, asked = computed(tmp_path / "one")
    assert asked == len(rows) == len(computed.samples) > 3
    assert [row["doc_id"] for row in rows] == list(range(len(rows)))
    assert computed(tmp_path / "one") == (rows, 0)


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_torn_journal_goes_on_to_the_same_rows(computed, tmp_path, kept):
    whole, _ = computed(tmp_path / "whole")
    lines = (tmp_path / "whole" / "0.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "0.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:-7])
    rows, asked = computed(tmp_path / "torn")
    assert rows == whole
    assert asked == len(whole) - sum(len(json.loads(line)[1]) for line in lines[:kept])
    assert (tmp_path / "torn" / "0.jsonl").read_bytes() == (tmp_path / "whole" / "0.jsonl").read_bytes()


class Second(Team):
    rank, count = 1, 2


class First(Team):
    count = 2


def test_ranks_share_the_runs(computed, tmp_path):
    whole, _ = computed(tmp_path / "whole")
    _, mine = computed(tmp_path / "shared", First(torch.device("cpu")))
    _, others = computed(tmp_path / "shared", Second(torch.device("cpu")))
    rows = list(rows_of(tmp_path / "shared"))
    assert rows == whole
    assert 0 < mine < len(whole)
    assert mine + others == len(whole)


def test_the_budget_stays_what_it_was(model, tmp_path):
    first = Budget.kept(tmp_path / "state" / "batches.json", model, 77)
    assert first == Budget(77, 77)
    assert Budget.kept(tmp_path / "state" / "batches.json", model, 0) == first
    automatic = Budget.kept(tmp_path / "other" / "batches.json", model, 0)
    assert min(automatic.scored, automatic.written) >= model.config.n_ctx
