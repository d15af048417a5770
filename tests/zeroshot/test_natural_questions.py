"""Natural Questions: prompts, confidence, the baseline, and a rigged model that is right or wrong everywhere."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from wholegpt import evalsets
from wholegpt.errors import WholeGPTError
from wholegpt.evalsets import Found, nq_open
from wholegpt.evalsets.nq_open import Question
from wholegpt.evalsets.stored import Stored
from wholegpt.inference.requests import Generated
from wholegpt.zeroshot import natural_questions
from wholegpt.zeroshot.natural_questions import TASK, beside, most_common, most_confident, question_word
from wholegpt.zeroshot.task import Data

QUESTIONS = (
    Question("who wrote the play hamlet", ("William Shakespeare", "Shakespeare")),
    Question("when was the last time anyone was on the moon", ("14 December 1972 UTC", "December 1972")),
    Question("who sang the song", ("The The",)),
)
TRAIN = (
    Question("who is it", ("Ann",)),
    Question("who was it", ("Bob", "The Bob")),
    Question("and who", ("ann", "Bob")),
    Question("when was it", ("1999",)),
    Question("in what year", ("2000",)),
)


@pytest.fixture
def train(monkeypatch):
    """The training part is there."""
    found = Found("natural-questions", "train", (), "cache", TRAIN, {"examples": len(TRAIN)})
    monkeypatch.setattr(evalsets, "find", lambda *_, **__: found)


def test_prompt(dictated):
    (first, *_) = TASK.samples(QUESTIONS, dictated.setting(TASK, shots=1))
    assert first.prompt == (
        "Q: Who wrote the play Romeo and Juliet?\nA: William Shakespeare\n\nQ: Who wrote the play hamlet?\nA:"
    )
    (request,) = first.requests
    assert (request.stop, request.temperature, request.max_new_tokens) == (("\n",), 0, 32)
    other = next(iter(TASK.samples(QUESTIONS, dictated.setting(TASK, shots=0, stop="line-or-mark"))))
    assert other.prompt == "Q: Who wrote the play hamlet?\nA:" and other.requests[0].stop == ("\n", ".", ",")


def test_no_example_is_a_tested_question(dictated):
    tested = Question("who wrote the play romeo and juliet", ("Shakespeare",))
    (sample,) = TASK.samples([tested], dictated.setting(TASK, shots=4))
    assert sample.prompt.count("Romeo and Juliet") == 0 and "Romeo" not in sample.prompt
    assert sample.prompt.endswith("Q: Who wrote the play romeo and juliet?\nA:")


def test_right_and_wrong_everywhere(dictated):
    rows = dictated.rows(TASK, QUESTIONS, lambda sample, _: f" {sample.notes['answers'][-1].upper()}.\n\nQ: next")
    assert dictated.figures(TASK, rows) == {"em,none": 1, "em,most-confident": 1}
    rows = dictated.rows(TASK, QUESTIONS, lambda *_: " xyzzy")
    assert dictated.figures(TASK, rows) == {"em,none": 0, "em,most-confident": 0}


def test_articles_alone_are_an_empty_answer(dictated):
    """The accepted answer "The The" is normalized to nothing, as every empty answer is: by the scripts, they match."""
    rows = dictated.rows(TASK, QUESTIONS, lambda *_: "\n")
    assert [row["em"] for row in rows] == [0, 0, 1]
    assert [row["confidence"] for row in rows] == [0, 0, 0]


def test_confidence_is_the_product_of_the_probabilities(dictated):
    setting = dictated.setting(TASK)
    samples = list(TASK.samples(QUESTIONS, setting))
    texts = (Generated(" Moses", (5, 6), (math.log(0.5), math.log(0.25))), Generated(" ", (7,), (math.log(0.9),)))
    assert TASK.row(samples[0], texts[:1], setting)["confidence"] == pytest.approx(0.125)
    assert TASK.row(samples[1], texts[1:], setting)["confidence"] == 0  # no answer
    assert TASK.row(samples[1], (), setting)["confidence"] == 0


def test_the_most_confident(dictated):
    rows = [{"doc_id": number, "confidence": (number * 7 % 100) / 100, "em": number % 2 == 0} for number in range(399)]
    # 1 % of 399 is 3; 0.99 stands at 57, 157, 257, 357, of which the first three count: none is even.
    assert [row["doc_id"] for row in most_confident(rows, 4)] == [57, 157, 257, 357]
    confident = TASK.figures(dictated.setting(TASK))["em,most-confident"]
    assert confident.value(rows) == 0 and confident.error(rows) == 0
    rows[57]["em"] = True
    assert confident.value(rows) == pytest.approx(1 / 3)
    # sqrt(p (1 - p) / (n - 1)) of 1 right of 3
    assert confident.error(rows) == pytest.approx(math.sqrt(1 / 3 * 2 / 3 / 2))
    assert confident.value(rows[:50]) == most_confident(rows[:50], 1)[0]["em"]  # one at least


def test_36_of_3610(dictated):
    rows = [{"doc_id": number, "confidence": -number, "em": number < 36} for number in range(3610)]
    found = TASK.figures(dictated.setting(TASK))
    assert found["em,most-confident"].value(rows) == 1
    rows[35]["em"] = False
    assert found["em,most-confident"].value(rows) == pytest.approx(35 / 36)


def test_table_5(dictated):
    rows = dictated.rows(TASK, QUESTIONS, lambda sample, _: (" Shakespeare", " x y z", "")[sample.doc_id])
    table = beside(Data(QUESTIONS), rows, dictated.setting(TASK))["table5"]
    assert [entry["generated"] for entry in table][-1] == ""
    best = next(entry for entry in table if entry["generated"] == "Shakespeare")
    assert best["question"] == "Who wrote the play hamlet?" and best["correct"]
    assert best["probability"] == round(0.5 ** len(dictated.tokenizer.encode_ordinary(" Shakespeare")), 4)


def test_question_words():
    assert [question_word(text) for text in ("Who is", "to whom", "name it", "", "of the where")] == [
        "who", "whom", "", "", "where",
    ]  # fmt: skip


def test_most_common_by_hand():
    # who: ann 2 (Ann, ann), bob 2 (once in a question that accepts it twice, and once more): the first is taken.
    assert most_common(TRAIN) == {"who": "ann", "when": "1999", "what": "2000"}
    assert most_common((*TRAIN, Question("who", ("BOB",))))["who"] == "bob"


@pytest.mark.usefixtures("train")
def test_baseline_learnt_from_train(dictated):
    tested = (Question("who came", ("Ann", "Eve")), Question("when", ("1998",)), Question("why", ("because",)))
    rows = dictated.rows(TASK, tested, lambda *_: "x")
    assert [row["question_word_answer"] for row in rows] == ["ann", "1999", ""]
    assert dictated.figures(TASK, rows)["em,question-word"] == pytest.approx(1 / 3)
    made = beside(Data(tested), rows, dictated.setting(TASK))
    assert not made["notes"]
    setting = dictated.setting(TASK, shots=2, shots_from="train")
    prompt = next(iter(TASK.samples(tested, setting))).prompt
    assert prompt.count("Q:") == 3 and "Q: Who came?\nA:" in prompt and "Romeo" not in prompt


def test_without_train_the_result_says_so(dictated):
    rows = dictated.rows(TASK, QUESTIONS, lambda *_: "x")
    assert "em,question-word" not in TASK.figures(dictated.setting(TASK))
    made = beside(Data(QUESTIONS), rows, dictated.setting(TASK))
    assert made["notes"] == [
        "no baseline of question words: wholegpt data fetch natural-questions gets the training part"
    ]
    with pytest.raises(WholeGPTError, match="train part of natural-questions is missing"):
        TASK.samples(QUESTIONS, dictated.setting(TASK, shots_from="train"))


def test_another_file_is_never_the_training_part(dictated, tmp_path: Path):
    """A folder with one file of the right format: it is the test, and must not teach the baseline."""
    (tmp_path / "nq_open").mkdir()
    line = '{"question": "who is it", "answer": ["Ann"]}\n'
    (tmp_path / "nq_open" / "mine.jsonl").write_text(line)
    setting = replace(dictated.setting(TASK), data_dir=tmp_path)
    data = TASK.read(setting)
    assert len(data.examples) == 1 and data.label == "not the paper's data (n = 1)"
    assert natural_questions._train(tmp_path)[0] is None
    rows = dictated.rows(TASK, data.examples, lambda *_: "Ann", setting)
    assert rows[0]["question_word_answer"] is None
    (tmp_path / "nq_open" / "NQ-open.train.jsonl").write_text(line)
    assert natural_questions._train(tmp_path)[0] is None  # one line is not the training part


def test_small_windows(dictated):
    rows = dictated.rows(TASK, QUESTIONS, lambda *_: "x", dictated.setting(TASK, window=128))
    assert all(row["dropped_shots"] > 0 and row["prompt"].endswith("?\nA:") for row in rows)
    rows = dictated.rows(TASK, QUESTIONS, lambda *_: "x", dictated.setting(TASK, window=8))
    made = beside(Data(QUESTIONS), rows, dictated.setting(TASK))["fit"]
    assert made["impossible"] == 3


def test_real_questions_are_as_written(shared: Path):
    """Lower case without a question mark, as table 5 does not have them."""
    questions = list(nq_open.read(Stored(shared / "eval" / "nq_open" / "NQ-open.dev.jsonl")))
    assert len(questions) == 3610
    assert not any("?" in one.question or one.question != one.question.lower() for one in questions)
    assert sum(bool(question_word(one.question)) for one in questions) > 3000
