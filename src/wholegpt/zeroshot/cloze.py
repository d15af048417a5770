"""The Children's Book Test (section 3.2): cbt-cn and cbt-ne, common nouns and named entities.

The score of a candidate is the probability of it and of the rest of its sentence, given the story before; the highest
wins, without regard to length. `word` counts the probability of the candidate alone, from the same log-probabilities.
Of equal scores the first candidate's is taken; how many examples had some is counted.
"""

from collections.abc import Sequence
from itertools import accumulate

from wholegpt import paper
from wholegpt.evalsets.cbt import BLANK, Cloze
from wholegpt.inference.requests import Continuation, Scored
from wholegpt.inference.scoring import split_ids
from wholegpt.zeroshot import prompts
from wholegpt.zeroshot.detokenize import CBT, detokenize
from wholegpt.zeroshot.statistics import mean
from wholegpt.zeroshot.task import Figure, Option, Row, Sample, Setting, Task, evalset, fitted, part_option

BETWEEN = {"space": " ", "newline": "\n"}


def samples(examples: Sequence[Cloze], setting: Setting) -> list[Sample]:
    """A request for each candidate, all after the same context."""
    return [_sample(number, example, setting) for number, example in enumerate(examples)]


def _sample(number: int, example: Cloze, setting: Setting) -> Sample:
    between = BETWEEN[setting.options["between"]]
    choices = prompts.cloze(example, setting.count_tokens, setting.window, between)
    requests = []
    word_tokens = []
    for continuation, candidate in zip(choices.continuations, example.candidates, strict=True):
        context, ids, _ = fitted(*split_ids(setting.tokenizer, choices.context, continuation), setting.window)
        requests.append(Continuation(context, ids))
        space = len(continuation) - len(continuation.lstrip(" "))
        ends = list(accumulate(len(setting.tokenizer.token_bytes(index)) for index in ids))
        size = space + len(detokenize(candidate, CBT).encode())
        word_tokens.append(1 + sum(1 for end in ends if end < size))
    notes = {
        "continuations": choices.continuations,
        "candidates": example.candidates,
        "answer": example.answer,
        "word_tokens": word_tokens,
        "cut_tokens": choices.cut_tokens,
    }
    target = choices.continuations[example.answer]
    return Sample(number, choices.context, target, tuple(requests), notes)


def row(sample: Sample, answers: Sequence[Scored], _setting: Setting) -> Row:
    """The candidate that is most probable with the rest of its sentence, and the one that is so alone."""
    notes = sample.notes
    whole = [answer.logprob for answer in answers]
    alone = [sum(answer.logprobs[:count]) for answer, count in zip(answers, notes["word_tokens"], strict=True)]
    best = whole.index(max(whole))
    return {
        "candidates": notes["candidates"],
        "prediction": notes["candidates"][best],
        "answer": notes["candidates"][notes["answer"]],
        "cut_tokens": notes["cut_tokens"],
        "logprobs": [round(logprob, 6) for logprob in whole],
        "word_logprobs": [round(logprob, 6) for logprob in alone],
        "acc": best == notes["answer"],
        "acc_word": alone.index(max(alone)) == notes["answer"],
        "tied": whole.count(max(whole)) > 1,
    }


def task(name: str, row_name: str) -> Task:
    """One of the two kinds."""
    options = {
        **part_option(name),
        "between": Option("space", "Unstated in the paper: what stands between sentences", tuple(BETWEEN)),
    }

    def figures(_setting: Setting) -> dict[str, Figure]:
        return {"acc,none": mean("acc", paper=paper.row(row_name, "accuracy, %")), "acc,word": mean("acc_word")}

    return Task(
        name,
        1,
        f"{BLANK} filled: probability of the candidate and the rest of the sentence",
        evalset(name),
        samples,
        row,
        figures,
        ("cloze", "table3"),
        options,
        lambda _data, rows, _setting: counts(rows),
        source=name,
    )


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """Examples with equal best scores, and those whose beginning had to be cut."""
    return {
        "tied": sum(row["tied"] for row in rows),
        "cut": sum(row["cut_tokens"] > 0 for row in rows),
        "cut_tokens": sum(row["cut_tokens"] for row in rows),
    }


TASKS = (task("cbt-cn", "CBT-CN"), task("cbt-ne", "CBT-NE"))
