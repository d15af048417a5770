"""CoQA: what is asked, what counts, and a rigged model that is right, or wrong, everywhere."""

from pathlib import Path

import pytest

from wholegpt.evalsets import coqa as file
from wholegpt.evalsets.coqa import Conversation, Turn
from wholegpt.evalsets.stored import Stored
from wholegpt.inference.engine import generate_until
from wholegpt.model.gpt import GPT
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot.coqa import TASK, beside
from wholegpt.zeroshot.task import Data

TALKS = (
    Conversation(
        "a", "cnn", "A red car and a blue car.",
        (Turn("How many cars?", ("two", "2", "two cars", "Two.")), Turn("Which colors?", ("red and blue",) * 4)),
    ),
    Conversation("b", "race", "Ann ran home.", (Turn("Who ran?", ("Ann", "ann", "the girl", "Ann did")),)),
)  # fmt: skip


def test_every_turn_with_its_history(dictated):
    samples = list(TASK.samples(TALKS, dictated.setting(TASK)))
    assert [sample.doc_id for sample in samples] == [0, 1, 2]
    assert samples[1].prompt == (
        "A red car and a blue car.\n\nQ: How many cars?\nA: two\n\nQ: Which colors?\nA:"
    )  # the first of the four answers
    (request,) = samples[1].requests
    assert dictated.tokenizer.decode(request.prompt) == samples[1].prompt
    assert (request.stop, request.temperature, request.max_new_tokens) == (("\n",), 0, 32)
    other = dictated.setting(TASK, between="line", stop="question")
    sample = list(TASK.samples(TALKS, other))[1]
    assert sample.prompt == "A red car and a blue car.\n\nQ: How many cars?\nA: two\nQ: Which colors?\nA:"
    assert sample.requests[0].stop == ("\nQ:",)


def test_scores_by_hand(dictated):
    said = {0: " two\nQ: And?", 1: " a red one", 2: " Bob"}
    rows = dictated.rows(TASK, TALKS, lambda sample, _: said[sample.doc_id])
    assert [row["prediction"] for row in rows] == ["two", "a red one", "Bob"]
    # "two" and "Two." are both there, so one of them stays whichever goes: 1. "red one" and "red and blue": 1 word of 2
    # and of 3, 2 / 5.
    assert [row["f1"] for row in rows] == [1, pytest.approx(0.4), 0]
    assert [row["em"] for row in rows] == [1, 0, 0]
    found = dictated.figures(TASK, rows)
    assert found == {"f1,none": pytest.approx(1.4 / 3), "em,none": pytest.approx(1 / 3)}
    made = beside(Data(TALKS), rows, dictated.setting(TASK))
    assert made["domains"] == {
        "cnn": {"f1": 0.7, "turns": 2, "stories": 1},
        "race": {"f1": 0.0, "turns": 1, "stories": 1},
    }
    # Residuals of the stories: 1.4 - 2 * 1.4/3 and -1.4/3, so +-0.46667; sqrt(2/1 * 2 * 0.46667^2) / 3.
    assert TASK.figures(dictated.setting(TASK))["f1,none"].error(rows) == pytest.approx(2 * (1.4 / 3) / 3)


def test_right_and_wrong_everywhere(dictated, shared: Path):
    """On a real conversation: an answer that two people gave gets 1."""
    talks = tuple(file.read(Stored(shared / "eval" / "coqa" / "FIXTURE-coqa-dev-v1.0.json")))
    rows = dictated.rows(TASK, talks, lambda sample, _: f" {sample.target}\n\nQ: What else?")
    assert len(rows) == 12
    agreed = [row for row in rows if row["target"] in row["answers"][1:]]
    assert len(agreed) >= 8 and all(row["f1"] == row["em"] == 1 for row in agreed)
    rows = dictated.rows(TASK, talks, lambda *_: " xyzzy")
    assert dictated.figures(TASK, rows) == {"f1,none": 0, "em,none": 0}
    same = [Turn(turn.question, (turn.answers[0],) * 4) for turn in talks[0].turns]
    talk = Conversation("c", "mctest", talks[0].story, tuple(same))
    rows = dictated.rows(TASK, [talk], lambda sample, _: sample.target)
    assert dictated.figures(TASK, rows) == {"f1,none": 1, "em,none": 1}


def test_small_windows_cut_the_document_and_never_the_question(dictated):
    long = Conversation("a", "cnn", "word " * 500 + "end", TALKS[0].turns)
    setting = dictated.setting(TASK, window=128)
    rows = dictated.rows(TASK, [long], lambda *_: "two", setting)
    assert all(len(request.prompt) + request.max_new_tokens <= 128 for request in dictated.requests)
    assert all(row["prompt"].endswith("A:") and "end\n\nQ:" in row["prompt"] for row in rows)
    tail = dictated.rows(TASK, [long], lambda *_: "two", dictated.setting(TASK, window=128, cut="end"))
    assert tail[0]["prompt"].startswith("word word") and "end" not in tail[0]["prompt"]
    made = beside(Data([long]), rows, setting)["fit"]
    assert (made["cut"], made["impossible"]) == (2, 0) and made["cut_tokens"] > 500
    tiny = dictated.rows(TASK, [long], lambda *_: "two", dictated.setting(TASK, window=16))
    assert [row["f1"] for row in tiny] == [0, 0]
    made = beside(Data([long]), tiny, setting)["fit"]
    assert made["impossible"] == 2
    assert all(reason.startswith("the question alone has") for reason in made["reasons"])
    assert beside(Data([long]), tiny, setting)["notes"] == ["2 of 2 examples were impossible"]


def test_a_model_answers(model: GPT, tokenizer: Tokenizer, dictated):
    """The requests are ones that generation takes: windows of 32 tokens, 16 of them for the answer."""
    setting = dictated.setting(TASK, window=32)
    samples = [sample for sample in TASK.samples(TALKS, setting) if sample.requests]
    assert samples
    for sample in samples:
        for _, text in generate_until(model, tokenizer, sample.requests):
            row = TASK.row(sample, [text], setting)
            assert 0 <= row["f1"] <= 1 and "\n" not in row["generated"]
            assert len(row["logprobs"]) == len(text.ids) <= 16
