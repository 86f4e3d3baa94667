"""The thesis' figures on VBR drives: 3 (trajectories), 5 and 8 (one pair), 7 (inliers), 15 (coordinates)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from geocorrect.depth.scale import ScaleHeuristic, estimate_scale
from geocorrect.evaluate.render import Picture, file_name
from geocorrect.evaluate.table import Row
from geocorrect.evaluate.vbr.pair_pictures import pair_pictures
from geocorrect.evaluate.vbr.run import DriveEvaluation
from geocorrect.evaluate.vbr.tables import depths_of, median_of_answers
from geocorrect.records import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def pictures(rows: Sequence[Row], drives: Mapping[str, DriveEvaluation]) -> list[Picture]:
    """Figure 3, and 7 per drive; 5, 8 and 15 for the pair of median score of every drive."""
    found = [_trajectories(drives)]
    for scene, drive in drives.items():
        own = [row for row in rows if row.scene == scene]
        caption = f"Figure 7, {scene}: median translation error and baseline against the pair's inliers, in fifths"
        found.append(Picture(f"figure_7_{file_name(scene)}", caption, (7, 4), _against_inliers(own)))
        found += pair_pictures(drive)
        for name in drive.sources:
            pair = drive.typical_pair
            caption = f"Figure 15, {scene}: coordinates of {name} and of the scan in {pair.anchor_id}; dashed: medians"
            found.append(Picture(f"figure_15_{file_name(f'{scene}_{name}')}", caption, (8, 3),
                                 _coordinates(*drive.common(name, pair))))  # fmt: skip
    return found


def _trajectories(drives: Mapping[str, DriveEvaluation]) -> Picture:
    def draw(figure: Figure) -> None:
        for axes, (scene, drive) in zip(figure.subplots(1, len(drives), squeeze=False)[0], drives.items(), strict=True):
            _trajectory(axes, drive)
            axes.set(title=scene, xlabel="x, m", ylabel="y, m")
            axes.set_aspect("equal", adjustable="datalim")
        axes.legend(fontsize=6)

    caption = "Figure 3: the drives in their own frames, with anchors and queries of the valid pairs"
    return Picture("figure_3", caption, (4.5 * len(drives), 4), draw)


def _trajectory(axes: Axes, drive: DriveEvaluation) -> None:
    places = drive.mined.enu_m
    axes.plot(*np.array(list(places.values()))[:, :2].T, color="0.7", linewidth=1, label="all images")
    for label, marker, ids in (
        ("anchors", "^", {pair.anchor_id for pair in drive.pairs}),
        ("queries", "o", {pair.query_id for pair in drive.pairs}),
    ):
        axes.plot(*np.array([places[name] for name in sorted(ids)])[:, :2].T, marker, markersize=4, label=label,
                  fillstyle="none")  # fmt: skip
    for pair in drive.pairs:
        axes.plot(*np.array([places[pair.anchor_id], places[pair.query_id]])[:, :2].T, color="C2", linewidth=0.4)


def _against_inliers(rows: Sequence[Row]) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        errors, baselines = figure.subplots(2, 1, sharex=True)
        shown = [d for d in depths_of(rows) if "(" not in d or "Oracle" in d or str(ScaleHeuristic.PER_AXIS_L1) in d]
        for depth in shown:
            group = sorted((row for row in rows if row.depth == depth), key=lambda row: row.score)
            fifths = [[group[i] for i in part] for part in np.array_split(np.arange(len(group)), 5) if len(part)]
            x = [float(np.median([row.score for row in part])) for part in fifths]
            y = [median_of_answers(part, "transform_m") for part in fifths]
            errors.plot(x, y, marker="o", markersize=3, label=depth)
        baselines.plot(x, [float(np.median([row.baseline_m for row in part])) for part in fifths], "k-o", markersize=3)
        for where, part in zip(x, fifths, strict=True):
            baselines.annotate(f"n = {len(part)}", (where, 0), xycoords=("data", "axes fraction"), fontsize=7)
        errors.set(yscale="log", ylabel="MTE, m")
        baselines.set(xlabel="inliers of the pair", ylabel="baseline, m")
        errors.legend(fontsize=6)

    return draw


def _coordinates(predicted_m: Float, measured_m: Float) -> Callable[[Figure], None]:
    scaled = {
        "true": measured_m,
        "raw": predicted_m,
        "one scale": predicted_m * estimate_scale(ScaleHeuristic.MEAN_PER_AXIS_L2, predicted_m, measured_m),
        "per axis": predicted_m * estimate_scale(ScaleHeuristic.PER_AXIS_L1, predicted_m, measured_m),
    }

    def draw(figure: Figure) -> None:
        for axes, axis in zip(figure.subplots(1, 3), range(3), strict=True):
            ends = np.percentile(measured_m[:, axis], [1, 99])
            for number_of, (label, points) in enumerate(scaled.items()):
                colour = f"C{number_of}"
                axes.hist(points[:, axis], bins=40, range=tuple(ends), histtype="step", color=colour, label=label)
                axes.axvline(float(np.median(points[:, axis])), color=colour, linestyle="--", linewidth=0.8)
            axes.set(xlabel=f"{'xyz'[axis]}, m")
        axes.legend(fontsize=6)

    return draw
