"""The picture of `geocorrect localize`: matches with the best anchor, epipolar residuals, the pose on a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import Status
from geocorrect.geometry.frame import pitch_roll_deg
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize.correct import LocalizationResult
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.solution import Solution
from geocorrect.localize.verify import sampson_rad
from geocorrect.records import AnchorView, Correction, Float, ImageArray, Query
from geocorrect.report.pictures.figure import saved_figure, scaled_by

Bool = NDArray[np.bool_]
WIDTH_IN = 15.0
HEIGHT_PX = 700
NO_BASELINE_M = 0.02
"""An anchor this close has no epipolar lines; the angle between the rays takes their place."""
MAX_LINES = 150
INLIER, OUTLIER = "#2ca02c", "#d62728"


@dataclass(frozen=True, eq=False)
class PictureFacts:
    """What is drawn."""

    query: Query
    localization: LocalizationResult
    views: tuple[AnchorView, ...]
    """The anchors that were matched."""
    lines: tuple[str, ...] = ()
    """The answer in words."""


def draw_localization(facts: PictureFacts, path: Path) -> None:
    """Write a PNG, whole or not at all; OutputError naming it. Without a pose it shows how far the method got."""
    title, pair = _title(facts), _Pair.of(facts)
    pair_in = min(WIDTH_IN * pair.canvas.shape[0] / pair.canvas.shape[1], 6.0)
    with saved_figure(path, (WIDTH_IN, pair_in + 5.2 + 0.21 * len(title)), 110) as figure:
        figure.suptitle("\n".join(title), ha="left", x=0.01, fontsize=10.5, linespacing=1.35)
        grid = figure.add_gridspec(2, 3, height_ratios=[pair_in + 0.3, 4.6], width_ratios=[1.45, 1.0, 0.75])
        _draw_matches(figure.add_subplot(grid[0, :]), pair)
        _draw_residuals(figure, figure.add_subplot(grid[1, 0]), facts)
        draw_map(figure.add_subplot(grid[1, 1]), facts.query, facts.localization, facts.views)
        draw_zoom(figure.add_subplot(grid[1, 2]), facts.localization)


@dataclass(frozen=True)
class _Upright:
    """Quarter turns that bring the raw sensor picture upright, as its pose says; none without a pose."""

    turns: int
    size: tuple[int, int]

    @classmethod
    def of(cls, facts: PictureFacts) -> _Upright:
        solution, size = facts.localization.solution, (facts.query.camera.width, facts.query.camera.height)
        roll_deg = 0.0 if solution is None else pitch_roll_deg(solution.world_from_cam)[1]
        return cls(round(roll_deg / 90.0) % 4 if np.isfinite(roll_deg) else 0, size)

    def turned(self, pixels: ImageArray) -> ImageArray:
        """The picture upright."""
        return np.ascontiguousarray(np.rot90(pixels, self.turns))

    def moved(self, px: Float) -> Float:
        """Pixels (N, 2) of the raw picture in the upright one."""
        u, v = px[:, 0], px[:, 1]
        right, bottom = self.size[0] - 1, self.size[1] - 1
        columns = {0: (u, v), 1: (v, right - u), 2: (right - u, bottom - v), 3: (bottom - v, u)}[self.turns]
        return np.stack(columns, axis=1)


def _title(facts: PictureFacts) -> list[str]:
    result = facts.localization.result
    status = result.status if isinstance(result, Correction) else Status.REJECTED
    return [f"{facts.query.image_id}: {status.value}", *(line for line in facts.lines if line != status.value)]


@dataclass(frozen=True, eq=False)
class _Pair:
    """The photo beside the anchor with most inliers (without a pose: most verified matches)."""

    canvas: ImageArray
    title: str
    start: Float
    """(N, 2) pixels of the canvas where the matches lie in the photo."""
    end: Float
    """(N, 2) the same in the anchor."""
    inlier: Bool
    """(N,)"""
    rejected: Bool
    """(N,); matches that the solver did not use are neither."""

    @classmethod
    def of(cls, facts: PictureFacts) -> _Pair:
        upright, used = _Upright.of(facts), facts.localization.observations
        photo, photo_scale = _at_height(upright.turned(facts.query.pixels))
        if not used:
            none = np.zeros(0, bool)
            title = "no anchor has matches that two views of a static scene can explain"
            return cls(photo, title, np.zeros((0, 2)), np.zeros((0, 2)), none, none)
        masks = _masks(facts)
        best = int(np.argmax([inlier.sum() or len(inlier) * 1e-6 for inlier, _ in masks]))
        o, (inlier, rejected) = used[best], masks[best]
        view = next(view for view in facts.views if view.anchor.id == o.anchor.id)
        anchor, anchor_scale = _at_height(view.pixels)
        gap = np.full((HEIGHT_PX, 12, 3), 255, np.uint8)
        title = (
            f"matches with anchor {o.anchor.id}: {o.n_matches} found, {len(o)} fit two views of a static scene; "
            f"{int(inlier.sum())} inliers (green), {int(rejected.sum())} rejected (red)"
        )
        end = o.anchor_px * anchor_scale + [photo.shape[1] + gap.shape[1], 0]
        return cls(
            np.hstack([photo, gap, anchor]), title, upright.moved(o.query_px) * photo_scale, end, inlier, rejected
        )


def _masks(facts: PictureFacts) -> list[tuple[Bool, Bool]]:
    """Per anchor (inlier, rejected) of its matches; without a pose all are rejected."""
    solution, used = facts.localization.solution, facts.localization.observations
    if solution is None:
        return [(np.zeros(len(o), bool), np.ones(len(o), bool)) for o in used]
    return [(fit.inliers, ~fit.inliers & np.isfinite(fit.residual_px)) for fit in solution.fits]


def _draw_matches(axes: Any, pair: _Pair) -> None:
    axes.set_axis_off()
    axes.imshow(pair.canvas)
    axes.set_title(pair.title, fontsize=10)
    for rows, colour in ((pair.rejected, OUTLIER), (pair.inlier, INLIER)):
        for row in _spread(np.flatnonzero(rows)):
            line = np.stack([pair.start[row], pair.end[row]])
            axes.plot(line[:, 0], line[:, 1], color=colour, linewidth=0.6, alpha=0.55)
        for points in (pair.start[rows], pair.end[rows]):
            axes.plot(points[:, 0], points[:, 1], ".", color=colour, markersize=2.5)


def _draw_residuals(figure: Any, axes: Any, facts: PictureFacts) -> None:
    """How far each match is from its epipolar line under the solution, in pixels of the photo."""
    upright = _Upright.of(facts)
    axes.imshow(cv2.cvtColor(upright.turned(facts.query.pixels), cv2.COLOR_RGB2GRAY), cmap="gray", alpha=0.6)
    axes.set_axis_off()
    solution = facts.localization.solution
    if solution is None:
        axes.set_title("no pose, no residuals", fontsize=10)
        return
    raw_px, residual = _residuals(facts.query, facts.localization.observations, solution)
    px = upright.moved(raw_px)
    inlier, rejected = (np.concatenate(parts) for parts in zip(*_masks(facts), strict=True))
    axes.plot(*px[rejected].T, "x", color=OUTLIER, markersize=3, alpha=0.4)
    top = float(max(np.percentile(residual[inlier], 95), 0.5)) if inlier.any() else 1.0
    dots = axes.scatter(*px[inlier].T, c=residual[inlier], s=8, cmap="viridis_r", vmin=0, vmax=top)
    figure.colorbar(dots, ax=axes, label="distance from the epipolar line, px", shrink=0.75, extend="max")
    median = float(np.median(residual[inlier])) if inlier.any() else float("nan")
    axes.set_title(
        f"epipolar residuals with all {len(solution.fits)} anchors: median {median:.2f} px, n = {int(inlier.sum())}",
        fontsize=10,
    )


def _residuals(query: Query, observations: Sequence[Observations], solution: Solution) -> tuple[Float, Float]:
    """(px (N, 2), residual (N,) px) of the matches with all anchors, with the photo's camera as it was estimated."""
    camera = solution.query_camera or query.camera
    focal, parts = focal_px(camera), []
    for o in observations:
        query_from_anchor = solution.world_from_cam.inverse() @ o.anchor.world_from_cam
        rotation, direction = query_from_anchor.rotation.as_matrix(), query_from_anchor.translation_m
        rays = unit_rays(camera, o.query_px)
        if np.linalg.norm(direction) > NO_BASELINE_M:
            parts.append(focal * sampson_rad(rays, o.anchor_rays, rotation, direction))
        else:
            parts.append(focal * np.linalg.norm(np.cross(rays, o.anchor_rays @ rotation.T), axis=1))
    return np.concatenate([o.query_px for o in observations]), np.concatenate(parts)


def _at_height(pixels: ImageArray) -> tuple[ImageArray, Float]:
    """The photo at the height of the panel, and the scale (x, y) of its pixels."""
    return scaled_by(pixels, HEIGHT_PX / pixels.shape[0])


def _spread(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most MAX_LINES of the rows, evenly."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_LINES)).astype(int))] if len(rows) else rows


ELLIPSE_68, ELLIPSE_95 = 1.5096, 2.4477
"""Square roots of the 68 % and 95 % quantiles of chi-square with two degrees of freedom."""

REPORTED, CORRECTED, ANCHOR, UNUSED = "#d62728", "#2ca02c", "#1f77b4", "#9aa5b1"


def draw_map(axes: Any, query: Query, localization: LocalizationResult, views: Sequence[AnchorView]) -> None:
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


def draw_zoom(axes: Any, localization: LocalizationResult) -> None:
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


def _weights(localization: LocalizationResult) -> dict[str, float]:
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
