"""The table of results on a terminal: task, paper, what others get, ours, the difference, the protocol, notes."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from wholegpt.zeroshot.results import number

COLUMNS = ("task", "paper", "others get", "ours", "difference", "protocol", "notes")


def show(results: Sequence[Mapping[str, Any]], missing: Mapping[str, str]) -> None:
    """Print the lines of all results, and a row for each task without data that says how to get it."""
    table = Table(show_lines=True)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("task", "protocol", "notes") else "right")
    for result in results:
        for line in result["table"]:
            table.add_row(*_cells(next(iter(result["results"])), line))
    for name, way in missing.items():
        table.add_row(name, "", "", "", "", "", way)
    Console().print(table)


def _cells(task: str, line: Mapping[str, Any]) -> list[str]:
    ours, published = line["ours"], line["paper"]
    error = f" ± {number(line['error'])}" if isinstance(line["error"], float) else ""
    apart = number(ours - published) if isinstance(ours, float) and published is not None else ""
    notes = [*([line["verdict"]] if line["verdict"] else []), *line["notes"]]
    return [
        f"{task}\n{line['figure'].removesuffix(',none').replace(',', ' ')}",
        f"{published} ({line['size']})" if published is not None else "",
        f"{line['others']} ({line['source']})" if line["others"] is not None else "",
        f"{number(ours)}{error}",
        f"+{apart}" if apart and not apart.startswith("-") else apart,
        line["protocol"],
        "; ".join(notes),
    ]
