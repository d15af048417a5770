"""Figures as SVG that take the colour of the page's text, so that they are readable in light and dark."""

import io
import re
from collections.abc import Sequence
from typing import Any

from wholegpt.errors import missing_extra

# The ink that matplotlib draws with; the page replaces it by `currentColor`.
INK = "#123456"
ACCENT = "#d2691e"

Points = Sequence[tuple[float, float]]


def curve(points: Points, marks: Points, x_label: str, y_label: str) -> str:
    """A smoothed line through noisy points, and marks joined by dashes, as an SVG element."""
    figure, axes = _axes(7.2, 3.2)
    axes.plot(*zip(*points, strict=True), color=INK, alpha=0.25, linewidth=0.8)
    axes.plot(*zip(*_smooth(points), strict=True), color=INK, linewidth=1.6, label="training text (running mean)")
    if marks:
        looks = zip(*marks, strict=True)
        axes.plot(*looks, color=ACCENT, marker="o", linestyle="--", markersize=4, label="held-out text")
    lowest = min(y for _, y in [*_smooth(points), *marks])
    axes.set_ylim(lowest * 0.9, min(max(y for _, y in points), lowest * 3))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(frameon=False, labelcolor=INK)
    return _svg(figure)


def bars(values: dict[str, float], highlighted: str, x_label: str) -> str:
    """Horizontal bars with their values, one of them highlighted, as an SVG element."""
    figure, axes = _axes(7.2, 0.42 * len(values) + 0.8)
    names = list(values)[::-1]
    colours = [ACCENT if name == highlighted else INK for name in names]
    drawn = axes.barh(names, [values[name] for name in names], color=colours, height=0.62)
    axes.bar_label(drawn, fmt="%.2f", padding=4, color=INK)
    axes.set_xlabel(x_label)
    axes.margins(x=0.12)
    return _svg(figure)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise missing_extra("matplotlib", "report") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    return figure, axes


def _smooth(points: Points) -> list[tuple[float, float]]:
    """The running mean over the last twentieth of the points."""
    span = max(1, len(points) // 20)
    result = []
    for index, (x, _) in enumerate(points):
        recent = [y for _, y in points[max(0, index + 1 - span) : index + 1]]
        result.append((x, sum(recent) / len(recent)))
    return result


def _svg(figure: Any) -> str:
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "wholegpt", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    element = stream.getvalue()[stream.getvalue().index("<svg") :]
    element = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", element)
    element = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", element)
    return element.replace(INK, "currentColor")
