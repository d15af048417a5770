"""Figures: SVG in the page's own colour, for few points as for many."""

import warnings
import xml.etree.ElementTree as ElementTree

import pytest

from wholegpt.report.figures import INK, _smooth, bars, curve


@pytest.mark.parametrize("steps", [1, 2, 3, 500])
@pytest.mark.parametrize("marks", [[], [(1, 3.0)]])
def test_a_curve_of_any_length(steps, marks):
    figure = curve([(step, 8 / (step + 1)) for step in range(steps)], marks, "step", "bits per byte")
    root = ElementTree.fromstring(figure)
    assert root.tag.endswith("svg")
    assert "width" not in root.attrib
    assert "height" not in root.attrib
    assert "viewBox" in root.attrib
    assert INK not in figure
    assert "currentColor" in figure
    assert ("held-out text" in figure) == bool(marks)
    assert "bits per byte" in figure


def test_the_same_figure_twice():
    assert curve([(1, 2.0), (2, 1.0)], [], "x", "y") == curve([(1, 2.0), (2, 1.0)], [], "x", "y")


def test_bars_show_names_and_values():
    figure = bars({"gzip -9": 2.564, "this model": 1.448}, "this model", "bits per byte")
    ElementTree.fromstring(figure)
    for shown in ("gzip -9", "this model", "2.56", "1.45"):
        assert shown in figure


def test_no_figure_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curve([(1, 5.0)], [(1, 5.0)], "step", "bits per byte")
        bars({"a": 0.0}, "a", "x")


def test_the_running_mean_by_hand():
    # Forty points: the mean of the last two.
    points = [(step, float(step % 2)) for step in range(40)]
    assert _smooth(points)[:3] == [(0, 0.0), (1, 0.5), (2, 0.5)]
    # Fewer than twenty: the points themselves.
    assert _smooth(points[:5]) == points[:5]
