"""The frozen records that travel between rooms. Small; no behaviour beyond validation.

Unknown numbers are nan, unknown objects None; never 0 or −1. Ids are strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import Reason, Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
ImageArray = NDArray[np.uint8]
NAN = float("nan")
SEQUENCE_MATCHER = "sequence"
"""What runs and results of the sequence step call their matcher: no photo was matched for them."""


class MetadataQuality(StrEnum):
    """What the provider's `computed_*` fields are worth (MAPILLARY: present does not mean reconstructed)."""

    RAW_ONLY = "raw_only"
    DEFAULT = "default"
    SFM = "sfm"


@dataclass(frozen=True)
class Position:
    """A geographic position: degrees WGS84; height in metres, nan when unknown.

    height_reference says what the height is measured from: "ellipsoid", "unknown", or a vertical CRS.
    """

    lon_deg: float
    lat_deg: float
    height_m: float = NAN
    height_reference: str = "unknown"

    def __post_init__(self) -> None:
        if not (-180.0 <= self.lon_deg <= 180.0 and -90.0 <= self.lat_deg <= 90.0):
            raise ValueError(f"lon {self.lon_deg}, lat {self.lat_deg} is not a position on earth (swapped?)")


@dataclass(frozen=True)
class Attribution:
    """Who made the photo and under which licence; travels with every export."""

    creator: str = ""
    page_url: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Image:
    """A crowd-sourced photo (query): what its provider says about it.

    camera describes exactly the pixels that `imagery.read_image` returns: the raster of `path`, turned back to the
    raw sensor orientation by `exif_orientation`; None when the intrinsics are unusable (a reason to reject). path
    is None until downloaded. `computed_*` is the provider's own estimate, for comparison and as a weak prior only.
    `problem`
    quarantines an image with a Reason found before any matching. `provider` keeps the remaining raw metadata.
    """

    id: str
    reported: Position | None
    camera: Camera | None
    path: Path | None
    sequence_id: str | None = None
    captured_at: datetime | None = None
    heading_deg: float = NAN
    computed: Position | None = None
    computed_heading_deg: float = NAN
    computed_enu_from_cam: Pose | None = None
    quality: MetadataQuality = MetadataQuality.RAW_ONLY
    exif_orientation: int = 1
    device_make: str | None = None
    device_model: str | None = None
    attribution: Attribution = field(default_factory=Attribution)
    sha256: str | None = None
    harvested_at: datetime | None = None
    problem: Reason | None = None
    provider: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_id("image", self.id)
        _require_utc(f"image {self.id}: captured_at", self.captured_at)


@dataclass(frozen=True)
class LidarScan:
    """Where an anchor's laser scan lies and how it is tied to the camera.

    cam_from_lidar: pose of the LiDAR in the camera *at the image's exposure* (motion between the two times already
    accounted for). format: name of the on-disk layout known to `anchors.lidar`. max_range_m: farther returns are noise.
    """

    path: Path
    format: str
    cam_from_lidar: Pose
    max_range_m: float = 120.0


@dataclass(frozen=True)
class Anchor:
    """A reference image with a metric pose in the scene's local ENU frame.

    world_from_cam carries the 6×6 covariance of the pose (georeference and trajectory), if known. `alignment_id` names
    the georeference that produced the pose; a new alignment gives a new id and makes results due again.
    """

    id: str
    dataset: str
    path: Path
    camera: Camera
    world_from_cam: Pose
    alignment_id: str
    captured_at: datetime | None = None
    lidar: LidarScan | None = None
    sha256: str | None = None
    drive_id: str | None = None
    attribution: Attribution = field(default_factory=Attribution)

    def __post_init__(self) -> None:
        _require_id("anchor", self.id)
        _require_utc(f"anchor {self.id}: captured_at", self.captured_at)


@dataclass(frozen=True, eq=False)
class AlignmentRecord:
    """One version of the georeference of a dataset of anchors, as the catalog keeps it.

    id: changes with every change of the numbers. world_from_local maps the dataset's own frame into the scene's
    local ENU frame. covariance: (6, 6), or (7, 7) with log-scale last, order (translation m, rotation rad), world
    side; None when unknown.
    details: clicks, residuals and whatever else explains the version (plain JSON values).
    """

    id: str
    dataset: str
    method: str
    created_at: datetime
    world_from_local: Similarity
    covariance: Float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_id("alignment", self.id)
        _require_utc(f"alignment {self.id}: created_at", self.created_at)


@dataclass(frozen=True, eq=False)
class AnchorIndex:
    """Where all anchors stand: what a spatial search needs, without the rest of the record.

    ids: (N,) strings, sorted; enu_m: (N, 3) camera centres in the scene's ENU frame; heading_deg: (N,) clockwise
    from true north, nan when undefined; alignment_ids: (N,) georeference version of each; content_hashes: (N,)
    change with anything that a result takes from the anchor.
    """

    ids: tuple[str, ...]
    enu_m: Float
    heading_deg: Float
    alignment_ids: tuple[str, ...]
    content_hashes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Query:
    """A photo ready to be localised: pixels in memory, the reported position moved into the scene's ENU frame.

    pixels: (H, W, 3) RGB uint8 in the orientation that camera describes. reported_enu_m: (3,), z nan when unknown, all
    nan when there is no position. heading_deg clockwise from true north, nan when unknown. mask: (H, W) True where the
    pixels may be trusted; None: everywhere.
    """

    image_id: str
    pixels: ImageArray
    camera: Camera
    reported_enu_m: Float
    heading_deg: float = NAN
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class AnchorView:
    """An anchor with its pixels in memory, (H, W, 3) RGB uint8; mask as in `Query`."""

    anchor: Anchor
    pixels: ImageArray
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Pair:
    """A query and one candidate anchor. distance_m and heading_difference_deg are nan when unknown."""

    image_id: str
    anchor_id: str
    rank: int
    distance_m: float = NAN
    heading_difference_deg: float = NAN


