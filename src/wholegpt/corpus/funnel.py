"""The funnel: how many documents went into each stage, how many came out, and why the others did not.

Stages count under keys like `language/in`, `language/out`, `language/reason/not-en`; in - out is the sum of the
reasons.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wholegpt import artifact

FUNNEL = "funnel.json"


def funnel(counts: Mapping[str, int], stages: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of the stages that counted something, in order.

    >>> funnel({"language/in": 3, "language/out": 2, "language/reason/not-en": 1}, ["read", "language"])
    [{'stage': 'language', 'in': 3, 'out': 2, 'reasons': {'not-en': 1}}]
    """
    return [
        {
            "stage": stage,
            "in": counts.get(f"{stage}/in", 0),
            "out": counts.get(f"{stage}/out", 0),
            "reasons": _reasons(counts, f"{stage}/reason/"),
        }
        for stage in stages
        if f"{stage}/in" in counts
    ]


def write(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write `funnel.json`."""
    artifact.write_json(folder / FUNNEL, list(rows))


def _reasons(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Reasons, the most frequent first."""
    found = {key.removeprefix(prefix): count for key, count in counts.items() if key.startswith(prefix) and count}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
