"""Natural Questions (section 3.8): greedy answers after example pairs, and how much the model's confidence is worth.

The confidence of an answer is the product of its tokens' probabilities, without that of its end; no answer at all has
none. Exact match is after the normalisation of SQuAD, against every accepted answer. Beside the mean stand the paper's
other figures: exact match among the most confident 1 % (rounded down: 36 of 3,610), its table 5 of the 30 most
confident answers, and the baseline of the most common answer for each question word.

The baseline is learnt from NQ-open's training part and from nothing else; where that is not, the result says how to
get it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wholegpt import evalsets, paper
from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.nq_open import Question
from wholegpt.inference.requests import Generated
from wholegpt.zeroshot import answers, generation, prompts
from wholegpt.zeroshot.statistics import mean
from wholegpt.zeroshot.task import Data, Figure, Option, Row, Sample, Setting, Task, evalset

NAME = "natural-questions"
MOST_CONFIDENT_PERCENT = 1
TABLE_5 = 30
QUESTION_WORDS = ("who", "whom", "whose", "what", "which", "when", "where", "why", "how")
STOPS = {"line": ("\n",), "line-or-mark": ("\n", ".", ",")}
OPTIONS = {
    **generation.shots_options(5, "train"),
    "stop": Option("line", "Unstated in the paper: an answer ends with its line, or at . or , as well", tuple(STOPS)),
    **generation.length_option(32),
}


def read(setting: Setting) -> Data:
    """The questions; the training part is among the paths if it is there."""
    data = evalset(NAME, "validation")(setting)
    train, _ = _train(setting.data_dir)
    return replace(data, paths=(*data.paths, *(file.path for file in train.files))) if train else data


def _train(data_dir: Path | None) -> tuple[evalsets.Found | None, str]:
    """NQ-open's training part, or why there is none. No other file will do: it could hold the tested questions."""
    reason = ""
    for folder in dict.fromkeys((data_dir, None)):
        try:
            found = evalsets.find(NAME, folder, "train", offline=True)
        except WholeGPTError as error:
            reason = str(error)
        else:
            if not found.fault:
                return found, ""
    return None, reason


def samples(examples: Sequence[Question], setting: Setting) -> Iterable[Sample]:
    """A sample for each question."""
    train, reason = _train(setting.data_dir)
    common = most_common(train.examples) if train else {}

    def drawn() -> list[generation.Pair]:
        if not train:
            raise WholeGPTError(reason)
        return [(one.question, one.answers[0]) for one in train.examples]

    pairs = generation.shots(prompts.QUESTION_PAIRS, drawn, (one.question for one in examples), setting)
    stop = STOPS[setting.options["stop"]]

    def sample(number: int, one: Question) -> Sample:
        return generation.sample(
            number,
            one.answers[0],
            lambda budget: prompts.natural_question(one.question, setting.count_tokens, budget, pairs, stop),
            setting,
            {
                "question": prompts.asked(one.question),
                "answers": one.answers,
                "question_word_answer": common.get(question_word(one.question), "") if train else None,
            },
        )

    return generation.Samples(sample, examples)


def question_word(question: str) -> str:
    """The first of QUESTION_WORDS in a question; empty where it has none.

    >>> question_word("in which year did it end"), question_word("name of the capital")
    ('which', '')
    """
    return next((word for word in question.lower().split() if word in QUESTION_WORDS), "")


def most_common(train: Iterable[Question]) -> dict[str, str]:
    """For each question word its most common accepted answer, normalized; of equally common ones the first.

    "The most common answer for each question type (who, what, where, etc.)". Unstated in the paper: the types, and how
    a question with several accepted answers counts; here each of them once.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in train:
        counts[question_word(one.question)].update(list(dict.fromkeys(map(answers.normalized, one.answers))))
    return {word: counter.most_common(1)[0][0] for word, counter in counts.items()}


def row(sample: Sample, texts: Sequence[Generated], _setting: Setting) -> Row:
    """The answer, whether it is right, and how confident the model was of it."""
    made = generation.row(sample, texts)
    accepted, common = sample.notes["answers"], sample.notes["question_word_answer"]
    return {
        **made,
        "confidence": math.exp(sum(texts[0].logprobs)) if made["prediction"] else 0.0,
        "em": answers.best(answers.exact, made["prediction"], accepted),
        **({} if common is None else {"em_question_word": answers.best(answers.exact, common, accepted)}),
    }


def most_confident(rows: Sequence[Row], count: int) -> list[Row]:
    """The rows with the highest confidence, best first; equal ones in the order of the set."""
    return sorted(rows, key=lambda row: -row["confidence"])[:count]


def figures(setting: Setting) -> dict[str, Figure]:
    """The baseline is among them if it could be learnt."""
    exact = mean("em", paper=paper.row("Natural Questions", "exact match, %"))
    baseline = {"em,question-word": mean("em_question_word")} if _train(setting.data_dir)[0] else {}

    def chosen(rows: Sequence[Row]) -> list[Row]:
        return most_confident(rows, max(1, len(rows) * MOST_CONFIDENT_PERCENT // 100))

    confident = Figure(
        lambda rows: exact.value(chosen(rows)),
        True,
        lambda rows: exact.error(chosen(rows)) if exact.error else math.nan,
        paper.row("Natural Questions", "exact match of the most confident 1 %, %"),
        True,
    )
    return {"em,none": exact, "em,most-confident": confident, **baseline}


def beside(_data: Data, rows: Sequence[Row], setting: Setting) -> dict[str, Any]:
    """Table 5, why there is no baseline, and what did not fit."""
    table = [
        {
            "question": row["question"],
            "generated": row["prediction"],
            "correct": bool(row["em"]),
            "probability": round(row["confidence"], 4),
        }
        for row in most_confident(rows, TABLE_5)
    ]
    found = {"table5": table, **generation.fit(rows)}
    if not _train(setting.data_dir)[0]:
        found["notes"].append(f"no baseline of question words: wholegpt data fetch {NAME} gets the training part")
    return found


TASK = Task(
    NAME,
    1,
    "example pairs, question and `A:`, greedy; exact match",
    read,
    samples,
    row,
    figures,
    ("generation",),
    OPTIONS,
    beside,
    "shots",
    NAME,
)
