"""What the system said about the demo's photos, and how far that is from the truth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from geocorrect.demo.world.truth import DemoTruth, PhotoTruth
from geocorrect.errors import Status
from geocorrect.geometry.frame import Frame, angle_difference_deg
from geocorrect.records import NAN, Correction, Float, Result
from geocorrect.report.pictures.figure import draw_dots, saved_figure
from geocorrect.report.statistics import FALSE_ACCEPT_M, median_of, percentile_of
from geocorrect.report.wording import length

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Outcome:
    """A corrected place (WGS84), or why there is none."""

    image_id: str
    lon_deg: float = NAN
    lat_deg: float = NAN
    height_m: float = NAN
    """Above the ellipsoid."""
    heading_deg: float = NAN
    """From true north."""
    reason: str | None = None
    """None for a corrected photo, else the reason of its rejection, or "review" where a person must decide."""

    def __post_init__(self) -> None:
        if self.accepted and not all(map(math.isfinite, (self.lon_deg, self.lat_deg, self.height_m))):
            raise ValueError(f"outcome of {self.image_id}: a corrected photo needs longitude, latitude and height")

    @property
    def accepted(self) -> bool:
        """Whether the photo was given a corrected place."""
        return self.reason is None

    @classmethod
    def of(cls, result: Result, frame: Frame) -> Outcome:
        """From a result of the pipeline whose poses are in `frame`."""
        if not isinstance(result, Correction):
            return cls(result.image_id, reason=str(result.reason))
        lon, lat, height = map(float, frame.wgs84_from_enu(result.world_from_cam.translation_m))
        return cls(result.image_id, lon, lat, height, frame.heading_deg(result.world_from_cam))


def summarise(
    truth: DemoTruth,
    outcomes: Sequence[Outcome],
    wall_s: float,
    computed: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """The demo's score; medians of nothing are nan.

    reported_median_m is the horizontal error of the reported positions of the localisable photos: their altitudes are
    no positions. computed_median_m is that of the positions that the provider computed (`computed`: longitude and
    latitude by photo). Other errors are in three dimensions, of accepted localisable photos; low and high are the
    median's 95 % interval. A false accept is an accepted photo, localisable or not, that is more than 1 m off.

    Raises:
        ValueError: the outcomes are not exactly one per photo.
    """
    by_id, given = {outcome.image_id: outcome for outcome in outcomes}, computed or {}
    if len(by_id) != len(outcomes) or by_id.keys() != truth.photos.keys():
        raise ValueError(f"{len(outcomes)} outcomes are not one for each of the {len(truth.photos)} photos")
    reasons = Counter(o.reason for o in outcomes if o.reason is not None)
    localisable = [photo for photo in truth.photos.values() if photo.localisable]
    accepted = [(truth.photos[o.image_id], o) for o in outcomes if o.accepted]
    errors_m = {photo.id: corrected_error_m(truth.frame, photo, o) for photo, o in accepted}
    good = [errors_m[photo.id] for photo, _ in accepted if photo.localisable]
    corrected = median_of(good)
    turns = [abs(float(angle_difference_deg(o.heading_deg, p.heading_deg))) for p, o in accepted if p.localisable]
    return {
        "n_images": len(outcomes),
        "n_localisable": len(localisable),
        "n_accepted": len(accepted),
        "n_review": reasons.pop(Status.REVIEW, 0),
        "n_rejected": reasons.total(),
        "reasons": dict(sorted(reasons.items())),
        "reported_median_m": percentile_of((reported_error_m(truth.frame, photo) for photo in localisable), 50),
        "computed_median_m": percentile_of(
            (_horizontal_error_m(truth.frame, photo, given[photo.id]) for photo in localisable if photo.id in given), 50
        ),
        "corrected_median_m": corrected.value,
        "corrected_median_low_m": corrected.low,
        "corrected_median_high_m": corrected.high,
        "corrected_p90_m": percentile_of(good, 90),
        "corrected_max_m": max(good, default=NAN),
        "heading_median_deg": percentile_of(turns, 50),
        "false_accepts": sum(error > FALSE_ACCEPT_M for error in errors_m.values()),
        "wall_s": round(wall_s, 1),
    }


def reported_error_m(frame: Frame, photo: PhotoTruth) -> float:
    """Horizontal distance of the reported position from the truth."""
    return _horizontal_error_m(frame, photo, (photo.reported_lon_deg, photo.reported_lat_deg))


def _horizontal_error_m(frame: Frame, photo: PhotoTruth, lon_lat_deg: tuple[float, float]) -> float:
    place = frame.enu_from_wgs84(*lon_lat_deg, photo.height_m)
    return float(np.linalg.norm((place - photo.world_from_cam.translation_m)[:2]))


def corrected_error_m(frame: Frame, photo: PhotoTruth, outcome: Outcome) -> float:
    """Distance in three dimensions of an accepted outcome from the truth."""
    corrected = frame.enu_from_wgs84(outcome.lon_deg, outcome.lat_deg, outcome.height_m)
    return float(np.linalg.norm(corrected - photo.world_from_cam.translation_m))


REPORTED, CORRECTED, TRUTH, ANCHOR, INK = "#c2410c", "#1d4ed8", "#15803d", "#64748b", "#1f2937"
REJECTION_MARKERS = "XsDPv^<>hpd*"
DPI = 170
SCALE_BAR_M = 20
STYLE: Any = {"font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11}


@dataclass(frozen=True, eq=False)
class MapView:
    """A map turned so that the street runs from left to right."""

    centre_m: Float
    """(2,) ENU point that becomes the origin."""
    along: Float
    """(2,) unit vector that becomes the x axis."""

    @classmethod
    def fitted_to(cls, points_m: Float) -> MapView:
        """Turned along the longest extent of (N, 2) points, towards the east."""
        centre = points_m.mean(axis=0)
        _, _, axes = np.linalg.svd(points_m - centre, full_matrices=False)
        return cls(centre, axes[0] if axes[0, 0] >= 0 else -axes[0])

    def turned(self, points_m: ArrayLike) -> Float:
        """(N, 2) map coordinates of (N, 2) ENU points."""
        offset = np.asarray(points_m, float).reshape(-1, 2) - self.centre_m
        across = np.array([-self.along[1], self.along[0]])
        return np.stack([offset @ self.along, offset @ across], axis=1)


def before_after(truth: DemoTruth, outcomes: Sequence[Outcome], path: Path) -> None:
    """Write a PNG: map with arrows reported → corrected, rejected photos by reason, and the errors before and after."""
    with saved_figure(path, (14, 8.6), DPI, STYLE) as figure:
        grid = figure.add_gridspec(2, 2, height_ratios=(1.55, 1), width_ratios=(1, 1.1))
        _draw_map(figure.add_subplot(grid[0, :]), truth, outcomes)
        _draw_errors(figure.add_subplot(grid[1, 0]), truth, outcomes)
        _draw_devices(figure.add_subplot(grid[1, 1]), truth, outcomes)


def _draw_map(axes: Axes, truth: DemoTruth, outcomes: Sequence[Outcome]) -> None:
    view = MapView.fitted_to(truth.anchors_m[:, :2])
    _draw_street(axes, truth, view)
    corrected = [outcome for outcome in outcomes if outcome.accepted]
    start = view.turned([_reported_enu(truth, outcome.image_id) for outcome in corrected])
    end = view.turned([_corrected_enu(truth, outcome) for outcome in corrected])
    true_m = view.turned([truth.photos[o.image_id].world_from_cam.translation_m[:2] for o in corrected])
    style: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "headwidth": 6, "headlength": 7}
    axes.quiver(*start.T, *(end - start).T, color=CORRECTED, alpha=0.7, width=0.0012, zorder=4, **style)
    draw_dots(axes, start, s=14, c=REPORTED, zorder=4.2, label="reported position")
    draw_dots(axes, end, s=15, c=CORRECTED, zorder=4.4, label="corrected position")
    draw_dots(axes, true_m, s=62, c=TRUTH, marker="+", linewidths=1.1, zorder=4.6, label="truth")
    _draw_rejected(axes, truth, outcomes, view)
    _frame_map(axes, view, np.concatenate([start, end, view.turned(truth.anchors_m[:, :2])]))
    title = f"{len(corrected)} of {len(outcomes)} photos moved to where they were taken"
    axes.set_title(title, loc="left", weight="bold")


def _draw_street(axes: Axes, truth: DemoTruth, view: MapView) -> None:
    axes.set_facecolor("#f6f6f4")
    for outline in truth.building_outlines_m:
        axes.fill(*view.turned(outline).T, facecolor="#e5e1d8", edgecolor="#a8a193", linewidth=0.8, zorder=1)
    for outline in truth.object_outlines_m:
        axes.fill(*view.turned(outline).T, facecolor="#d4d4d8", edgecolor="none", zorder=1.2)
    draw_dots(axes, view.turned(truth.anchors_m[:, :2]), s=11, c=ANCHOR, marker="o", zorder=2, label="anchor")


def _draw_rejected(axes: Axes, truth: DemoTruth, outcomes: Sequence[Outcome], view: MapView) -> None:
    """Rejected photos at their reported place, a marker per reason; a ring marks those that could have been placed."""
    for marker, reason in zip(REJECTION_MARKERS * 3, sorted({o.reason for o in outcomes if o.reason}), strict=False):
        ids = [outcome.image_id for outcome in outcomes if outcome.reason == reason]
        places = view.turned([_reported_enu(truth, image_id) for image_id in ids])
        waits = reason == Status.REVIEW
        label = f"waits for a review ({len(ids)})" if waits else f"rejected: {reason.replace('_', ' ')} ({len(ids)})"
        draw_dots(axes, places, s=38, c=INK, marker=marker, linewidths=0.4, edgecolors="white", zorder=5, label=label)
    missed = [o.image_id for o in outcomes if o.reason is not None and truth.photos[o.image_id].localisable]
    if missed:
        places = view.turned([_reported_enu(truth, image_id) for image_id in missed])
        label = f"rejected though localisable ({len(missed)})"
        draw_dots(axes, places, s=130, facecolors="none", edgecolors=REPORTED, zorder=5, label=label)


def _frame_map(axes: Axes, view: MapView, points: Float) -> None:
    low, high = points.min(axis=0) - 6, points.max(axis=0) + 6
    axes.set(xlim=(low[0], high[0]), ylim=(min(low[1], -18), max(high[1], 18)), aspect="equal")
    axes.set(xlabel="metres along the street", ylabel="metres across")
    _draw_north_and_scale(axes, view)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=5, frameon=False, fontsize=9)


def _draw_north_and_scale(axes: Axes, view: MapView) -> None:
    """In the lower corners of the map."""
    north = np.array([view.along[1], view.along[0]])  # the frame's +y axis in map coordinates
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    length = 0.16 * (top - bottom)
    foot = np.array([right - 1.6 * length, bottom + 0.35 * length])
    arrow = {"arrowstyle": "-|>", "color": "#1f2937", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", tuple(foot + length * north), tuple(foot), arrowprops=arrow, zorder=6)
    x, y = foot + 1.35 * length * north
    axes.text(x, y, "N", ha="center", va="center", weight="bold", zorder=6)
    start, height = left + 0.02 * (right - left), bottom + 0.07 * (top - bottom)
    bar: dict[str, Any] = {"color": "#1f2937", "linewidth": 3, "solid_capstyle": "butt", "zorder": 6}
    axes.plot([start, start + SCALE_BAR_M], [height, height], **bar)
    middle, above = start + SCALE_BAR_M / 2, height + 0.02 * (top - bottom)
    axes.text(middle, above, f"{SCALE_BAR_M} m", ha="center", va="bottom", zorder=6)


def _draw_errors(axes: Axes, truth: DemoTruth, outcomes: Sequence[Outcome]) -> None:
    """Histograms on a logarithmic axis: the two clouds lie two orders of magnitude apart."""
    before = np.array([reported_error_m(truth.frame, photo) for photo in truth.photos.values() if photo.localisable])
    after = np.array([error for _, error in _corrected_errors(truth, outcomes)])
    bins = [float(edge) for edge in np.logspace(-3, 1.5, 46)]
    for errors, colour, name in ((before, REPORTED, "reported"), (after, CORRECTED, "corrected")):
        if not len(errors):
            continue
        median = float(np.median(errors))
        axes.hist(np.clip(errors, bins[0], bins[-1]), bins=bins, color=colour, alpha=0.8)
        axes.axvline(median, color=colour, linestyle="--", linewidth=1)
        text = f"{name}\nmedian {length(median)}, n = {len(errors)}"
        axes.text(median, 1.02, text, color=colour, transform=axes.get_xaxis_transform(), ha="center", va="bottom")
    _metres_on_log_axis(axes, bins[0], bins[-1])
    axes.set(xlabel="position error", ylabel="photos")


def _draw_devices(axes: Axes, truth: DemoTruth, outcomes: Sequence[Outcome]) -> None:
    """Corrected error of every photo, one row per device."""
    by_device: dict[str, list[float]] = {photo.device: [] for photo in truth.photos.values()}
    for image_id, error in _corrected_errors(truth, outcomes):
        by_device[truth.photos[image_id].device].append(error)
    labels = []
    for row, (device, errors) in enumerate(sorted(by_device.items(), reverse=True)):
        spread = np.linspace(-0.22, 0.22, max(len(errors), 2))[: len(errors)]
        axes.scatter(errors, row + spread, s=20, c=CORRECTED, alpha=0.7, linewidths=0)
        labels.append(f"{device}\n(n = {len(errors)})")
        if errors:
            axes.plot([np.median(errors)] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=1.6)
    axes.axvline(1.0, color=REPORTED, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(labels)), labels)
    _metres_on_log_axis(axes, 1e-3, 3.0)
    axes.set_xlabel("error of the corrected position (bar: median; dotted: 1 m, beyond which a pose is false)")


def _metres_on_log_axis(axes: Axes, low_m: float, high_m: float) -> None:
    axes.set(xscale="log", xlim=(low_m, high_m))
    ticks = {0.001: "1 mm", 0.01: "1 cm", 0.1: "10 cm", 1.0: "1 m", 10.0: "10 m"}
    shown = [tick for tick in ticks if low_m <= tick <= high_m]
    axes.set_xticks(shown, [ticks[tick] for tick in shown])


def _corrected_errors(truth: DemoTruth, outcomes: Sequence[Outcome]) -> list[tuple[str, float]]:
    """Image id and error of the accepted localisable photos."""
    accepted = [o for o in outcomes if o.accepted and truth.photos[o.image_id].localisable]
    return [(o.image_id, corrected_error_m(truth.frame, truth.photos[o.image_id], o)) for o in accepted]


def _reported_enu(truth: DemoTruth, image_id: str) -> Float:
    photo = truth.photos[image_id]
    return truth.frame.enu_from_wgs84(photo.reported_lon_deg, photo.reported_lat_deg, truth.frame.height_m)[:2]


def _corrected_enu(truth: DemoTruth, outcome: Outcome) -> Float:
    return truth.frame.enu_from_wgs84(outcome.lon_deg, outcome.lat_deg, outcome.height_m)[:2]
