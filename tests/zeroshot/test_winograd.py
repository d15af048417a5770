"""The Winograd schemas: a model that knows the answers, one that knows the others, one that knows nothing."""

import json

import pytest

from wholegpt import evalsets, load
from wholegpt.zeroshot.task import Setting
from wholegpt.zeroshot.tasks import TASKS

from .conftest import values


@pytest.mark.parametrize(("right", "share"), [(True, 1.0), (False, 0.0)])
def test_rigged(setting, rows, rigged, right, share):
    def teach(sample):
        index = sample.notes["answer"] if right else 1 - sample.notes["answer"]
        for request in (sample.requests[index], sample.requests[2 + index]):
            rigged.teach(request.context, request.ids)

    given = setting("winograd")
    found = rows("winograd", rigged, given, teach)
    assert values("winograd", found, given) == {"acc,partial": share, "acc,full": share}
    assert [row["answer"] for row in found] == ["the sack", "The river"]


def test_a_tie_is_wrong_and_counted(setting, rows, rigged):
    """What follows the candidate is the same: a model that knows nothing cannot tell the partial scores apart."""
    given = setting("winograd")
    found = rows("winograd", rigged, given)
    assert values("winograd", found, given)["acc,partial"] == 0
    assert TASKS["winograd"].beside(None, found, given)["partial_tied"] == 2


def test_what_is_compared(setting, tokenizer):
    given = setting("winograd")
    first, _ = TASKS["winograd"].samples(TASKS["winograd"].read(given).examples, given)
    texts = [tokenizer.decode(request.ids) for request in first.requests]
    assert texts == [
        " was full.", " was full.",
        "The miller hit the sack because the sack was full.", "The miller hit the sack because the miller was full.",
    ]  # fmt: skip
    assert first.prompt == "The miller hit the sack because the sack"


def test_scores_of_other_software(fixtures, shared, monkeypatch, rows):
    """lm-evaluation-harness on the first thirty schemas: partial and full."""
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(shared))
    model, tokenizer = load(fixtures / "trained")
    found = rows("winograd", model, Setting(tokenizer, model.config.n_ctx, {}), examples=examples()[:30])
    expected = json.loads((fixtures / "trained" / "expected" / "winograd.json").read_text(encoding="utf-8"))
    for row, item in zip(found, expected["items"], strict=True):
        assert row["logprobs"] == pytest.approx(item["partial_ll"], abs=1e-3)
        assert row["full_logprobs"] == pytest.approx(item["full_ll"], abs=1e-3)
    assert sum(row["partial"] for row in found) / 30 == expected["partial_accuracy"]
    assert sum(row["full"] for row in found) / 30 == expected["full_accuracy"]


def examples():
    return evalsets.find("winograd", offline=True).examples
