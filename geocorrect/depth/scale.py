"""Explicit scale correction of predicted depth by measured depth: four heuristics; see `docs/depth.md`.

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

from geocorrect.depth.base import DepthDeclaration, DepthSource, PairDepthSource
from geocorrect.depth.validity import nearest_depth
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.similarity import DegenerateError, umeyama
from geocorrect.records import NAN, Anchor, DepthMap, Float32, ImageArray

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
    """Factors that take predicted points to true ones, and where they come from."""

    factors: Float
    """(3,) for x, y, z."""
    name: str
    """Becomes part of the scaled depth's name."""
    is_oracle: bool
    """Whether it was measured in the very picture that is to be scaled."""
    n: int = 0
    """Pixels (of a picture) or pictures (of a training set) behind it, 0 when it was stated."""
    common_log_sigma: float = NAN
    """Error that all depths of a scaled picture share; nan: what the prediction states of itself."""


def scale_from_lidar(predicted: DepthMap, lidar: DepthMap, camera: Camera, heuristic: ScaleHeuristic) -> DepthScale:
    """The scale of one picture's dense predicted depth from its own LiDAR samples: an oracle.

    Raises:
        ScaleError: the two share too few pixels, or the points are degenerate.
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
    if not scales:
        raise ScaleError("no training scale to take the median of")
    each = np.array([scale.factors for scale in scales], float).reshape(-1, 3)
    factors, log_z = np.median(each, axis=0), np.log(each[:, 2])
    spread = 1.4826 * float(np.median(np.abs(log_z - np.median(log_z))))
    sigma = max(spread, COMMON_FLOOR) if len(scales) >= MIN_SPREAD_PICTURES else NAN
    return DepthScale(factors, f"{factors[2]:.3f}", is_oracle=False, n=len(scales), common_log_sigma=sigma)


def common_points(predicted: DepthMap, lidar: DepthMap, camera: Camera) -> tuple[Float, Float]:
    """(predicted (N, 3), measured (N, 3)) points in metres of samples whose pixel has a prediction.

    On common rays, but for a prediction that does not put its points on them.
    """
    if predicted.z_m is None or lidar.samples_px is None:
        raise ScaleError("a scale is read off a dense predicted map and sparse LiDAR samples")
    px, measured_m = lidar.points(camera)
    z_m = nearest_depth(predicted.z_m, px)
    both = z_m > 0
    px, measured_m, z_m = px[both], measured_m[both], z_m[both]
    if predicted.points_m is None:
        return measured_m * (z_m / measured_m[:, 2])[:, None], measured_m
    return np.stack([nearest_depth(axis, px) for axis in _axes(predicted.points_m)], axis=1), measured_m


def estimate_scale(heuristic: ScaleHeuristic, predicted_m: ArrayLike, measured_m: ArrayLike) -> Float:
    """(3,) factors that take predicted points (N, 3) to measured ones, from the pairs where both are finite.

    Raises:
        ScaleError: fewer than ten pairs, or an axis or the similarity is degenerate.
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


def scale_depth(depth: DepthMap, scale: DepthScale) -> DepthMap:
    """The depth map times the z factor: what a scale means where the pixel's ray is kept. Oracle if either is.

    Points off the rays are multiplied axis by axis.
    """
    factor = float(scale.factors[2])
    sigma = depth.common_log_sigma if np.isnan(scale.common_log_sigma) else scale.common_log_sigma
    name, is_oracle = f"{depth.name}*{scale.name}", depth.is_oracle or scale.is_oracle
    scaled = replace(depth, name=name, is_oracle=is_oracle, common_log_sigma=sigma)
    if depth.z_m is not None:
        points = None if depth.points_m is None else (depth.points_m * scale.factors).astype(np.float32)
        return replace(scaled, z_m=(depth.z_m * factor).astype(np.float32), points_m=points)
    assert depth.samples_z_m is not None
    return replace(scaled, samples_z_m=depth.samples_z_m * factor)


def _axes(points_m: Float32) -> list[Float32]:
    return [np.ascontiguousarray(points_m[..., axis]) for axis in range(3)]


def _ratio(measured: ArrayLike, predicted: ArrayLike) -> Float:
    """(3,) ratio per axis, one number being that of all axes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.broadcast_to(np.asarray(np.divide(measured, predicted), float), 3).copy()


def _per_axis_l1(predicted: Float, measured: Float) -> Float:
    return _ratio(np.abs(measured).mean(axis=0), np.abs(predicted).mean(axis=0))


def _per_axis_l2(predicted: Float, measured: Float) -> Float:
    return _ratio(np.linalg.norm(measured, axis=0), np.linalg.norm(predicted, axis=0))


def _mean_per_axis_l2(predicted: Float, measured: Float) -> Float:
    return _ratio(np.linalg.norm(measured, axis=0).mean(), np.linalg.norm(predicted, axis=0).mean())


def _similarity(predicted: Float, measured: Float) -> Float:
    """The scale of Umeyama's similarity; its rotation and translation are dropped."""
    try:
        return np.repeat(umeyama(measured, predicted).scale, 3)
    except DegenerateError as error:
        raise ScaleError(str(error)) from None


