"""What an estimator returns and the gate judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records import NAN, ScaleSource

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AnchorFit:
    """How one anchor fares under the solution."""

    inliers: NDArray[np.bool_]
    """(N,) which of the anchor's observations support it."""
    residual_px: Float
    """(N,) in pixels of the anchor, nan where there is none."""
    single_shift_m: float = NAN
    """Distance of the pose from this anchor alone; nan when there is none."""
    weight: float = 1.0
    """0…1, 0 = switched off as a whole."""


@dataclass(frozen=True, eq=False)
class Solution:
    """A pose and the evidence for it."""

    world_from_cam: Pose
    """With 6×6 covariance, the anchors' georeference included."""
    fits: tuple[AnchorFit, ...]
    """Anchor by anchor, in the order of the observations."""
    alternative_share: float
    """Support of the best pose that lies far from this one, relative to this one's; 0 when there is none."""
    scale_source: ScaleSource
    """Which signal fixed the scale."""
    scale_ratio: float = NAN
    """Scale from depth over scale from the anchors' baselines; nan when only one of them is known."""
    scale_sigmas: float = NAN
    """How far the two are apart, in sigmas of their difference."""
    leave_one_out_m: float = NAN
    """Largest horizontal shift of the pose when one anchor is left out; nan with fewer than two."""
    focal_ratio: float = NAN
    """Estimated over given focal length; nan when it was fixed."""
    lens_sigmas: float = NAN
    """Distance of the lens that the matches want from the stated one; nan when it was not asked."""
    contradiction_sigmas: float = NAN
    """Largest distance between the photo's poses from two anchors alone, in sigmas per degree of freedom, those set
    aside left out; nan with fewer than two."""
    record_noise: float = NAN
    """Noise of the anchors' poses on record as the photo's matches show it, over the stated one; 1 where they agree."""
    record_shift_sigmas: float = NAN
    """Root mean square correction of the anchors' positions, over what it should be if their stated noise is right."""
    by_records: Float | None = None
    """(6, K, 2, 3) by how much the pose errs per unit error of each anchor's recorded position and rotation, world
    side; None where the estimator does not say."""
    measured: Float | None = None
    """(6, 6) what the covariance would be if all records were exact; None where the estimator does not say."""
    lens: Mapping[str, float] = field(default_factory=dict)
    """As in `Evidence`."""
    query_camera: Camera | None = None
    """The photo's camera as estimated; None when it was taken as given."""

    @property
    def n_inliers(self) -> int:
        """Inliers over all anchors."""
        return int(sum(fit.inliers.sum() for fit in self.fits))

    @property
    def anchor_spread_m(self) -> float:
        """Median distance of the single-anchor poses, weighted by their inliers; nan with fewer than two."""
        shifts = np.array([fit.single_shift_m for fit in self.fits])
        counts = np.array([float(fit.inliers.sum()) for fit in self.fits])
        known = np.isfinite(shifts) & (counts > 0)
        if known.sum() < 2:
            return NAN
        order = np.argsort(shifts[known])
        cumulative = np.cumsum(counts[known][order])
        return float(shifts[known][order][np.searchsorted(cumulative, cumulative[-1] / 2)])
