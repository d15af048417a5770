"""`wholegpt corpus stats`: what a corpus is made of, as tables and as a picture."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from wholegpt import artifact
from wholegpt.corpus.card import TABLES
from wholegpt.corpus.funnel import FUNNEL
from wholegpt.errors import UsageError, WholeGPTError, missing_extra

KIND_COLUMNS = {"hosts": "host", "languages": "language", "lengths": "characters, at least"}


@dataclass(frozen=True)
class StatsOptions:
    """Show the funnel, hosts, languages and lengths of a corpus (section 2.1)."""

    corpus: tyro.conf.Positional[Path]
    """A directory that `corpus build` or `corpus links` wrote."""
    rows: int = 20
    """Rows of each table."""
    plot: Path | None = None
    """A picture to draw (.png, .svg, .pdf)."""
    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        if self.plot and self.plot.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"--plot is {self.plot}, expected a name that ends in .png, .svg or .pdf")


def stats(options: StatsOptions) -> None:
    """Print the tables, and draw them."""
    found = read(options.corpus)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for table in _tables(found, options.rows):
            Console().print(table)
    if options.plot:
        draw(found, options.plot)


def read(corpus: Path) -> dict[str, Any]:
    """Counts, funnel and tables of a corpus; WholeGPTError where the directory has none."""
    manifest = artifact.read_manifest(corpus)
    if not (corpus / FUNNEL).is_file():
        raise WholeGPTError(f"{corpus} was written by `{manifest['verb']}`, which leaves no {FUNNEL}")
    tables = artifact.read_json(corpus / TABLES) if (corpus / TABLES).is_file() else {}
    return {"counts": manifest["counts"], "funnel": artifact.read_json(corpus / FUNNEL), **tables}


def _tables(found: dict[str, Any], rows: int) -> list[Table]:
    funnel = Table("stage", "in", "out", "reasons", title="funnel")
    for stage in found["funnel"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in stage["reasons"].items())
        funnel.add_row(stage["stage"], f"{stage['in']:,}", f"{stage['out']:,}", reasons)
    tables = [funnel]
    for kind, column in KIND_COLUMNS.items():
        if kind in found:
            table = Table(column, "documents", title=kind)
            for value, count in found[kind][:rows]:
                table.add_row(f"{value:,}" if isinstance(value, int) else value or "(none)", f"{count:,}")
            tables.append(table)
    return tables


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw what came out of each stage, the largest hosts, and the lengths, side by side."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise missing_extra("matplotlib", "report") from None
    pictures = [("documents after each stage", [(stage["stage"], stage["out"]) for stage in found["funnel"]])]
    pictures += [(kind, found[kind][:15]) for kind in KIND_COLUMNS if found.get(kind)]
    figure = Figure(figsize=(4 * len(pictures), 4), layout="constrained")
    for axes, (title, bars) in zip(figure.subplots(1, len(pictures), squeeze=False)[0], pictures, strict=True):
        axes.barh([str(name) or "(none)" for name, _ in bars][::-1], [count for _, count in bars][::-1])
        axes.set(title=title, xlabel="documents")
    with artifact.whole_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))
