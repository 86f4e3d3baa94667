"""A picture of a georeference that shows at a glance whether to trust it.

Left: the drive on the map, coloured by its predicted position error, clicks with their residuals magnified, outliers in
red. Right: the residual of every click, per image, and how far the cameras move when that image is left out.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.georeference.problem import Float
from geocorrect.georeference.result import Georeference
from geocorrect.io.atomic_file import atomic_path

MAGNIFICATION = 10.0
MARGIN_M = 30.0
TRACK_POINTS = 6000
GOOD, BAD, CAMERA = "#1b6ca8", "#c8102e", "#222222"


def draw_georeference(result: Georeference, path: Path, magnification: float = MAGNIFICATION) -> None:
    """Write the picture as PNG (whole or not at all). Only for results from clicks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 8), layout="constrained")
    FigureCanvasAgg(figure)
    plan, bars = figure.subplots(1, 2, width_ratios=[2.4, 1.0])
    _draw_plan(figure, plan, result, magnification)
    _draw_bars(bars, result)
    s = result.alignment.world_from_local
    figure.suptitle(
        f"{result.method}: {result.n_outliers} of {len(result.clicks)} clicks are outliers, "
        f"median of the rest {result.median_residual_m:.2f} m, scale {s.scale:.4f}, largest shift without one image "
        f"{result.camera_position_shift_m:.2f} m"
    )
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, dpi=110, format="png")


def _draw_plan(figure: Any, axes: Any, result: Georeference, magnification: float) -> None:
    track, sigma = result.track(TRACK_POINTS)
    dots = axes.scatter(track[:, 0], track[:, 1], c=sigma, s=6, cmap="viridis", zorder=1)
    figure.colorbar(dots, ax=axes, label="predicted position error along the drive, 1 sigma (m)", shrink=0.6)
    assert result.problem is not None
    local = np.array([image.local_from_cam.translation_m for image in result.problem.images])
    cameras = result.alignment.world_from_local.apply(local)
    axes.plot(cameras[:, 0], cameras[:, 1], "^", color=CAMERA, ms=8, label="clicked image", zorder=4)
    for image, place in zip(result.problem.images, cameras, strict=True):
        axes.annotate(_short(image.name), place[:2], xytext=(7, -12), textcoords="offset points", fontsize=9)
    for outlier, colour, label in ((False, GOOD, "click"), (True, BAD, "outlier")):
        chosen = [c for c in result.clicks if c.outlier is outlier and np.isfinite(c.reached_m).all()]
        if not chosen:
            continue
        mark = np.array([c.mark_m for c in chosen])
        shown = 1.0 if outlier else magnification
        step = (np.array([c.reached_m for c in chosen]) - mark) * shown
        text = f"{label}, residual ×{shown:g}"
        axes.plot(mark[:, 0], mark[:, 1], "o", color=colour, ms=4, label=text, zorder=3)
        axes.quiver(*mark.T, *step.T, color=colour, angles="xy", scale_units="xy", scale=1, width=0.002, zorder=3)
    _frame_clicks(axes, result, cameras)


def _frame_clicks(axes: Any, result: Georeference, cameras: Float) -> None:
    places = np.concatenate([cameras[:, :2], [c.mark_m for c in result.clicks]])
    low, high = places.min(axis=0) - MARGIN_M, places.max(axis=0) + MARGIN_M
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_xlabel(f"east of {result.alignment.frame.lon_deg:.5f}° (m)")
    axes.set_ylabel(f"north of {result.alignment.frame.lat_deg:.5f}° (m)")
    axes.legend(loc="best", framealpha=0.9)
    axes.grid(alpha=0.3)


def _draw_bars(axes: Any, result: Georeference) -> None:
    images = list(dict.fromkeys(click.image for click in result.clicks))
    clicks = sorted(result.clicks, key=lambda click: (images.index(click.image), click.index))
    rows = np.arange(len(clicks))
    values = np.array([click.residual_m for click in clicks])
    axes.barh(rows, np.nan_to_num(values), color=[BAD if click.outlier else GOOD for click in clicks])
    axes.set_xscale("symlog", linthresh=1.0)
    for row, value in zip(rows, values, strict=True):
        axes.text(max(value, 0.0) if np.isfinite(value) else 0.0, row, f" {value:.2f}", va="center", fontsize=8)
    axes.set_yticks(rows, [f"{_short(click.image)} · {click.index}" for click in clicks], fontsize=8)
    axes.set_xlim(0, max(40.0, 2 * float(np.nanmax(values))))
    axes.invert_yaxis()
    axes.set_xlabel("residual on the map (m; linear to 1 m, then logarithmic)")
    left_out = ", ".join(f"{_short(image)}: {shift:.2f}" for image, shift in result.leave_one_out_m.items())
    title = f"image · click. Largest shift of a camera without the image (m): {left_out or 'not possible'}"
    axes.set_title(textwrap.fill(title, 62), fontsize=9)
    axes.grid(axis="x", alpha=0.3)


def _short(image: str) -> str:
    """A frame number without its leading zeros."""
    return image.lstrip("0") or "0"
