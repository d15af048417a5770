"""`wholegpt train --sweep lr=0.001,0.003,0.01`: one training for each value, compared on the held-out part.

The paper's method (section 3): "the learning rate of each model was manually tuned for the best perplexity on a 5%
held-out sample". Any option that is a number can be swept.

    OUTPUT/lr-0.001/    a run like any other
    OUTPUT/sweep.json   the table, best first; written anew after each run

The same command goes on where it stopped. A training that fails, as those of too high a rate do, stands in the table
with its reason, and the others go on.
"""

import dataclasses
import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wholegpt import artifact
from wholegpt.artifact import Artifact
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.progress import duration, say

if TYPE_CHECKING:
    from wholegpt.training.loop import TrainOptions

TABLE = "sweep.json"
SHORT = {"lr": "learning_rate", "muon_lr": "muon_learning_rate", "wd": "weight_decay"}
HELD_OUT = "held_out_bits_per_byte"


def run(options: "TrainOptions", train: "Callable[[TrainOptions], Artifact]") -> list[dict[str, Any]]:
    """Train once for each value, print the table and return its rows, best first; WholeGPTError where all fail."""
    word, name, values = parse(options)
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for written, value in values.items():
        folder = options.output / f"{word}-{written}"
        say(f"sweep {len(rows) + 1}/{len(values)}: {name} {written}")
        changes: dict[str, Any] = {name: value, "output": folder, "sweep": ""}
        rows.append({name: value, "folder": folder.name, **_outcome(dataclasses.replace(options, **changes), train)})
        artifact.write_json(options.output / TABLE, {"option": name, "runs": sorted(rows, key=_by_held_out)})
    rows.sort(key=_by_held_out)
    print(_table(name, rows))
    if all(HELD_OUT not in row for row in rows):
        raise WholeGPTError(f"every training of the sweep failed: {rows[0]['failed']}")
    return rows


def parse(options: "TrainOptions") -> tuple[str, str, dict[str, int | float]]:
    """The word before `=`, the option it means, and the values as they were written and as numbers.

    Raises UsageError for what is no option of numbers, or no number of its kind.
    """
    word, equals, listed = options.sweep.partition("=")
    word = word.strip().lstrip("-").replace("-", "_")
    name = SHORT.get(word, word)
    numbers = {name: value for name, value in vars(options).items() if type(value) in (int, float)}
    if not equals or name not in numbers:
        near = difflib.get_close_matches(name, [*numbers, *SHORT], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"--sweep is {options.sweep!r}, expected an option with numbers, as in lr=0.001,0.003{hint}")
    kind = type(numbers[name])
    try:
        values = {written.strip(): kind(written) for written in listed.split(",")}
    except ValueError:
        raise UsageError(f"--sweep is {options.sweep!r}, expected numbers of the kind {kind.__name__}") from None
    return word, name, values


def _outcome(options: "TrainOptions", train: "Callable[[TrainOptions], Artifact]") -> dict[str, Any]:
    try:
        counts = train(options).counts
    except UsageError:
        raise
    except WholeGPTError as error:
        say(f"failed: {error}")
        return {"failed": str(error)}
    return {key: counts[key] for key in (HELD_OUT, "tokens", "seconds")}


def _by_held_out(row: dict[str, Any]) -> float:
    return float(row.get(HELD_OUT, float("inf")))


def _table(name: str, rows: list[dict[str, Any]]) -> str:
    width = max(len(name), *(len(str(row[name])) for row in rows))
    lines = [f"{name:>{width}}  bits per byte, held out  time"]
    for row in rows:
        result = row.get("failed") or f"{row[HELD_OUT]:>23.4f}  {duration(row['seconds'])}"
        lines.append(f"{row[name]:>{width}}  {result}")
    return "\n".join(lines)
