"""Explicit scale correction of predicted depth by measured depth: the four heuristics of the thesis (§III.D.1).

All compare the same pixels: predicted and measured points (N, 3) in the anchor's camera frame. A scale is (3,): factors
for x, y, z, equal for the isotropic heuristics. It comes either from the LiDAR of the very picture that is scaled, an
oracle, or as the median of other pictures' scales, the training set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.similarity import DegenerateError, umeyama
from geocorrect.records import NAN, DepthMap

Float = NDArray[np.float64]
MIN_POINTS = 10
MIN_SPREAD_PICTURES = 5
"""Fewer scales than this say nothing about their spread."""
COMMON_FLOOR = 0.02
"""No heuristic knows the scale of a picture better than this: scanner, calibration and time offset are in it."""


class ScaleHeuristic(StrEnum):
    """How a scale is read off two point sets."""

    PER_AXIS_L1 = "per_axis_l1"
    PER_AXIS_L2 = "per_axis_l2"
    MEAN_PER_AXIS_L2 = "mean_per_axis_l2"
    SIMILARITY = "similarity"


ISOTROPIC = frozenset({ScaleHeuristic.MEAN_PER_AXIS_L2, ScaleHeuristic.SIMILARITY})
"""Heuristics that give one factor for all axes."""


class ScaleError(ValueError):
    """The points do not determine a scale; the text says why."""


@dataclass(frozen=True, eq=False)
class DepthScale:
    """Factors (3,) for x, y, z that take predicted points to true ones, and where they come from.

    name: becomes part of the scaled depth's name. is_oracle: measured in the very picture that is to be scaled. n:
    pixels (of a picture) or pictures (of a training set) behind it, 0 when it was stated. common_log_sigma: error that
    all depths of a scaled picture share; nan: nothing is known beyond what the prediction says of itself.
    """

    factors: Float
    name: str
    is_oracle: bool
    n: int = 0
    common_log_sigma: float = NAN


def scale_from_lidar(predicted: DepthMap, lidar: DepthMap, camera: Camera, heuristic: ScaleHeuristic) -> DepthScale:
    """The scale of one picture's dense predicted depth from its own LiDAR samples: an oracle.

    Raises ScaleError where the two share too few pixels or the points are degenerate.
    """
    predicted_m, measured_m = common_points(predicted, lidar, camera)
    factors = estimate_scale(heuristic, predicted_m, measured_m)
    left = float(np.median(np.log(measured_m[:, 2] / (predicted_m[:, 2] * factors[2]))))
    sigma = float(np.hypot(left, COMMON_FLOOR))
    return DepthScale(factors, str(heuristic), is_oracle=True, n=len(predicted_m), common_log_sigma=sigma)


def train_set_scale(scales: Sequence[DepthScale]) -> DepthScale:
    """Medians of the scales of a training set, for pictures where nothing is measured; no oracle.

    Its sigma is the robust spread of the pictures' z factors, nan where there are fewer than five.
    """
    factors = median_scale([scale.factors for scale in scales])
    log_z = np.log([scale.factors[2] for scale in scales])
    spread = 1.4826 * float(np.median(np.abs(log_z - np.median(log_z))))
    sigma = max(spread, COMMON_FLOOR) if len(scales) >= MIN_SPREAD_PICTURES else NAN
    return DepthScale(factors, f"{factors[2]:.3f}", is_oracle=False, n=len(scales), common_log_sigma=sigma)


def common_points(predicted: DepthMap, lidar: DepthMap, camera: Camera) -> tuple[Float, Float]:
    """(predicted (N, 3), measured (N, 3)) points in metres on common rays: LiDAR samples whose pixel has a prediction.

    The prediction is read at the nearest pixel: interpolation would invent depths across edges.
    """
    if predicted.z_m is None or lidar.samples_px is None or lidar.samples_z_m is None:
        raise ScaleError("a scale is read off a dense predicted map and sparse LiDAR samples")
    height, width = predicted.z_m.shape
    column = np.clip(np.rint(lidar.samples_px[:, 0]).astype(int), 0, width - 1)
    row = np.clip(np.rint(lidar.samples_px[:, 1]).astype(int), 0, height - 1)
    z_m = predicted.z_m[row, column].astype(float)
    rays = camera.unproject(lidar.samples_px)
    with np.errstate(invalid="ignore"):
        both = (z_m > 0) & (lidar.samples_z_m > 0) & (rays[:, 2] > 0)
    directions = rays[both] / rays[both, 2:]
    return directions * z_m[both, None], directions * lidar.samples_z_m[both, None]


def estimate_scale(heuristic: ScaleHeuristic, predicted_m: ArrayLike, measured_m: ArrayLike) -> Float:
    """(3,) factors that take predicted points to measured ones, from the pairs where both are finite.

    Raises ScaleError with fewer than ten pairs, or when an axis or the similarity is degenerate.
    """
    predicted, measured = np.asarray(predicted_m, float), np.asarray(measured_m, float)
    if predicted.shape != measured.shape or predicted.ndim != 2 or predicted.shape[1] != 3:
        raise ValueError(f"points must be two (N, 3) arrays, got {predicted.shape} and {measured.shape}")
    both = np.isfinite(predicted).all(axis=1) & np.isfinite(measured).all(axis=1)
    if both.sum() < MIN_POINTS:
        raise ScaleError(f"{int(both.sum())} common points; a scale needs at least {MIN_POINTS}")
    scale = _ESTIMATORS[heuristic](predicted[both], measured[both])
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ScaleError(f"{heuristic} gives {scale}: an axis of the points is degenerate")
    return scale


def median_scale(scales: Sequence[ArrayLike]) -> Float:
    """(3,) per-axis median of the scales of a training set, for use where nothing is measured."""
    if not scales:
        raise ScaleError("no training scale to take the median of")
    median: Float = np.median(np.asarray(scales, float).reshape(-1, 3), axis=0)
    return median


def scale_depth(depth: DepthMap, scale: DepthScale) -> DepthMap:
    """The depth map times the z factor: what a scale means where the pixel's ray is kept. Oracle if either is."""
    factor = float(scale.factors[2])
    sigma = depth.common_log_sigma if np.isnan(scale.common_log_sigma) else scale.common_log_sigma
    scaled = replace(
        depth,
        name=f"{depth.name}*{scale.name}",
        is_oracle=depth.is_oracle or scale.is_oracle,
        common_log_sigma=sigma,
    )
    if depth.z_m is not None:
        return replace(scaled, z_m=(depth.z_m * factor).astype(np.float32))
    assert depth.samples_z_m is not None
    return replace(scaled, samples_z_m=depth.samples_z_m * factor)


