"""Figures of many samples and their standard errors: a mean by its formula, others by the bootstrap."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wholegpt.paper import Row as PaperRow
from wholegpt.zeroshot.task import Figure, Row

RESAMPLES = 200


def mean(key: str, higher_is_better: bool = True, paper: PaperRow | None = None, percent: bool = True) -> Figure:
    """The mean of a number, or of a truth value, of every row; its error is that of lm-evaluation-harness."""

    def value(rows: Sequence[Row]) -> float:
        return math.fsum(float(row[key]) for row in rows) / len(rows)

    def error(rows: Sequence[Row]) -> float:
        if len(rows) < 2:
            return math.nan
        middle = value(rows)
        return math.sqrt(math.fsum((float(row[key]) - middle) ** 2 for row in rows) / (len(rows) - 1) / len(rows))

    return Figure(value, higher_is_better, error, paper, percent)


def bootstrap(value: Callable[[Sequence[Row]], float], rows: Sequence[Row], seed: int) -> float:
    """The standard deviation of a figure over samples drawn with replacement from the rows."""
    if len(rows) < 2:
        return math.nan
    generator = np.random.default_rng(seed)
    drawn: list[Any] = []
    for _ in range(RESAMPLES):
        drawn.append(value([rows[index] for index in generator.integers(len(rows), size=len(rows))]))
    return float(np.std(drawn, ddof=1))


def standard_error(figure: Figure, rows: Sequence[Row], seed: int) -> float:
    """By the figure's formula, or by the bootstrap; not a number for fewer than two rows."""
    return figure.error(rows) if figure.error else bootstrap(figure.value, rows, seed)
