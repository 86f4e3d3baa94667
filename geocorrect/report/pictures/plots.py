"""The charts of the report as PNG files, for slides and documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geocorrect.catalog.views.palette import STATUS_COLOURS
from geocorrect.errors import Status
from geocorrect.geometry.frame import Frame
from geocorrect.records import Float
from geocorrect.report.contents import Contents, Photo
from geocorrect.report.pictures.figure import draw_dots, saved_figure
from geocorrect.report.statistics import finite, median_of
from geocorrect.report.summary import reason_counts
from geocorrect.report.truth import LonLat
from geocorrect.report.wording import length_with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {status: STATUS_COLOURS[status.value] for status in Status}
MARKERS = {Status.ACCEPTED: "o", Status.REVIEW: "s", Status.REJECTED: "x"}
REPORTED, ANCHOR, INK = "#d55e00", "#7c8794", "#1b2430"
STYLE: Any = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9aa4af", "text.color": INK,
}  # fmt: skip
DPI = 150
SHORTEST_M = 0.001
"""Errors below a millimetre are drawn there: the axis is logarithmic."""


def draw_plots(contents: Contents, folder: Path) -> list[Path]:
    """Write map.png, displacement.png, predicted_error.png, reasons.png and, with truth, calibration.png."""
    plots: dict[str, tuple[Callable[[Axes, Contents], None], tuple[float, float]]] = {
        "map": (_map, (9.0, 6.5)),
        "displacement": (_displacement, (6.0, 4.0)),
        "predicted_error": (_predicted, (6.0, 4.0)),
        "reasons": (_reasons, (6.0, 3.2)),
    }
    if contents.has_truth:
        plots["calibration"] = (_calibration, (5.0, 4.6))
    paths = [folder / f"{name}.png" for name in plots]
    for path, (draw, size_inch) in zip(paths, plots.values(), strict=True):
        with saved_figure(path, size_inch, DPI, STYLE) as figure:
            draw(figure.add_subplot(), contents)
    return paths


def _map(axes: Axes, contents: Contents) -> None:
    frame = contents.frame
    for line in contents.routes:
        axes.plot(*_metres(frame, line).T, color="#e3e0d9", linewidth=7, solid_capstyle="round", zorder=0)
    for ring in contents.outlines:
        axes.fill(*_metres(frame, ring).T, facecolor="#eeebe4", edgecolor="#cfc9bc", linewidth=0.7, zorder=0.5)
    anchors = _metres(frame, contents.anchors)
    draw_dots(axes, anchors, s=12, marker="^", c=ANCHOR, label=f"anchor ({len(anchors):,})", zorder=1)
    moved = [p for p in contents.corrected if np.isfinite(p.stored.reported_lon_deg)]
    start, end = _metres(frame, [p.reported_place for p in moved]), _metres(frame, [p.place for p in moved])
    shape: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.0014, "zorder": 2}
    axes.quiver(*start.T, *(end - start).T, color=[COLOURS[p.status] for p in moved], alpha=0.7, **shape)
    draw_dots(axes, start, s=12, facecolor="white", edgecolor=REPORTED, label=f"reported ({len(moved):,})", zorder=3)
    _scatter_by_status(axes, contents.photos, frame)
    _fit(axes, np.concatenate([start, end, anchors]))
    axes.set(title="Reported and corrected positions", xlabel="metres east", ylabel="metres north")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=5, frameon=False)


def _fit(axes: Axes, points: Any) -> None:
    """All of the points, whatever buildings stand around them."""
    if len(points):
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.05 * float((high - low).max()) + 1.0
        axes.set_xlim(low[0] - margin, high[0] + margin)
        axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.set_aspect("equal", adjustable="box")


def _scatter_by_status(axes: Axes, photos: Sequence[Photo], frame: Frame) -> None:
    for status in Status:
        chosen = [photo for photo in photos if photo.status is status]
        if not chosen:
            continue
        rejected = status is Status.REJECTED
        places = [p.reported_place if rejected else p.place for p in chosen]
        style: dict[str, Any] = {"marker": MARKERS[status], "color": COLOURS[status], "zorder": 4}
        draw_dots(axes, _metres(frame, places), s=22 if rejected else 14, label=f"{status} ({len(chosen):,})", **style)


def _displacement(axes: Axes, contents: Contents) -> None:
    groups = [finite(p.stored.displacement_m for p in contents.of_status(s)) for s in (Status.ACCEPTED, Status.REVIEW)]
    _histogram(axes, groups, np.linspace(0, max(0.1, *(group.max(initial=0.0) for group in groups)), 25))
    axes.set(xlabel="distance from the reported to the corrected position (m)", ylabel="photos")
    axes.set_title(_titled("How far the photos moved", groups))


def _predicted(axes: Axes, contents: Contents) -> None:
    groups = [finite(p.expected_error_m for p in contents.of_status(s)) for s in (Status.ACCEPTED, Status.REVIEW)]
    known = [np.maximum(group, SHORTEST_M) for group in groups]
    every = np.concatenate([*known, [0.01, 1.0]]) if not sum(map(len, known)) else np.concatenate(known)
    _histogram(axes, known, np.geomspace(every.min() / 1.1, every.max() * 1.1, 29))
    _logarithmic(axes, "x")
    axes.set(xlabel="predicted horizontal error, 68 % (m)", ylabel="photos")
    axes.set_title(_titled("Predicted error", groups))


def _histogram(axes: Axes, groups: Sequence[Any], edges: Any) -> None:
    colours = [COLOURS[Status.ACCEPTED], COLOURS[Status.REVIEW]]
    axes.hist(groups, bins=edges, stacked=True, color=colours, label=["accepted", "review"])
    if len(groups[0]):
        axes.axvline(float(np.median(groups[0])), color=INK, linestyle="--", linewidth=1)
    axes.legend(frameon=False)


def _reasons(axes: Axes, contents: Contents) -> None:
    rows = reason_counts(contents.photos)[::-1]
    names, counts = [reason.replace("_", " ") for reason, _ in rows], [n for _, n in rows]
    axes.bar_label(axes.barh(names, counts, color=COLOURS[Status.REJECTED]), padding=4)
    axes.set(xlabel="photos", title=f"Rejected, by reason (n = {sum(counts):,})")


def _calibration(axes: Axes, contents: Contents) -> None:
    known = [photo for photo in contents.corrected if photo.true_error_m >= 0]
    for status in (Status.ACCEPTED, Status.REVIEW):
        placed = [photo for photo in contents.of_status(status) if photo.true_error_m >= 0]
        chosen = [(p.expected_error_m, max(p.true_error_m, SHORTEST_M)) for p in placed]
        if chosen:
            draw_dots(
                axes, np.array(chosen), s=16, alpha=0.6, color=COLOURS[status], marker=MARKERS[status], label=status
            )
    _logarithmic(axes, "x")
    _logarithmic(axes, "y")
    low, high = min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color=INK, linestyle="--", linewidth=1)
    inside = sum(photo.true_error_m <= photo.expected_error_m for photo in known)
    axes.set(xlabel="predicted error, 68 % (m)", ylabel="true horizontal error (m)", aspect="equal")
    axes.set_title(f"Within the prediction: {inside} of {len(known)}\n(68 % promised)")
    axes.legend(frameon=False)


def _logarithmic(axes: Axes, name: str) -> None:
    """A logarithmic axis labelled with plain numbers: 0.05, not a power."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _titled(title: str, groups: Sequence[Any]) -> str:
    median = median_of(np.concatenate(groups))
    return f"{title}\nmedian {length_with_interval(median)}, n = {median.n:,}"


def _metres(frame: Frame, places: Sequence[LonLat]) -> Float:
    """(N, 2) metres east and north of the frame's origin."""
    lon, lat = np.array(places, float).reshape(-1, 2).T
    return frame.enu_from_wgs84(lon, lat, frame.height_m)[:, :2]
