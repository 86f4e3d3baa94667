"""A plan of the anchors with what the check found: where its neighbours see each of them, and how it is turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geocorrect.anchors.check import AnchorCheck
from geocorrect.geometry.frame import Frame
from geocorrect.records import AnchorIndex, Float
from geocorrect.report.pictures.figure import draw_dots, saved_figure
from geocorrect.report.pictures.plots import ANCHOR, DPI, INK, REPORTED, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONSISTENT, ASIDE = "#0072b2", REPORTED
"""Blue and vermilion, which every kind of colour vision tells apart; the markers differ, too."""
SIZE_INCH = 12.0, 7.5
LONGEST_SHARE = 0.1
"""Of the plan's longer side, that the longest arrows of a kind take: their enlargement is the round number below."""
MAX_ENLARGED = 1000.0
MAX_LABELS = 30
"""Ids that are written: those of the worst."""


def draw_anchor_check(check: AnchorCheck, index: AnchorIndex, frame: Frame, path: Path) -> None:
    """Write the picture as PNG, whole or not at all; OutputError names the file.

    Args:
        check: what was found.
        index: of all anchors.
        frame: theirs.
        path: of the picture.
    """
    consistent = [name for name in index.ids if name in check.views and name not in check.named]
    aside = [name for name in check.named if name in check.views]
    places = dict(zip(index.ids, index.enu_m[:, :2], strict=True))
    with saved_figure(path, SIZE_INCH, DPI, STYLE) as figure:
        plan, heading = figure.subplots(2, 1, height_ratios=[2.2, 1.0])
        _plan(plan, check, places, consistent, aside)
        plan.set_xlabel(f"m east of {frame.lon_deg:.5f}°")
        plan.set_ylabel(f"m north of {frame.lat_deg:.5f}°")
        _headings(heading, check, index.ids, consistent, aside)
        figure.suptitle(
            f"{len(check.views)} of {len(index.ids)} anchors judged, {len(check.named)} contradict their neighbours",
            x=0.01, ha="left",
        )  # fmt: skip


def _plan(
    axes: Axes, check: AnchorCheck, places: Mapping[str, Float], consistent: Sequence[str], aside: Sequence[str]
) -> None:
    """Records as markers; arrows lead to where the neighbours see them."""
    all_m = np.array(list(places.values()))
    extent_m = max(float(np.ptp(all_m, axis=0).max()), 1.0)
    unjudged = np.array([at for name, at in places.items() if name not in check.views]).reshape(-1, 2)
    if len(unjudged):
        draw_dots(axes, unjudged, s=18, facecolors="none", edgecolors=ANCHOR, label=f"not judged ({len(unjudged)})")
    for names, colour, marker, label in (
        (consistent, CONSISTENT, "o", "consistent"), (aside, ASIDE, "D", "contradicts its neighbours"),
    ):  # fmt: skip
        if not names:
            continue
        at_m = np.array([places[name] for name in names])
        correction_m = -np.array([check.views[name].shift[:2] for name in names])
        longest_m = float(np.linalg.norm(correction_m, axis=1).max())
        enlarged = _round_below(min(LONGEST_SHARE * extent_m / max(longest_m, 1e-6), MAX_ENLARGED))
        draw_dots(axes, at_m, s=22, color=colour, marker=marker, zorder=3, label=f"{label} ({len(names)})")
        scale: Any = {"angles": "xy", "scale_units": "xy", "scale": 1.0, "width": 0.0022, "zorder": 2}
        arrows = axes.quiver(*at_m.T, *(enlarged * correction_m).T, color=colour, **scale)
        bar_m = _round_below(longest_m)
        axes.quiverkey(
            arrows, 0.88, 1.07 if marker == "o" else 1.02, enlarged * bar_m, labelpos="W", coordinates="axes",
            label=f"correction ×{enlarged:g}: {_length(bar_m)}", labelcolor=INK,
        )  # fmt: skip
        axes.update_datalim(at_m + enlarged * correction_m)
    for name in aside[:MAX_LABELS]:
        axes.annotate(
            name, (places[name][0], places[name][1]), xytext=(6, 5), textcoords="offset points", fontsize=9, color=ASIDE
        )
    axes.margins(0.05)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title("Plan: records, and arrows to where their neighbours see them")
    axes.legend(loc="best", framealpha=0.9)
    axes.grid(alpha=0.3)


def _headings(
    axes: Axes, check: AnchorCheck, ids: Sequence[str], consistent: Sequence[str], aside: Sequence[str]
) -> None:
    """By how much the neighbours see an anchor turned; the bars are what its record and theirs may err by."""
    column = {name: number for number, name in enumerate(ids, 1)}
    for names, colour, marker in ((consistent, CONSISTENT, "o"), (aside, ASIDE, "D")):
        if not names:
            continue
        # A turn about the upward axis is counter-clockwise, a heading clockwise: view minus record.
        heading_deg = np.degrees([check.views[name].shift[5] for name in names])
        sigma_deg = np.degrees([np.sqrt(check.views[name].covariance(_factors(check))[5, 5]) for name in names])
        where = [column[name] for name in names]
        axes.errorbar(where, heading_deg, sigma_deg, fmt=marker, color=colour, markersize=4, linewidth=0.8)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set_title("Heading: the neighbours' view minus the record, ± 1 sigma")
    axes.set_xlabel("anchor, in the order of ids")
    axes.set_ylabel("degrees, clockwise")
    axes.grid(alpha=0.3)


def _factors(check: AnchorCheck) -> tuple[float, float]:
    position, rotation = (1.0 if np.isnan(factor) else factor for factor in check.noise)
    return position, rotation


def _round_below(value: float) -> float:
    """1, 2 or 5 times a power of ten, not above the value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * max(step for step in (1, 2, 5) if step * power <= value * (1 + 1e-9)))


def _length(metres: float) -> str:
    return f"{metres:g} m" if metres >= 1 else f"{100 * metres:g} cm" if metres >= 0.01 else f"{1000 * metres:g} mm"