def _per_axis_l1(predicted: Float, measured: Float) -> Float:
    return _ratio(np.abs(measured).mean(axis=0), np.abs(predicted).mean(axis=0))


def _per_axis_l2(predicted: Float, measured: Float) -> Float:
    return _ratio(np.linalg.norm(measured, axis=0), np.linalg.norm(predicted, axis=0))


def _mean_per_axis_l2(predicted: Float, measured: Float) -> Float:
    norms = np.linalg.norm(measured, axis=0).mean(), np.linalg.norm(predicted, axis=0).mean()
    return np.repeat(_ratio(np.array(norms[0]), np.array(norms[1])), 3)


def _similarity(predicted: Float, measured: Float) -> Float:
    """The scale of Umeyama's similarity; its rotation and translation are dropped."""
    try:
        return np.repeat(umeyama(measured, predicted).scale, 3)
    except DegenerateError as error:
        raise ScaleError(str(error)) from None


def _ratio(measured: Float, predicted: Float) -> Float:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Float = np.asarray(measured / predicted)
    return ratio


_ESTIMATORS = {
    ScaleHeuristic.PER_AXIS_L1: _per_axis_l1,
    ScaleHeuristic.PER_AXIS_L2: _per_axis_l2,
    ScaleHeuristic.MEAN_PER_AXIS_L2: _mean_per_axis_l2,
    ScaleHeuristic.SIMILARITY: _similarity,
}
