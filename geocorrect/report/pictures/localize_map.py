"""The map panels of one localisation: the pose among its anchors, and its error ellipse at its own scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import TracedResult
from geocorrect.records import AnchorView, Correction, Float, Query

ELLIPSE_68, ELLIPSE_95 = 1.5096, 2.4477
"""Square roots of the 68 % and 95 % quantiles of chi-square with two degrees of freedom."""

REPORTED, CORRECTED, ANCHOR, UNUSED = "#d62728", "#2ca02c", "#1f77b4", "#9aa5b1"


def draw_map(axes: Any, query: Query, localization: TracedResult, views: Sequence[AnchorView]) -> None:
    """Metres east and north of the pose (of the reported position without one), anchors as wedges that look."""
    solution, reported_m = localization.solution, query.reported_enu_m[:2]
    pose = None if solution is None else solution.world_from_cam
    origin = reported_m if pose is None else pose.translation_m[:2]
    if not np.isfinite(origin).all():
        origin = np.mean([view.anchor.world_from_cam.translation_m[:2] for view in views], axis=0)
    weights = _weights(localization)
    places = np.array([view.anchor.world_from_cam.translation_m[:2] for view in views]).reshape(-1, 2) - origin
    size_m = 0.05 * max(float(np.ptp(np.vstack([places, np.zeros((1, 2))]), axis=0).max()), 5.0)
    for view in views:
        weight = weights.get(view.anchor.id, 0.0)
        at = view.anchor.world_from_cam.translation_m[:2] - origin
        if pose is not None and weight > 0:
            axes.plot([at[0], 0], [at[1], 0], color=ANCHOR, alpha=0.2 + 0.6 * weight, linewidth=1)
        _wedge(axes, view.anchor.world_from_cam, at, ANCHOR if weight > 0 else UNUSED, size_m)
    for colour, label, used in ((ANCHOR, "anchor in use", True), (UNUSED, "anchor not in use", False)):
        if any((weights.get(view.anchor.id, 0.0) > 0) is used for view in views):
            axes.plot([], [], "^", color=colour, label=label)
    if np.isfinite(reported_m).all():
        there = reported_m - origin
        axes.plot(*there, "o", color=REPORTED, label="reported")
        if pose is not None:
            axes.annotate("", (0, 0), there, arrowprops={"arrowstyle": "->", "color": "0.35"})
    if pose is not None:
        accepted = isinstance(localization.result, Correction)
        colour, label = (CORRECTED, "corrected") if accepted else ("0.4", "found, but rejected")
        _wedge(axes, pose, np.zeros(2), colour, 1.4 * size_m)
        axes.plot(0, 0, "o", color=colour, label=label)
        _ellipse(axes, pose, ELLIPSE_95, 1.0, label="95 % ellipse")
    _frame(axes, "m", "datalim")
    axes.set_title("map, north up", fontsize=10)
    axes.legend(fontsize=8, loc="best")


def draw_zoom(axes: Any, localization: TracedResult) -> None:
    """The ellipses at their own scale, which on the map are often smaller than a dot."""
    solution = localization.solution
    covariance = None if solution is None else solution.world_from_cam.covariance
    if solution is None or covariance is None:
        axes.set_axis_off()
        return
    extent_m = ELLIPSE_95 * float(np.sqrt(max(np.linalg.eigvalsh(covariance[:2, :2])[1], 1e-12)))
    unit, scale = ("cm", 100.0) if extent_m < 1.0 else ("m", 1.0)
    _ellipse(axes, solution.world_from_cam, ELLIPSE_95, scale, label="95 %")
    _ellipse(axes, solution.world_from_cam, ELLIPSE_68, scale, label="68 %", linestyle="--")
    axes.plot(0, 0, "+", color=CORRECTED, markersize=12)
    forward = solution.world_from_cam.rotation.as_matrix()[:2, 2]
    length = np.linalg.norm(forward)
    if length > 1e-6:
        tip = forward / length * extent_m * scale * 1.15
        axes.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "->", "color": CORRECTED})
    axes.set_xlim(-1.35 * extent_m * scale, 1.35 * extent_m * scale)
    axes.set_ylim(-1.35 * extent_m * scale, 1.35 * extent_m * scale)
    _frame(axes, unit, "box")
    axes.set_title("error ellipse and heading", fontsize=10)
    axes.legend(fontsize=8, loc="upper right")


def _weights(localization: TracedResult) -> dict[str, float]:
    """Share of inliers among its matches, per anchor that the solution uses."""
    if localization.solution is None:
        return {}
    pairs = zip(localization.observations, localization.solution.fits, strict=True)
    return {o.anchor.id: float(fit.inliers.mean()) for o, fit in pairs if fit.weight > 0}


def _wedge(axes: Any, pose: Pose, at: Float, colour: str, size: float) -> None:
    """A viewer as a narrow triangle that opens the way it looks; a dot when it looks straight up or down."""
    forward = pose.rotation.as_matrix()[:2, 2]
    length = float(np.linalg.norm(forward))
    if length < 1e-3:
        axes.plot(*at, ".", color=colour)
        return
    ahead = forward / length
    aside = np.array([-ahead[1], ahead[0]])
    corners = np.stack([at, at + size * (ahead + 0.45 * aside), at + size * (ahead - 0.45 * aside)])
    axes.fill(*corners.T, color=colour, alpha=0.35, linewidth=0)
    axes.plot(*at, ".", color=colour, markersize=5)


def _ellipse(axes: Any, pose: Pose, radius: float, scale: float, label: str, linestyle: str = "-") -> None:
    """An error ellipse about the origin; radius in standard deviations."""
    from matplotlib.patches import Ellipse

    if pose.covariance is None:
        return
    values, vectors = np.linalg.eigh(pose.covariance[:2, :2])
    width, height = 2 * radius * scale * np.sqrt(np.maximum(values[::-1], 0.0))
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    axes.add_patch(Ellipse((0.0, 0.0), width, height, angle=angle, fill=False, linestyle=linestyle, label=label))


def _frame(axes: Any, unit: str, adjustable: str) -> None:
    axes.set_aspect("equal", adjustable)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"east, {unit}")
    axes.set_ylabel(f"north, {unit}")
