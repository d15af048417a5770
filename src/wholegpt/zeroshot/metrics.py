"""Perplexity in every unit, from one total: how surprised the model was, and how much text that was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wholegpt.paper import Row as PaperRow
from wholegpt.zeroshot.statistics import mean
from wholegpt.zeroshot.task import Figure, Row


@dataclass(frozen=True)
class Likelihood:
    """The negative log-probability of a text [nats] and its size; words are what white space separates.

    The units of the original text are what makes models with different vocabularies comparable: perplexity per word
    and bits per byte are, perplexity per token is not.

    >>> Likelihood(nats=693.147, tokens=500, words=250, bytes=1000).figures()["bits_per_byte"]
    1.0
    """

    nats: float
    tokens: int
    words: int
    bytes: int

    def __add__(self, other: "Likelihood") -> "Likelihood":
        return Likelihood(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.words + other.words,
            self.bytes + other.bytes,
        )

    def figures(self) -> dict[str, float]:
        """All units; infinity where a text has none of one."""
        return {
            "nats": round(self.nats, 4),
            "token_perplexity": round(perplexity(self.nats, self.tokens), 4),
            "word_perplexity": round(perplexity(self.nats, self.words), 4),
            "bits_per_byte": round(self.nats / math.log(2) / self.bytes, 5) if self.bytes else math.inf,
        }


NOTHING = Likelihood(0.0, 0, 0, 0)


def perplexity(nats: float, units: int) -> float:
    """e to the nats a unit; infinity without units, or beyond what a float holds."""
    return math.exp(nats / units) if units and nats / units < 700 else math.inf


def mean_perplexity(key: str, paper: PaperRow | None = None) -> Figure:
    """e to the mean of a number of nats of every row."""
    nats = mean(key)

    def value(rows: Sequence[Row]) -> float:
        return perplexity(nats.value(rows), 1)

    def error(rows: Sequence[Row]) -> float:
        return value(rows) * (nats.error(rows) if nats.error else math.nan)

    return Figure(value, False, error, paper)


def perplexity_figure(unit: str, variant: str = "", paper: PaperRow | None = None) -> Figure:
    """Perplexity per `unit` of rows with `nats`, `tokens` and that unit; of those of one variant, if there are more."""

    def value(rows: Sequence[Row]) -> float:
        nats, units, _ = _totals(rows, unit, variant)
        return perplexity(nats, units)

    def error(rows: Sequence[Row]) -> float:
        return value(rows) * _totals(rows, unit, variant)[2]

    return Figure(value, False, error, paper)


def bits_figure(variant: str = "", paper: PaperRow | None = None) -> Figure:
    """Bits per byte of such rows."""

    def value(rows: Sequence[Row]) -> float:
        nats, size, _ = _totals(rows, "bytes", variant)
        return nats / math.log(2) / size if size else math.inf

    def error(rows: Sequence[Row]) -> float:
        return _totals(rows, "bytes", variant)[2] / math.log(2)

    return Figure(value, False, error, paper)


def _totals(rows: Sequence[Row], unit: str, variant: str) -> tuple[float, int, float]:
    """Nats and units of all rows, and the standard error of their ratio by the delta method.

    The samples' scatter is taken about the nats a token, for the words of a sample may end in the next one.
    """
    chosen = [row for row in rows if row.get("variant", "") == variant]
    nats, units = math.fsum(row["nats"] for row in chosen), sum(row[unit] for row in chosen)
    tokens = sum(row["tokens"] for row in chosen)
    if len(chosen) < 2 or not units:
        return nats, units, math.nan
    scatter = math.fsum((row["nats"] - nats / tokens * row["tokens"]) ** 2 for row in chosen)
    return nats, units, math.sqrt(scatter * len(chosen) / (len(chosen) - 1)) / units
