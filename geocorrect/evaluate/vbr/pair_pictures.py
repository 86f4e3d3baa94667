"""The thesis' figures of one pair: matches, depth before and after scaling, confidence (5); depth of every H (8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from geocorrect.evaluate.render import Picture, file_name, with_colours, without_ticks
from geocorrect.evaluate.vbr.run import ORACLE, DriveEvaluation, ShownPair
from geocorrect.records import DepthMap, ImageArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

MAX_LINES = 60
"""Matches that are drawn, spread over all."""
COLUMNS = 3


def pair_pictures(drive: DriveEvaluation) -> list[Picture]:
    """Figure 5 of every prediction and figure 8, for the drive's pair of median score."""
    scene, pair = drive.scene, drive.typical_pair
    shown = drive.shown(pair)
    where = f"{scene}: {pair.anchor_id} and {pair.query_id}"
    what = f"{len(shown.anchor_px)} verified matches; depth of scan and prediction, raw and scaled per axis (L1)"
    found = []
    for name in drive.sources:
        caption = f"Figure 5, {where}, {name}: {what}" + ("; confidence" if name in shown.confidence else "")
        found.append(Picture(f"figure_5_{file_name(f'{scene}_{name}')}", caption, (9, 5), _one_prediction(shown, name)))
    if drive.sources:
        rows = 1 + len(drive.sources) // COLUMNS
        caption = f"Figure 8, {where}: depth of the anchor by every H, in one scale of colours"
        found.append(Picture(f"figure_8_{file_name(scene)}", caption, (9, 2.5 * rows), _every_depth(shown, rows)))
    return found


def _one_prediction(shown: ShownPair, name: str) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        grid = figure.add_gridspec(2, 6)
        _matches(figure.add_subplot(grid[0, :4]), shown)
        _depth(figure.add_subplot(grid[0, 4:]), shown, shown.scan, ORACLE)
        _depth(figure.add_subplot(grid[1, :2]), shown, shown.raw[name], f"{name}, raw")
        scaled = shown.scaled[name]
        if scaled is not None:
            _depth(figure.add_subplot(grid[1, 2:4]), shown, scaled, f"{name}, scaled per axis")
        if name in shown.confidence:
            axes = figure.add_subplot(grid[1, 4:])
            with_colours(axes, axes.imshow(shown.confidence[name], cmap="viridis"), "confidence")

    return draw


def _every_depth(shown: ShownPair, rows: int) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        panels = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
        for axes, (name, depth) in zip(panels, {ORACLE: shown.scan, **shown.raw}.items(), strict=False):
            _depth(axes, shown, depth, name)
        for axes in panels[1 + len(shown.raw) :]:
            axes.set_axis_off()

    return draw


def _matches(axes: Axes, shown: ShownPair) -> None:
    """Anchor and query side by side, a part of the verified matches between them."""
    height = max(shown.anchor.shape[0], shown.query.shape[0])
    canvas = np.hstack([_padded(shown.anchor, height), _padded(shown.query, height)])
    axes.imshow(canvas)
    right = shown.query_px + np.array([shown.anchor.shape[1], 0])
    for row in np.unique(np.linspace(0, len(right) - 1, MAX_LINES).astype(int)) if len(right) else ():
        axes.plot(*np.stack([shown.anchor_px[row], right[row]]).T, linewidth=0.5, marker=".", markersize=2)
    without_ticks(axes, "verified matches, anchor and query")


def _padded(image: ImageArray, height: int) -> ImageArray:
    return np.pad(image, ((0, height - image.shape[0]), (0, 0), (0, 0)))


def _depth(axes: Axes, shown: ShownPair, depth: DepthMap, name: str) -> None:
    """Metres in one scale of colours for all depths of the pair, logarithmic; a scan as dots on the picture."""
    from matplotlib.colors import LogNorm

    norm = LogNorm(*_range_m([shown.scan, *shown.raw.values()]))
    if depth.z_m is not None:
        drawn: ScalarMappable = axes.imshow(depth.z_m, cmap="turbo_r", norm=norm)
    else:
        assert depth.samples_px is not None
        axes.imshow(shown.anchor.mean(axis=2), cmap="gray", vmin=0, vmax=255)
        x_px, y_px = depth.samples_px.T
        drawn = axes.scatter(x_px, y_px, c=depth.samples_z_m, s=0.4, cmap="turbo_r", norm=norm)
        axes.set(xlim=(0, shown.anchor.shape[1]), ylim=(shown.anchor.shape[0], 0))
    with_colours(axes, drawn, name, "m")


def _range_m(depths: list[DepthMap]) -> tuple[float, float]:
    """From the 2nd percentile of the nearest map to the 98th of the farthest."""
    known = [np.asarray(depth.samples_z_m if depth.z_m is None else depth.z_m, float) for depth in depths]
    ends = np.array([np.nanpercentile(z_m[z_m > 0], [2, 98]) for z_m in known if (z_m > 0).any()])
    return float(ends[:, 0].min()), float(ends[:, 1].max())
