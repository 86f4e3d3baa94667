"""The picture of `geocorrect localize`: the photo with its inliers, and the pose among its anchors with its
95 % ellipse.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.localize.observations import Observations
from geocorrect.localize.solution import Solution
from geocorrect.records import Query

ELLIPSE_95 = 2.4477
"""Square root of the 95 % quantile of chi-square with two degrees of freedom."""


def draw_localization(query: Query, observations: Sequence[Observations], solution: Solution, path: Path) -> None:
    """Write a PNG: left the photo with matches coloured by residual (crosses: rejected), right the map in
    metres ENU.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    photo, plan = figure.subplots(1, 2, width_ratios=[1.5, 1])
    _draw_photo(figure, photo, query, observations, solution)
    _draw_plan(plan, query, observations, solution)
    figure.savefig(path, dpi=130)


def _draw_photo(figure: Any, axes: Any, query: Query, observations: Sequence[Observations], solution: Solution) -> None:
    axes.imshow(query.pixels)
    pairs = list(zip(observations, solution.fits, strict=True))
    out = np.concatenate([o.query_px[~f.inliers] for o, f in pairs])
    kept = np.concatenate([o.query_px[f.inliers] for o, f in pairs])
    residual = np.concatenate([f.residual_px[f.inliers] for _, f in pairs])
    axes.plot(out[:, 0], out[:, 1], "x", color="0.6", markersize=3, alpha=0.6)
    dots = axes.scatter(kept[:, 0], kept[:, 1], c=residual, s=7, cmap="viridis_r", vmin=0)
    figure.colorbar(dots, ax=axes, label="residual in the anchor image, px", shrink=0.7)
    axes.set_title(f"{query.image_id}: {len(kept)} inliers of {len(kept) + len(out)} verified matches")
    axes.set_axis_off()


def _draw_plan(axes: Any, query: Query, observations: Sequence[Observations], solution: Solution) -> None:
    from matplotlib.patches import Ellipse

    pose = solution.world_from_cam
    centre = pose.translation_m[:2]
    for o, fit in zip(observations, solution.fits, strict=True):
        at = o.anchor.world_from_cam.translation_m[:2]
        axes.plot(*zip(at, centre, strict=True), color="tab:blue", alpha=0.15 + 0.6 * float(fit.inliers.mean()))
        axes.plot(*at, "^", color="tab:blue")
    if np.isfinite(query.reported_enu_m[:2]).all():
        axes.plot(*query.reported_enu_m[:2], "o", color="tab:red", label="reported")
        axes.annotate("", centre, query.reported_enu_m[:2], arrowprops={"arrowstyle": "->", "color": "0.4"})
    axes.plot(*centre, "o", color="tab:green", label="corrected")
    forward = pose.rotation.as_matrix()[:2, 2]
    axes.arrow(*centre, *(2.0 * forward), head_width=0.4, color="tab:green")
    if pose.covariance is not None:
        values, vectors = np.linalg.eigh(pose.covariance[:2, :2])
        width, height = 2 * ELLIPSE_95 * np.sqrt(np.maximum(values[::-1], 0))
        angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
        axes.add_patch(Ellipse(tuple(centre), width, height, angle=angle, fill=False, label="95 %"))
    axes.plot([], [], "^", color="tab:blue", label="anchors")
    axes.set_aspect("equal", "datalim")
    axes.set_xlabel("east, m")
    axes.set_ylabel("north, m")
    axes.legend()