@dataclass(frozen=True, eq=False)
class Matches:
    """Correspondences of one query with one anchor, in pixels of the full images (top-left pixel centre = (0, 0)).

    query_px, anchor_px: (N, 2) float32; score: (N,) float32, larger is better.
    """

    query_px: Float32
    anchor_px: Float32
    score: Float32

    def __post_init__(self) -> None:
        for name, columns in (("query_px", 2), ("anchor_px", 2)):
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if array.ndim != 2 or array.shape[1] != columns or not np.isfinite(array).all():
                raise ValueError(f"Matches.{name} must be a finite (N, {columns}) array, got {array.shape}")
            object.__setattr__(self, name, array)
        score = np.ascontiguousarray(self.score, dtype=np.float32)
        if not len(self.query_px) == len(self.anchor_px) == len(score) or score.ndim != 1:
            raise ValueError("Matches need as many query points as anchor points and scores")
        object.__setattr__(self, "score", score)

    def __len__(self) -> int:
        return len(self.score)

    def subset(self, keep: NDArray[Any]) -> Matches:
        """The matches selected by a boolean mask or an index array."""
        return Matches(self.query_px[keep], self.anchor_px[keep], self.score[keep])

    @classmethod
    def empty(cls) -> Matches:
        """No match at all."""
        return cls(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Metric depth of one anchor image: z-depth in metres along the optical axis, nan = unknown.

    Dense sources fill z_m (H, W). Sparse sources (LiDAR, triangulated tracks) fill samples_px (N, 2) and
    samples_z_m (N,): exact sub-pixel projections; the pixel ray is the caller's. log_sigma is the standard
    deviation of log depth: one
    number, an (H, W) map, or (N,) per sample. is_oracle marks measured depth (LiDAR), never hidden in results.
    common_log_sigma is the part of that error shared by the whole image (unknown scale of a network), 0 for LiDAR.
    """

    name: str
    is_oracle: bool
    z_m: Float32 | None = None
    samples_px: Float | None = None
    samples_z_m: Float | None = None
    log_sigma: float | Float32 = 0.01
    common_log_sigma: float = 0.0

    def __post_init__(self) -> None:
        if (self.z_m is None) == (self.samples_px is None):
            raise ValueError("DepthMap needs either a dense map z_m or sparse samples, not both and not neither")
        if self.z_m is not None:
            z = np.ascontiguousarray(self.z_m, dtype=np.float32)
            if z.ndim != 2:
                raise ValueError(f"DepthMap.z_m must be (H, W), got {z.shape}")
            object.__setattr__(self, "z_m", z)
        else:
            px = np.ascontiguousarray(self.samples_px, dtype=np.float64)
            z_samples = np.ascontiguousarray(self.samples_z_m, dtype=np.float64)
            if px.ndim != 2 or px.shape[1] != 2 or z_samples.shape != (len(px),):
                raise ValueError(f"DepthMap samples must be (N, 2) and (N,), got {px.shape} and {z_samples.shape}")
            object.__setattr__(self, "samples_px", px)
            object.__setattr__(self, "samples_z_m", z_samples)


class ScaleSource(StrEnum):
    """Which signal fixed the metric scale of a pose."""

    DEPTH = "depth"
    BASELINES = "baselines"
    BOTH = "both"
    SEQUENCE = "sequence"
    """The results of other photos of the same recording."""


@dataclass(frozen=True)
class AnchorEvidence:
    """What one anchor contributed to a result; counts, and residuals in pixels (nan when not used)."""

    anchor_id: str
    n_matches: int
    n_verified: int
    n_points: int
    n_inliers: int
    median_residual_px: float = NAN
    single_anchor_shift_m: float = NAN
    weight: float = NAN


@dataclass(frozen=True)
class Evidence:
    """Everything that a result rests on; stored with corrections and with rejections as far as the method got."""

    anchors: tuple[AnchorEvidence, ...] = ()
    matcher: str = ""
    depth: str = ""
    depth_is_oracle: bool = False
    scale_source: ScaleSource | None = None
    scale_ratio: float = NAN
    n_matches: int = 0
    n_inliers: int = 0
    inlier_coverage: float = NAN
    median_residual_px: float = NAN
    displacement_m: float = NAN
    anchor_spread_m: float = NAN
    focal_ratio: float = NAN
    gate: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Correction:
    """A corrected pose in the scene's local ENU frame, with 6×6 covariance and what it rests on.

    expected_error_m: predicted 68 % horizontal error in metres; expected_heading_error_deg likewise. status is
    ACCEPTED or REVIEW.
    """

    image_id: str
    world_from_cam: Pose
    status: Status
    expected_error_m: float
    expected_heading_error_deg: float
    evidence: Evidence

    def __post_init__(self) -> None:
        if self.status is Status.REJECTED:
            raise ValueError("a rejected image is a Rejection, not a Correction")
        if self.world_from_cam.covariance is None:
            raise ValueError(f"correction of {self.image_id} has no covariance")


@dataclass(frozen=True)
class Rejection:
    """An image that was not corrected, why, and how far the method got. `detail` is one sentence for people."""

    image_id: str
    reason: Reason
    detail: str = ""
    evidence: Evidence = field(default_factory=Evidence)


Result = Correction | Rejection


def _require_id(what: str, value: str) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what} id must be a non-empty string, got {value!r}")


def _require_utc(what: str, value: datetime | None) -> None:
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{what} must carry a time zone, got naive {value}")
