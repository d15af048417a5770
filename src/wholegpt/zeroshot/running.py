"""Running a task: its samples in runs of some thousand tokens, each of which is journalled and never repeated.

A run holds the same samples whoever computes it and whatever was done before, so its requests always share the same
batches: an interrupted evaluation, or one shared among ranks, gives the same numbers to the last bit.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wholegpt.inference.engine import generate_until
from wholegpt.inference.requests import Continuation, Generation, Window
from wholegpt.inference.scoring import loglikelihoods, windows_loglikelihoods
from wholegpt.model.gpt import GPT
from wholegpt.progress import Bar, bar
from wholegpt.training.ranks import Team
from wholegpt.zeroshot.task import Row, Sample, Setting, Task

# What a kill may cost, and what a rank does at a time: seconds on two cores, enough for several batches on a GPU.
RUN_TOKENS = 2**15


def rows_of(
    task: Task,
    samples: Iterable[Sample],
    model: GPT,
    setting: Setting,
    journal: Path,
    team: Team,
    batch_tokens: int | None = None,
) -> list[Row]:
    """The rows of all samples in their order; on other ranks than the main one, none.

    Runs that the journals of any rank hold are not computed again. `journal` is a folder.
    """
    journal.mkdir(parents=True, exist_ok=True)
    team.wait()
    finished = _finished(journal)
    team.wait()
    mine = journal / f"{team.rank}.jsonl"
    _cut_torn_line(mine)
    total = sum(len(sample.requests) for sample in samples)
    done = sum(len(sample.requests) for number, run in _runs(samples) if number in finished for sample in run)
    with _shown(task.name, total, done, team) as progress, mine.open("ab") as stream:
        for number, run in _runs(samples):
            if number in finished:
                continue
            if number % team.count != team.rank:  # another rank is at it now
                progress.advance(sum(len(sample.requests) for sample in run))
                continue
            rows = _rows(task, run, model, setting, batch_tokens, progress)
            stream.write(json.dumps([number, rows], ensure_ascii=False).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    team.wait()
    if not team.main:
        return []
    finished = _finished(journal)
    return [row for number in sorted(finished) for row in finished[number]]


@contextmanager
def _shown(title: str, total: int, done: int, team: Team) -> Iterator[Bar]:
    """The bar of the main rank; the others count in silence."""
    if not team.main:
        yield Bar(title, None, "", 0, None, silent=True)
        return
    with bar(title, total, "requests", done) as progress:
        yield progress


def _runs(samples: Iterable[Sample]) -> Iterator[tuple[int, list[Sample]]]:
    """The samples in numbered runs of about RUN_TOKENS."""
    number, size, run = 0, 0, list[Sample]()
    for sample in samples:
        run.append(sample)
        size += sum(map(_tokens, sample.requests))
        if size >= RUN_TOKENS:
            yield number, run
            number, size, run = number + 1, 0, []
    if run:
        yield number, run


def _tokens(request: Any) -> int:
    if isinstance(request, Window):
        return len(request.ids)
    if isinstance(request, Continuation):
        return len(request.context) + len(request.ids)
    return len(request.prompt) + int(request.max_new_tokens)


def _rows(
    task: Task, run: list[Sample], model: GPT, setting: Setting, batch_tokens: int | None, progress: Bar
) -> list[Row]:
    requests = [request for sample in run for request in sample.requests]
    answers: list[Any] = [None] * len(requests)
    for index, answer in _answers(model, setting, requests, batch_tokens):
        answers[index] = answer
        progress.advance(1, f"{progress.per_second():.1f}/s")
    rows = []
    start = 0
    for sample in run:
        end = start + len(sample.requests)
        made = task.row(sample, answers[start:end], setting)
        rows.append({"doc_id": sample.doc_id, "prompt": sample.prompt, "target": sample.target, **made})
        start = end
    return rows


def _answers(model: GPT, setting: Setting, requests: list[Any], batch_tokens: int | None) -> Iterator[tuple[int, Any]]:
    if not requests:
        return
    if isinstance(requests[0], Window):
        yield from enumerate(windows_loglikelihoods(model, requests, batch_tokens))
    elif isinstance(requests[0], Generation):
        yield from generate_until(model, setting.tokenizer, requests, batch_tokens)
    else:
        yield from loglikelihoods(model, requests, batch_tokens)


def _finished(journal: Path) -> dict[int, list[Row]]:
    """The rows of each run that some rank has finished."""
    found: dict[int, list[Row]] = {}
    for file in sorted(journal.glob("*.jsonl")):
        for line in file.read_bytes().split(b"\n")[:-1]:  # what follows the last line end was torn off by a kill
            number, rows = json.loads(line)
            found[number] = rows
    return found


def _cut_torn_line(file: Path) -> None:
    if file.is_file():
        with file.open("r+b") as stream:
            stream.truncate(stream.read().rfind(b"\n") + 1)
