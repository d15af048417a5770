"""The results on a terminal: the paper's number, others' and ours, and with each task its protocol and notes."""

from collections.abc import Mapping, Sequence
from typing import Any

from wholegpt.zeroshot.results import number

HEADINGS = ("", "paper", "others get", "ours", "difference")


def text(results: Sequence[Mapping[str, Any]], missing: Mapping[str, str]) -> str:
    """The lines of all results, and of each task without data how to get it.

    Columns are as wide as their content, so the table fits 80 columns; what has no bound stands in lines of its own.
    """
    rows = [[_cells(line) for line in result["table"]] for result in results]
    columns = zip(HEADINGS, *(row for group in rows for row in group), strict=True)
    widths = [max(map(len, column)) for column in columns]
    written = [_aligned(HEADINGS, widths)]
    for result, cells in zip(results, rows, strict=True):
        (name,) = result["results"]
        written.append(f"{name}: {result['table'][0]['protocol']}")
        written += [_aligned(row, widths) for row in cells]
        written += [f"    {note}" for note in _notes(result["table"])]
    written += [f"{name}: no data here; {way}" for name, way in missing.items()]
    return "\n".join(written)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = cells
    aligned = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join((f"  {name.ljust(widths[0])}", *aligned)).rstrip()


def _cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    ours, published = line["ours"], line["paper"]
    error = f" ± {number(line['error'])}" if isinstance(line["error"], float) else ""
    apart = f"{ours - published:+,.2f}" if isinstance(ours, float) and published is not None else ""
    return (
        line["figure"].removesuffix(",none").replace(",", " ").replace("_", " "),
        f"{published} ({line['size']})" if published is not None else "",
        str(line["others"]) if line["others"] is not None else "",
        f"{number(ours)}{error}",
        apart,
    )


def _notes(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Verdicts, sources, labels, and the figures that have no line; each once."""
    notes = [f"{line['figure']}: {line['verdict']}" for line in lines if line["verdict"]]
    notes += [note for line in lines for note in line["notes"]]
    notes += [f"others: {line['others']} by {line['source']}" for line in lines if line["others"] is not None]
    return list(dict.fromkeys(notes))
