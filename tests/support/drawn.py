"""Figures of an evaluation as matplotlib objects, whose data a test can read; nothing is rendered."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geocorrect.evaluate.render import Picture


def panels(picture: Picture) -> dict[str, Axes]:
    """The axes of a figure by title; those without one by their number."""
    figure = Figure(figsize=picture.size_inch)
    picture.draw(figure)
    return {axes.get_title() or str(number): axes for number, axes in enumerate(figure.axes)}
