"""The funnel: how many documents went into each stage, how many came out, and why the others did not.

Stages count under keys like `language/in`, `language/out`, `language/reason/not-en`; in - out is the sum of the
reasons.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wholegpt import artifact

FUNNEL = "funnel.json"


def step(stage: str, entered: int, reasons: Mapping[str, int]) -> dict[str, Any]:
    """One row: what is not there for a reason came out; reasons that nobody had are left out, the most frequent is
    first."""
    found = {reason: count for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])) if count}
    return {"stage": stage, "in": entered, "out": entered - sum(found.values()), "reasons": found}


def funnel(counts: Mapping[str, int], stages: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of the stages that counted something, in order.

    >>> funnel({"language/in": 3, "language/out": 2, "language/reason/not-en": 1}, ["read", "language"])
    [{'stage': 'language', 'in': 3, 'out': 2, 'reasons': {'not-en': 1}}]
    """
    return [step(stage, counts[f"{stage}/in"], _reasons(counts, stage)) for stage in stages if f"{stage}/in" in counts]


def write(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write `funnel.json`."""
    artifact.write_json(folder / FUNNEL, list(rows))


def _reasons(counts: Mapping[str, int], stage: str) -> dict[str, int]:
    prefix = f"{stage}/reason/"
    return {key.removeprefix(prefix): count for key, count in counts.items() if key.startswith(prefix)}
