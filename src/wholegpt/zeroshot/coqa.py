"""CoQA (section 3.5): greedy answers after a document, the conversation about it so far, and "A:".

Every turn of every conversation is a sample, its history the conversation's own answers, as the official score has it.
The figure is the mean F1 over all turns against the answers without one of them in turn; turns about one document are
not independent, so the standard error is that of documents.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from wholegpt import paper
from wholegpt.evalsets.coqa import Conversation
from wholegpt.inference.requests import Generated
from wholegpt.zeroshot import answers, generation, prompts
from wholegpt.zeroshot.statistics import mean
from wholegpt.zeroshot.task import Data, Figure, Option, Row, Sample, Setting, Task, evalset

STOPS = {"line": "\n", "question": "\nQ:"}
BETWEEN = {"blank-line": "\n\n", "line": "\n"}
OPTIONS = {
    "stop": Option(
        "line", "Unstated in the paper: an answer ends with its line, or at the next question", tuple(STOPS)
    ),
    "between": Option("blank-line", "Unstated in the paper: what stands between turns", tuple(BETWEEN)),
    **generation.cut_option(prompts.START),
    **generation.length_option(32),
}


def samples(examples: Sequence[Conversation], setting: Setting) -> Iterable[Sample]:
    """A sample for each question."""
    turns = [(talk, turn) for talk in examples for turn in range(len(talk.turns))]
    return generation.Samples(lambda number, place: _sample(number, place, setting), turns)


def _sample(number: int, place: tuple[Conversation, int], setting: Setting) -> Sample:
    talk, turn = place
    options = setting.options

    def prompt(budget_tokens: int) -> prompts.Prompt:
        between, stop = BETWEEN[options["between"]], STOPS[options["stop"]]
        return prompts.coqa(talk, turn, setting.count_tokens, budget_tokens, options["cut"], between, stop)

    accepted = talk.turns[turn].answers
    notes = {"story": talk.id, "domain": talk.source, "turn": turn + 1, "answers": accepted}
    return generation.sample(number, accepted[0], prompt, setting, notes)


def row(sample: Sample, texts: Sequence[Generated], _setting: Setting) -> Row:
    """The answer with its F1 and exact match."""
    made = generation.row(sample, texts)
    scores = {
        name: answers.leave_one_out(measure, made["prediction"], sample.notes["answers"])
        for name, measure in (("f1", answers.f1), ("em", answers.exact))
    }
    return {**made, **scores}


def figures(_setting: Setting) -> dict[str, Figure]:
    return {
        "f1,none": Figure(mean("f1").value, True, lambda rows: _error(rows, "f1"), paper.row("CoQA", "F1"), True),
        "em,none": Figure(mean("em").value, True, lambda rows: _error(rows, "em"), percent=True),
    }


def _error(rows: Sequence[Row], key: str) -> float:
    """The standard error of a mean over turns that come in stories."""
    middle = mean(key).value(rows)
    scatter: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        scatter[row["story"]] += row[key] - middle
    stories = len(scatter)
    if stories < 2:
        return math.nan
    return math.sqrt(stories / (stories - 1) * math.fsum(one * one for one in scatter.values())) / len(rows)


def beside(_data: Data, rows: Sequence[Row], _setting: Setting) -> dict[str, Any]:
    """F1 of each domain, and what did not fit."""
    domains: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        domains[row["domain"]].append(row)
    by_domain = {
        name: {
            "f1": round(mean("f1").value(some), 5),
            "turns": len(some),
            "stories": len({row["story"] for row in some}),
        }
        for name, some in sorted(domains.items())
    }
    return {"domains": by_domain, **generation.fit(rows)}


TASK = Task(
    "coqa",
    1,
    'document, conversation and "A:", greedy; F1 with one answer left out in turn',
    evalset("coqa"),
    samples,
    row,
    figures,
    ("generation",),
    OPTIONS,
    beside,
    source="coqa",
)
