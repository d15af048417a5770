"""F1 and exact match: values of other people's scripts, and arithmetic by hand."""

import json
from pathlib import Path

import pytest

from wholegpt.zeroshot.answers import best, exact, f1, leave_one_out, normalized


def test_official_scripts(fixtures: Path):
    """lm-evaluation-harness's CoQA scores and transformers' SQuAD metrics on made predictions."""
    expected = json.loads((fixtures / "scores" / "answers.json").read_text(encoding="utf-8"))
    scored = [
        (leave_one_out(f1, one["prediction"], one["gold"]), leave_one_out(exact, one["prediction"], one["gold"]))
        for one in expected["coqa"]
    ]
    assert scored == [(pytest.approx(one["f1"]), pytest.approx(one["em"])) for one in expected["coqa"]]
    assert sum(one for one, _ in scored) / len(scored) == pytest.approx(expected["coqa_mean_f1"])
    for one in expected["normalisation"]:
        assert [normalized(one["gold"]), normalized(one["prediction"])] == one["normalized"]
        assert (exact(one["prediction"], one["gold"]), f1(one["prediction"], one["gold"])) == (one["em"], one["f1"])
    for one in expected["nq"]:
        assert best(exact, one["prediction"], one["answer"]) == one["em"]
        assert best(f1, one["prediction"], one["answer"]) == pytest.approx(one["f1"])


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("blue", "blue", 1),
        ("the big blue house", "a blue boat", 2 / 5),  # one word of 3 and of 2
        ("no no", "no", 2 / 3),  # a word counts as often as it stands in both
        ("the", "an", 1),  # articles alone: nothing on both sides
        ("", "the", 1),
        ("", "red", 0),
        ("the", "red", 0),
        ("...", "?!", 1),
        ("ÉCOLE", "école", 1),
        ("東京", "東京。", 0),  # only ASCII punctuation goes
        ("twenty-one", "twentyone", 1),
        ("than", "n", 0),  # "a" within a word is no article
    ],
)
def test_f1_by_hand(prediction: str, answer: str, expected: float):
    assert f1(prediction, answer) == pytest.approx(expected)
    assert exact(prediction, answer) == (expected == 1)


def test_leave_one_out_by_hand():
    # Without "red": best of green, blue = 0; without one of the others: red, 1. So (0 + 1 + 1) / 3.
    assert leave_one_out(exact, "red", ("red", "green", "blue")) == pytest.approx(2 / 3)
    # Two the same: whichever goes, one stays.
    assert leave_one_out(exact, "red", ("red", "Red.", "blue")) == 1
    assert leave_one_out(f1, "red", ("red car",)) == pytest.approx(2 / 3)
    assert leave_one_out(exact, "", ("red", "the", "a")) == 1
