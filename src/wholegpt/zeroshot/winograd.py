"""The Winograd Schema Challenge (section 3.4): each candidate in the place of the pronoun, the more probable one wins.

Partial scoring compares the probability of what follows the candidate, full scoring that of the whole sentence (Trinh &
Le, 2018); figure 3 has both, and its last point, 70.70 %, is 193 of 273 by partial scoring. Unstated in the paper: what
a tie counts; here it is wrong, and counted.
"""

from collections.abc import Sequence

from wholegpt import paper
from wholegpt.evalsets.winograd import Schema
from wholegpt.inference.requests import Continuation, Scored
from wholegpt.inference.scoring import split_ids
from wholegpt.zeroshot.statistics import mean
from wholegpt.zeroshot.task import Figure, Row, Sample, Setting, Task, evalset, fitted


def samples(examples: Sequence[Schema], setting: Setting) -> list[Sample]:
    """Requests for both readings, the rest of the sentence first, then for both as whole sentences."""
    return [_sample(number, schema, setting) for number, schema in enumerate(examples)]


def _sample(number: int, schema: Schema, setting: Setting) -> Sample:
    readings = schema.readings()
    pairs = [(reading.context, reading.continuation) for reading in readings]
    pairs += [("", reading.sentence) for reading in readings]
    requests, cut_tokens = [], 0
    for context, continuation in pairs:
        before, ids, cut = fitted(*split_ids(setting.tokenizer, context, continuation), setting.window)
        requests.append(Continuation(before, ids))
        cut_tokens += cut
    right = readings[schema.answer]
    notes = {"candidates": schema.candidates, "answer": schema.answer, "cut_tokens": cut_tokens}
    return Sample(number, right.context, right.continuation, tuple(requests), notes)


def row(sample: Sample, answers: Sequence[Scored], _setting: Setting) -> Row:
    """By both scorings, which candidate is more probable."""
    partial, full = [answer.logprob for answer in answers[:2]], [answer.logprob for answer in answers[2:]]
    answer = sample.notes["answer"]
    return {
        "candidates": sample.notes["candidates"],
        "prediction": sample.notes["candidates"][partial.index(max(partial))],
        "answer": sample.notes["candidates"][answer],
        "cut_tokens": sample.notes["cut_tokens"],
        "logprobs": [round(logprob, 6) for logprob in partial],
        "full_logprobs": [round(logprob, 6) for logprob in full],
        "partial": partial[answer] > partial[1 - answer],
        "full": full[answer] > full[1 - answer],
        "partial_tied": partial[0] == partial[1],
        "full_tied": full[0] == full[1],
    }


def figures(_setting: Setting) -> dict[str, Figure]:
    return {"acc,partial": mean("partial", paper=paper.row("Winograd", "accuracy, %")), "acc,full": mean("full")}


TASKS = (
    Task(
        "winograd",
        1,
        "probability of what follows the candidate; a tie is wrong",
        evalset("winograd"),
        samples,
        row,
        figures,
        ("cloze",),
        beside=lambda _data, rows, _setting: {
            key: sum(row[key] for row in rows) for key in ("partial_tied", "full_tied", "cut_tokens")
        },
        source="winograd",
    ),
)
