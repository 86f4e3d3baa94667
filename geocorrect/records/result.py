"""A result: a corrected pose or the reason why there is none, with everything that it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from geocorrect.errors import Reason, Status
from geocorrect.geometry.pose import Pose
from geocorrect.records.basic import NAN


class ScaleSource(StrEnum):
    """Which signal fixed the metric scale of a pose; SEQUENCE: the results of other photos of the same recording."""

    DEPTH = "depth"
    BASELINES = "baselines"
    BOTH = "both"
    SEQUENCE = "sequence"


@dataclass(frozen=True)
class AnchorEvidence:
    """What one anchor contributed to a result; nan where it was not used."""

    anchor_id: str
    n_matches: int
    """Matches that the matcher delivered."""
    n_verified: int
    n_points: int
    """Those consistent with one relative pose, and of these those with a known depth."""
    n_inliers: int
    """Those that support the result."""
    median_residual_px: float = NAN
    """Of the inliers, in pixels of the anchor."""
    single_anchor_shift_m: float = NAN
    """Distance of the pose from this anchor alone to the result."""
    weight: float = NAN
    """0…1, 0 = switched off as a whole."""


@dataclass(frozen=True)
class Evidence:
    """Everything that a result depends on; stored with corrections, and with rejections as far as the method got."""

    anchors: tuple[AnchorEvidence, ...] = ()
    matcher: str = ""
    """Fingerprint of the matcher."""
    depth: str = ""
    depth_is_oracle: bool = False
    """Names of the depth sources, joined by +, and whether some of them measured it (LiDAR)."""
    scale_source: ScaleSource | None = None
    scale_ratio: float = NAN
    """Scale from depth over scale from the anchors' baselines."""
    n_matches: int = 0
    n_inliers: int = 0
    """Over all anchors."""
    inlier_coverage: float = NAN
    """Share of the photo's cells that hold an inlier."""
    median_residual_px: float = NAN
    displacement_m: float = NAN
    """Horizontal, from the reported position."""
    anchor_spread_m: float = NAN
    """Median distance of the single-anchor poses from the result."""
    focal_ratio: float = NAN
    """Estimated over given focal length."""
    gate: Mapping[str, float] = field(default_factory=dict)
    """The statistics that the gate judged, by name."""
    lens: Mapping[str, float] = field(default_factory=dict)
    """What the matches alone say of the photo's lens, the stated calibration left out: focal_px, principal_x_px,
    principal_y_px, bend (distortion beyond the stated one), and focal_sigma (relative), principal_x_sigma_px,
    principal_y_sigma_px, bend_sigma; empty where they were not asked."""
    rolling_shutter: Mapping[str, float] = field(default_factory=dict)
    """readout_s, speed_m_s, speed_sigma_m_s of the photo; n_anchors with a rolling shutter and a known motion, and
    n_unknown without one; moved_m, by how much the correction moved the pose, nan where nothing was corrected. Empty
    where no camera is known to have a rolling shutter."""


@dataclass(frozen=True)
class Correction:
    """A corrected pose with its evidence."""

    image_id: str
    world_from_cam: Pose
    """In the scene's local ENU frame, with 6×6 covariance."""
    status: Status
    """ACCEPTED or REVIEW."""
    expected_error_m: float
    """Predicted 68 % horizontal error."""
    expected_heading_error_deg: float
    """Predicted standard deviation of the heading."""
    evidence: Evidence

    def __post_init__(self) -> None:
        if self.status is Status.REJECTED:
            raise ValueError("a rejected image is a Rejection, not a Correction")
        if self.world_from_cam.covariance is None:
            raise ValueError(f"correction of {self.image_id} has no covariance")


@dataclass(frozen=True)
class Rejection:
    """An image that was not corrected."""

    image_id: str
    reason: Reason
    detail: str = ""
    """Human-readable sentence with the figures."""
    evidence: Evidence = field(default_factory=Evidence)
    """As far as the method got."""


Result = Correction | Rejection
