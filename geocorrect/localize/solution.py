"""What an estimator hands to the gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records import NAN, ScaleSource

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AnchorFit:
    """How one anchor fares under the solution.

    inliers: (N,) bool over the anchor's observations; residual_px: (N,), nan where there is none;
    single_shift_m: distance between the pose from this anchor alone and the solution, nan when it has none;
    weight: 0…1, 0 = switched off.
    """

    inliers: NDArray[np.bool_]
    residual_px: Float
    single_shift_m: float = NAN
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Solution:
    """A pose with covariance (6×6, anchors' georeference included) and the evidence for it, anchor by anchor.

    alternative_share: support of the best pose that lies far from this one, relative to this one's; 0 when
    there is none. scale_ratio: scale from depth over scale from anchor baselines, nan when only one of them
    is known; scale_sigmas: how far the two are apart in sigmas of their difference. leave_one_out_m: largest
    horizontal shift of the pose when one anchor is left out, nan with fewer than two. focal_ratio: estimated over
    given focal length, nan when it was held fixed. query_camera: the photo's camera as estimated, None when it was
    taken as given.
    """

    world_from_cam: Pose
    fits: tuple[AnchorFit, ...]
    alternative_share: float
    scale_source: ScaleSource
    scale_ratio: float = NAN
    scale_sigmas: float = NAN
    leave_one_out_m: float = NAN
    focal_ratio: float = NAN
    query_camera: Camera | None = None

    @property
    def n_inliers(self) -> int:
        """Inliers over all anchors."""
        return int(sum(fit.inliers.sum() for fit in self.fits))

    @property
    def anchor_spread_m(self) -> float:
        """Median distance of the single-anchor poses from this one, weighted by their inliers; nan with
        fewer than two.
        """
        shifts = np.array([fit.single_shift_m for fit in self.fits])
        counts = np.array([float(fit.inliers.sum()) for fit in self.fits])
        known = np.isfinite(shifts) & (counts > 0)
        if known.sum() < 2:
            return NAN
        order = np.argsort(shifts[known])
        cumulative = np.cumsum(counts[known][order])
        return float(shifts[known][order][np.searchsorted(cumulative, cumulative[-1] / 2)])