_ESTIMATORS = {
    ScaleHeuristic.PER_AXIS_L1: _per_axis_l1,
    ScaleHeuristic.PER_AXIS_L2: _per_axis_l2,
    ScaleHeuristic.MEAN_PER_AXIS_L2: _mean_per_axis_l2,
    ScaleHeuristic.SIMILARITY: _similarity,
}


@dataclass(frozen=True)
class ScaleOptions:
    """What a predicted depth is multiplied by; nothing by default."""

    factor: float = 1.0
    """Stated, such as the train-set median that `geocorrect anchors scale` prints."""
    common_log_sigma: float | None = None
    """What is left of the error shared by a picture; None: what the source states without the factor."""
    heuristic: ScaleHeuristic | None = None
    """Measure the factor in the anchor's own laser scan instead, picture by picture; results are then an oracle."""

    def __post_init__(self) -> None:
        if not 0.0 < self.factor < float("inf"):
            raise ValueError(f"depth scale: factor must be positive, got {self.factor}")
        if self.common_log_sigma is not None and not 0.0 < self.common_log_sigma < float("inf"):
            raise ValueError(f"depth scale: common_log_sigma must be positive, got {self.common_log_sigma}")
        if self.heuristic is not None and (self.factor != 1.0 or self.common_log_sigma is not None):
            raise ValueError("depth scale: give a factor or a heuristic that measures it, not both")


class StatedScaleDepth:
    """DepthSource: another source's depth times a factor that was found elsewhere."""

    def __init__(self, base: DepthSource, factor: float, common_log_sigma: float | None) -> None:
        self.base, self.scale = base, stated_scale(factor, common_log_sigma)
        self.declaration = declare_stated_scale(base.declaration, self.scale)
        self.fingerprint = f"{base.fingerprint}*{self.scale.factors[2]!r}/{self.scale.common_log_sigma!r}"

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        return self.rescaled(self.base.depth(anchor, image), anchor, image)

    def rescaled(self, predicted: DepthMap, anchor: Anchor, image: ImageArray) -> DepthMap:
        """What the base predicts for the anchor, scaled."""
        return scale_depth(predicted, self.scale)


class LidarScaleDepth:
    """DepthSource: another source's depth, its scale measured by the anchor's own scan. An oracle."""

    def __init__(self, base: DepthSource, lidar: DepthSource, heuristic: ScaleHeuristic) -> None:
        self.base, self.lidar, self.heuristic = base, lidar, heuristic
        self.declaration = declare_measured_scale(base.declaration, lidar.declaration)
        self.fingerprint = f"{base.fingerprint}*{heuristic}/{lidar.fingerprint}"

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`; InputError when there is no scan, or it does not fix the scale."""
        return self.rescaled(self.base.depth(anchor, image), anchor, image)

    def rescaled(self, predicted: DepthMap, anchor: Anchor, image: ImageArray) -> DepthMap:
        """What the base predicts for the anchor, scaled; InputError as `depth`."""
        measured = self.lidar.depth(anchor, image)
        try:
            scale = scale_from_lidar(predicted, measured, anchor.camera, self.heuristic)
        except ScaleError as error:
            raise InputError(f"anchor {anchor.id}: its scan does not fix the depth's scale: {error}") from None
        return scale_depth(predicted, scale)


class ScaledPairDepth:
    """PairDepthSource: the depth of a pair, scaled as that of a picture by itself."""

    def __init__(self, base: PairDepthSource, scaled: StatedScaleDepth | LidarScaleDepth) -> None:
        self.base, self.scaled = base, scaled
        self.fingerprint, self.declaration = scaled.fingerprint, scaled.declaration

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Raises InputError: there is no depth without a query."""
        return self.base.depth(anchor, image)

    def check(self, anchor: Anchor, image: ImageArray) -> None:
        """See `depth.base.PairDepthSource`."""
        self.base.check(anchor, image)

    def pair_depth(self, anchor: Anchor, image: ImageArray, query: ImageArray) -> DepthMap:
        """See `depth.base.PairDepthSource`."""
        return self.scaled.rescaled(self.base.pair_depth(anchor, image, query), anchor, image)


def stated_scale(factor: float, common_log_sigma: float | None) -> DepthScale:
    """One factor for all axes that was found elsewhere; common_log_sigma None: the source's own."""
    sigma = NAN if common_log_sigma is None else common_log_sigma
    return DepthScale(np.full(3, factor), f"{factor:g}", is_oracle=False, common_log_sigma=sigma)


def declare_stated_scale(base: DepthDeclaration, scale: DepthScale) -> DepthDeclaration:
    """What a source is once its metres are multiplied by a factor."""
    nearest, farthest = (float(scale.factors[2]) * limit for limit in base.valid_range_m)
    sigma = base.common_log_sigma if np.isnan(scale.common_log_sigma) else scale.common_log_sigma
    return replace(base, valid_range_m=(nearest, farthest), common_log_sigma=sigma)


def declare_measured_scale(base: DepthDeclaration, lidar: DepthDeclaration) -> DepthDeclaration:
    """What a source is once each anchor's own scan scales it: as far as the picture's own factor takes it."""
    return replace(
        base, needs=(*base.needs, *lidar.needs), valid_range_m=(0.0, float("inf")), common_log_sigma=NAN, is_oracle=True
    )
