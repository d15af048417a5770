"""What a task is: from the examples of a test set to requests to the model, to rows of samples, to figures (section 3).

    examples ─ samples ─► Sample(prompt, target, requests) ─ model ─► answers ─ row ─► Row ─ figures ─► numbers, errors

A task is one `Task` value in the dict of `tasks.py`. Its functions are pure: they know no model, no file and no other
task, so a figure can be computed again from the rows that were written.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wholegpt import evalsets
from wholegpt.paper import Row as PaperRow
from wholegpt.tokenizer import Tokenizer

# A sample as it is written to samples_TASK.jsonl: doc_id, prompt, target, prediction, log-probabilities, metrics.
Row = dict[str, Any]
Choice = str | int | float


@dataclass(frozen=True)
class Option:
    """A choice of a protocol."""

    default: Choice
    text: str
    """What it decides; begins with `Unstated in the paper:` where the paper leaves it open."""
    choices: tuple[Choice, ...] = ()
    """All values it may have; empty: any of the default's type."""


@dataclass(frozen=True)
class Setting:
    """What the functions of a task are given beside the examples."""

    tokenizer: Tokenizer
    window: int
    """The model's context [tokens]."""
    options: Mapping[str, Any]
    """A value for each option of the task; `part` picks another part of the set than the paper's."""
    seed: int = 0
    data_dir: Path | None = None
    model: Path | None = None
    """Where the model is: the tasks on a run's own corpus find its shards by it."""
    shards: Path | None = None

    def count_tokens(self, text: str) -> int:
        """Ids of a text."""
        return len(self.tokenizer.encode_ordinary(text))


@dataclass(frozen=True)
class Data:
    """The examples of a test set, and where they come from."""

    examples: Sequence[Any]
    files: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    """The files and folders on which the result depends."""
    label: str = ""
    """What must stand beside a figure that is not of the paper's data; empty: it is."""


@dataclass(frozen=True)
class Sample:
    """One example, made ready for the model; what it says is in its row, too."""

    doc_id: int
    prompt: str
    target: str
    requests: tuple[Any, ...]
    """Of `inference.requests`, all of one kind: Continuation, Window or Generation."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What else belongs into the row (tokens that were cut, example pairs), and what `row` needs."""


@dataclass(frozen=True)
class Figure:
    """A number made of the rows; its standard error by a formula, or by the bootstrap if it has none."""

    value: Callable[[Sequence[Row]], float]
    higher_is_better: bool
    error: Callable[[Sequence[Row]], float] | None = None
    paper: PaperRow | None = None
    """The row of the paper that it stands beside."""
    percent: bool = False
    """Whether people, and the paper, say a hundred times the number."""


@dataclass(frozen=True)
class Task:
    """A test of section 3."""

    name: str
    version: int
    """Raised whenever the same model and data would give another number."""
    protocol: str
    """The protocol in a few words."""
    read: Callable[[Setting], Data]
    """The examples; WholeGPTError says how to get what is missing."""
    samples: Callable[[Sequence[Any], Setting], Iterable[Sample]]
    """All samples, numbered from 0; what it returns can be iterated again and again."""
    row: Callable[[Sample, Sequence[Any], Setting], Row]
    """What the answers to a sample's requests, in their order, add to its row."""
    figures: Callable[[Setting], Mapping[str, Figure]]
    """By lm-evaluation-harness's keys, metric and variant: `acc,none`; the first one is the task's main figure. The
    rows that they are given lack `logprobs`, of which a large set has too many to hold at once."""
    groups: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    beside: Callable[[Data, Sequence[Row], Setting], Mapping[str, Any]] = lambda _data, _rows, _setting: {}
    """What stands in the result beside the figures: baselines without a model, counts, lists; `notes` are sentences
    that the table shows, too."""
    shots: str = ""
    """The option that is the number of example pairs, which --num-fewshot sets."""
    source: str = ""
    """What `wholegpt data fetch` calls the data; empty: it is made by wholegpt itself."""


def evalset(name: str, part: str = "") -> Callable[[Setting], Data]:
    """A `read` for a test set: the part that the option `part` names, or this one, or the paper's.

    Nothing is downloaded: a set is in the folder that the user named, in the cache or in the mirror.
    """

    def read(setting: Setting) -> Data:
        found = evalsets.find(name, setting.data_dir, str(setting.options.get("part", part)), offline=True)
        paths = tuple(dict.fromkeys(file.path for file in found.files))
        return Data(found.examples, tuple(map(str, found.files)), paths, found.label)

    return read


def part_option(name: str) -> dict[str, Option]:
    """The option `part` of a test set: the paper's part is the default."""
    parts = tuple(evalsets.SETS[name])
    return {"part": Option(parts[0], "the part of the set", parts)}


def fitted(context: Sequence[int], ids: Sequence[int], window: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """A context and its continuation as far as the model can read them, and how many tokens of their beginning went."""
    whole = (*context, *ids)[-(window + 1) :]
    kept = min(len(ids), len(whole) - 1)
    return whole[: len(whole) - kept], whole[len(whole) - kept :], len(context) + len(ids) - len(whole)
