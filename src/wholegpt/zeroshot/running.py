"""Running a task: its samples in runs of some thousand tokens, each of which is journalled and never repeated.

A run holds the same samples whoever computes it and whatever was done before, so its requests always share the same
batches: an interrupted evaluation, or one shared among ranks, gives the same numbers to the last bit.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wholegpt.artifact import read_json, write_json
from wholegpt.inference import budget
from wholegpt.inference.engine import generate_until
from wholegpt.inference.requests import Continuation, Generation, Window
from wholegpt.inference.scoring import loglikelihoods, windows_loglikelihoods
from wholegpt.model.gpt import GPT
from wholegpt.progress import Bar, bar
from wholegpt.ranks import Team
from wholegpt.zeroshot.task import Row, Sample, Setting, Task

# What a kill may cost, and what a rank does at a time: seconds on two cores, enough for several batches on a GPU.
RUN_TOKENS = 2**15


@dataclass(frozen=True)
class Budget:
    """How many tokens the model holds at once, when it scores and when it writes; as it is the same until the end of
    an evaluation, whatever memory gets free, so are the batches."""

    scored: int
    written: int

    @classmethod
    def kept(cls, path: Path, model: GPT, batch_tokens: int) -> "Budget":
        """The budget in the file at `path`; if there is none, as asked, or as much as the memory allows."""
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            chosen = cls(batch_tokens or budget.pass_tokens(model), batch_tokens or budget.cache_tokens(model))
            write_json(path, asdict(chosen))
        return cls(**read_json(path))


def compute(
    task: Task,
    samples: Iterable[Sample],
    model: GPT,
    setting: Setting,
    journal: Path,
    team: Team,
    limits: Budget,
) -> None:
    """Write the rows of all samples to a folder, a file a rank; the runs that it holds are not computed again."""
    if team.main:
        journal.mkdir(parents=True, exist_ok=True)
        for file in journal.glob("*.jsonl"):
            _cut_torn_line(file)
    team.wait()
    finished = _places(journal)
    team.wait()
    total = sum(len(sample.requests) for sample in samples)
    done = sum(len(sample.requests) for number, run in _runs(samples) if number in finished for sample in run)
    with _shown(task.name, total, done, team) as progress, (journal / f"{team.rank}.jsonl").open("ab") as stream:
        for number, run in _runs(samples):
            if number in finished:
                continue
            if number % team.count != team.rank:  # another rank is at it now
                progress.advance(sum(len(sample.requests) for sample in run))
                continue
            rows = _rows(task, run, model, setting, limits, progress)
            stream.write(json.dumps([number, rows], ensure_ascii=False).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    team.wait()


def rows_of(journal: Path) -> Iterator[Row]:
    """The rows of a finished journal in the order of the samples."""
    places = _places(journal)
    for number in sorted(places):
        file, start = places[number]
        with file.open("rb") as stream:
            stream.seek(start)
            yield from json.loads(stream.readline())[1]


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


def _rows(task: Task, run: list[Sample], model: GPT, setting: Setting, limits: Budget, progress: Bar) -> list[Row]:
    requests = [request for sample in run for request in sample.requests]
    answers: list[Any] = [None] * len(requests)
    for index, answer in _answers(model, setting, requests, limits):
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


def _answers(model: GPT, setting: Setting, requests: list[Any], limits: Budget) -> Iterator[tuple[int, Any]]:
    if not requests:
        return
    if isinstance(requests[0], Window):
        yield from enumerate(windows_loglikelihoods(model, requests, limits.scored))
    elif isinstance(requests[0], Generation):
        yield from generate_until(model, setting.tokenizer, requests, limits.written)
    else:
        yield from loglikelihoods(model, requests, limits.scored)


def _places(journal: Path) -> dict[int, tuple[Path, int]]:
    """File and offset of each run that some rank has finished."""
    found: dict[int, tuple[Path, int]] = {}
    for file in sorted(journal.glob("*.jsonl")):
        start = 0
        with file.open("rb") as stream:
            for line in stream:
                found[int(line[1 : line.index(b",")])] = file, start
                start += len(line)
    return found


def _cut_torn_line(file: Path) -> None:
    """What follows the last line end was torn off by a kill."""
    with file.open("r+b") as stream:
        end = 0
        for line in stream:
            end += len(line) if line.endswith(b"\n") else 0
        stream.truncate(end)
