"""How a multi-view prediction fits what was given to the network: measured depths, and the poses of the views.

What is given is a hint to such a network, not a constraint, so its answer is held against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.calibration.agreement import ViewDepth, agreement
from geocorrect.geometry.pose_similarity import fit_pose_similarity
from geocorrect.networks.mapanything.photo_view import DensePrediction, DepthHints, PhotoView, ScenePoses
from geocorrect.records import Float32

MIN_HINTS = 10
"""Fewer measured depths say nothing about the scale."""

MEASURED_SCALE_FLOOR = 0.02
"""No measurement knows the scale of a picture better than this: scanner, calibration and time offset are in it."""

BASELINE_SCALE_FLOOR = 0.05
"""Assumed error of a depth scale that the distances between anchors fixed; not measured with real weights."""


@dataclass(frozen=True)
class ScaleCheck:
    """What predicted depth must be multiplied by, and how well that is known."""

    factor: float
    """Given over predicted lengths."""
    common_log_sigma: float
    """Standard deviation of the log scale after the correction."""


def z_depth(dense: DensePrediction, view: PhotoView) -> Float32:
    """(h, w) z-depth of the predicted distances along the rays of the photo's own lens."""
    from geocorrect.networks.mapanything.preprocess import network_rays

    assert view.camera is not None
    z_m: Float32 = dense.distance_m * network_rays(view.camera, dense.placement)[..., 2]
    return z_m


def agreement_of_first(predictions: Sequence[DensePrediction], poses: ScenePoses) -> NDArray[np.float64]:
    """(h, w) share of the other views that see the first view's points where it says."""
    from geocorrect.networks.mapanything.intrinsics import fit_intrinsics

    views = [
        ViewDepth(
            (dense.distance_m * dense.rays[..., 2]).astype(float), dense.believed, fit_intrinsics(dense.rays).matrix,
            pose.matrix,
        )
        for dense, pose in zip(predictions, poses.first_from_view, strict=True)
    ]  # fmt: skip
    if not all(np.isfinite(view.intrinsics).all() for view in views):
        return np.zeros(views[0].z_m.shape)  # rays of no pinhole confirm nothing
    return agreement(views)[0]


def scale_from_hints(z_m: Float32, hints: DepthHints | None, dense: DensePrediction) -> ScaleCheck | None:
    """Median ratio of measured over predicted depth at the measured pixels; None with fewer than ten of them."""
    if hints is None or not len(hints.px):
        return None
    height, width = z_m.shape
    column, row = np.rint(dense.placement.to_network(hints.px)).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (hints.z_m > 0)
    column, row, measured_m = column[inside], row[inside], hints.z_m[inside]
    predicted_m = np.where(dense.believed[row, column], z_m[row, column], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_ratio = np.log(measured_m / predicted_m)
    log_ratio = log_ratio[np.isfinite(log_ratio)]
    if len(log_ratio) < MIN_HINTS:
        return None
    middle = float(np.median(log_ratio))
    spread = 1.4826 * float(np.median(np.abs(log_ratio - middle)))
    # Errors of neighbouring pixels go together: a thousand samples are not worth more than thirty.
    sigma = float(np.hypot(spread / np.sqrt(min(len(log_ratio), 30)), MEASURED_SCALE_FLOOR))
    return ScaleCheck(float(np.exp(middle)), sigma)


def scale_from_baselines(views: Sequence[PhotoView], poses: ScenePoses, prior_sigma: float) -> ScaleCheck | None:
    """Known over predicted distances between the anchors; None where they are at one place."""
    known = [view.world_from_cam for view in views if view.world_from_cam is not None]
    if len(known) < len(views) or len(views) < 2:
        return None
    fit = fit_pose_similarity(known, poses.first_from_view)
    if not fit.is_scale_known:
        return None
    left_over = float(np.sqrt(np.mean(fit.centre_residual_m**2))) / fit.spread_m
    sigma = min(float(np.hypot(left_over, BASELINE_SCALE_FLOOR)), prior_sigma)
    return ScaleCheck(fit.target_from_source.scale, sigma)
