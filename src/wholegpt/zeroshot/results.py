"""The result of a task as a file: lm-evaluation-harness's shape, and the lines of the table of what the paper, others
and this model get."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wholegpt import __version__, paper
from wholegpt.zeroshot.statistics import standard_error
from wholegpt.zeroshot.task import Data, Figure, Row, Setting, Task

# The released weights agree with a published number if they are so near: accuracies in points, others as a fraction.
TOLERANCE_POINTS, TOLERANCE_FRACTION = 0.5, 0.01


@dataclass(frozen=True)
class Model:
    """Who was evaluated."""

    name: str
    parameters: int
    released: str = ""
    """The name of its size, if these are OpenAI's weights."""

    @property
    def nearest(self) -> int:
        """Index of the size of table 2 that is nearest in parameters."""
        distances = [abs(math.log(size.parameters / self.parameters)) for size in paper.SIZES]
        return distances.index(min(distances))


def content(
    task: Task, data: Data, total: int, rows: Sequence[Row], setting: Setting, model: Model, key: str
) -> dict[str, Any]:
    """What TASK.json holds; `total` is the number of examples of which `data` may be the first ones."""
    figures = task.figures(setting)
    numbers = {
        name: (figure.value(rows), standard_error(figure, rows, setting.seed)) for name, figure in figures.items()
    }
    keyed: dict[str, Any] = {"alias": task.name}
    for name, (value, error) in numbers.items():
        metric, _, variant = name.partition(",")
        keyed |= {name: _written(value), f"{metric}_stderr,{variant}": _written(error)}
    beside = task.beside(data, rows, setting)
    labels = [data.label] if data.label else []
    if len(data.examples) < total:
        labels.append(f"the first {len(data.examples):,} of {total:,} examples")
    return {
        "results": {task.name: keyed},
        "configs": {
            task.name: {
                "task": task.name,
                "protocol": task.protocol,
                "options": dict(setting.options),
                "window": setting.window,
                "seed": setting.seed,
                "num_fewshot": _shots(task, setting),
                "data": list(data.files),
                "metadata": {"version": task.version},
                "fingerprint": key,
            }
        },
        "versions": {task.name: task.version},
        "n-shot": {task.name: _shots(task, setting)},
        "higher_is_better": {
            task.name: {name.partition(",")[0]: figure.higher_is_better for name, figure in figures.items()}
        },
        "n-samples": {task.name: {"original": total, "effective": len(data.examples)}},
        "model": asdict(model),
        "wholegpt": __version__,
        "labels": labels,
        "table": _lines(task, figures, numbers, labels, beside.get("notes", []), setting, model),
        **beside,
    }


def _shots(task: Task, setting: Setting) -> int:
    return int(setting.options[task.shots]) if task.shots else 0


def _written(value: float) -> float | str:
    """A number as every reader of JSON understands it."""
    if math.isnan(value):
        return "N/A"
    return value if math.isfinite(value) else "infinite: more than a float holds"


def _lines(
    task: Task,
    figures: Mapping[str, Figure],
    numbers: Mapping[str, tuple[float, float]],
    labels: list[str],
    remarks: list[str],
    setting: Setting,
    model: Model,
) -> list[dict[str, Any]]:
    """A line for the first figure, and for each beside which something is published; the others are its notes.

    `remarks` stand among the notes of the first line.
    """
    first = next(iter(figures))
    shown = [
        name for name in figures if name == first or figures[name].paper or _reproduction(task, name, figures, model)
    ]
    lines = []
    for name in shown:
        figure, (value, error) = figures[name], numbers[name]
        factor = 100 if figure.percent else 1
        notes = [
            _short(other, numbers[other][0], figures[other])
            for other in figures
            if other not in shown and name == _line_of(other, shown)
        ]
        expected, size = (None, "") if labels or not figure.paper else _published(figure.paper, model)
        reproduction = None if labels else _reproduction(task, name, figures, model)
        lines.append(
            {
                "figure": name,
                "row": f"{figure.paper.task}: {figure.paper.metric}" if figure.paper else "",
                "paper": expected,
                "size": size,
                "others": reproduction.value if reproduction else None,
                "source": _source(reproduction, name) if reproduction else "",
                "ours": _written(factor * value),
                "error": _written(factor * error),
                "protocol": task.protocol,
                "verdict": _verdict(task, name, figure, factor * value, expected, size, reproduction, setting, model),
                "notes": [*labels, *notes, *(remarks if name == first else [])],
            }
        )
    return lines


def _source(reproduction: paper.Reproduction, name: str) -> str:
    options = ", ".join(f"{option}={value}" for option, value in reproduction.options)
    protocol = f" ({reproduction.figure}; {options})" if reproduction.figure != name else ""
    return reproduction.source + protocol


def _line_of(name: str, shown: list[str]) -> str:
    """The line that a figure without one is a note of: the first of its metric, or the first."""
    metric = name.partition(",")[0]
    return _first_of(metric, shown) if metric in (other.partition(",")[0] for other in shown) else shown[0]


def _first_of(metric: str, names: list[str]) -> str:
    return next(name for name in names if name.partition(",")[0] == metric)


def _short(name: str, value: float, figure: Figure) -> str:
    words = name.removesuffix(",none").replace(",", " ").replace("_", " ")
    return f"{words} {number(100 * value if figure.percent else value)}"


def number(value: float | str | None) -> str:
    """Four significant digits, as the paper prints them."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.partition(":")[0]
    return f"{value:,.2f}" if 0.1 <= abs(value) < 1e6 else f"{value:.3g}"


def _published(row: paper.Row, model: Model) -> tuple[float | None, str]:
    """The paper's number for the nearest size that has one, and which size that is."""
    near = min((abs(index - model.nearest), index) for index, value in enumerate(row.ours) if value is not None)[1]
    return row.ours[near], paper.SIZES[near].paper_name


def _reproduction(task: Task, name: str, figures: Mapping[str, Figure], model: Model) -> paper.Reproduction | None:
    """What others get for this figure with the nearest size; for a metric's first figure also for one that is not
    among the task's, by another protocol that its source names."""
    size = paper.SIZES[model.nearest].name
    metric = name.partition(",")[0]
    known = [one for one in paper.REPRODUCTIONS if (one.task, one.size) == (task.name, size)]
    same = [one for one in known if one.figure == name]
    others = [one for one in known if one.figure not in figures and one.figure.partition(",")[0] == metric]
    return next(iter([*same, *(others if name == _first_of(metric, list(figures)) else [])]), None)


def _verdict(
    task: Task,
    name: str,
    figure: Figure,
    ours: float,
    published: float | None,
    size: str,
    reproduction: paper.Reproduction | None,
    setting: Setting,
    model: Model,
) -> str:
    """Of the released weights, whose number is known: whether it is that of others, or the paper's."""
    if not model.released:
        return ""

    def near(expected: float) -> bool:
        allowed = TOLERANCE_POINTS if figure.percent else TOLERANCE_FRACTION * abs(expected)
        return abs(ours - expected) <= allowed

    words = []
    if reproduction and reproduction.figure == name:
        defaults = {name: option.default for name, option in task.options.items()}
        if defaults | dict(reproduction.options) == dict(setting.options):
            words.append("as others get" if near(reproduction.value) else "NOT as others get")
    if published is not None and size == paper.SIZES[model.nearest].paper_name:
        words.append("as in the paper" if near(published) else "not as in the paper")
    return ", ".join(words)
