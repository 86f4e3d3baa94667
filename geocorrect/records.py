"""The frozen records that travel between the packages; no behaviour beyond validation.

Unknown numbers are nan, unknown objects None; never 0 or −1. Ids are non-empty strings, moments carry a time zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
SEQUENCE_MATCHER = "sequence"  # of runs and results of the sequence step: no photo was matched for them
REVIEW_MATCHER = "review"  # of runs that hold decisions of people; on results of sequences "sequence+review"


class MetadataQuality(StrEnum):
    """What the provider's `computed_*` fields are worth: present is not yet reconstructed (`docs/mapillary_api.md`)."""

    RAW_ONLY = "raw_only"
    """There are none."""
    DEFAULT = "default"
    """They repeat what was reported."""
    SFM = "sfm"
    """They come from a reconstruction."""


@dataclass(frozen=True)
class Position:
    """A geographic position on WGS84."""

    lon_deg: float
    lat_deg: float
    """Longitude −180…180 and latitude −90…90."""
    height_m: float = NAN
    height_reference: str = "unknown"
    """Height, nan when unknown, and what it is measured from: "ellipsoid", "unknown", or a vertical CRS."""

    def __post_init__(self) -> None:
        if not (-180.0 <= self.lon_deg <= 180.0 and -90.0 <= self.lat_deg <= 90.0):
            raise ValueError(f"lon {self.lon_deg}, lat {self.lat_deg} is not a position on earth (swapped?)")


@dataclass(frozen=True)
class Attribution:
    """Who made the photo and under which licence; travels with every export."""

    creator: str = ""
    page_url: str = ""
    """Page of the photo at its provider."""
    licence: str = ""


@dataclass(frozen=True)
class Image:
    """A crowd-sourced photo (query): what its provider says about it."""

    id: str
    """Id at the provider."""
    reported: Position | None
    """Position that the device recorded."""
    camera: Camera | None
    """Describes exactly the pixels that `io.pixels.read_image` returns; None when the intrinsics are unusable."""
    path: Path | None
    """The image file; None until downloaded."""
    sequence_id: str | None = None
    """The recording that the photo belongs to."""
    captured_at: datetime | None = None
    heading_deg: float = NAN
    """Reported compass heading, clockwise from true north."""
    computed: Position | None = None
    """The provider's own estimate of the position: for comparison and as a weak prior only."""
    computed_heading_deg: float = NAN
    computed_enu_from_cam: Pose | None = None
    """The same of heading and orientation, the latter in the ENU axes of the place."""
    quality: MetadataQuality = MetadataQuality.RAW_ONLY
    """What the computed fields are worth."""
    exif_orientation: int = 1
    """Turns the raster of `path` back to the raw sensor orientation, which the camera describes."""
    device_make: str | None = None
    device_model: str | None = None
    attribution: Attribution = field(default_factory=Attribution)
    sha256: str | None = None
    harvested_at: datetime | None = None
    problem: Reason | None = None
    """Quarantines the photo: a reason found before any matching."""
    provider: Mapping[str, Any] = field(default_factory=dict)
    """The remaining raw metadata."""

    def __post_init__(self) -> None:
        _check("image", self.id, "captured_at", self.captured_at)


@dataclass(frozen=True)
class LidarScan:
    """Where an anchor's laser scan lies and how it is tied to the camera."""

    path: Path
    format: str
    """Name of the on-disk layout, one that `anchors.scan` reads."""
    cam_from_lidar: Pose
    """Pose of the LiDAR in the camera at the image's exposure, the motion between the two moments accounted for."""
    max_range_m: float = 120.0
    """Farther returns are noise."""


@dataclass(frozen=True)
class Anchor:
    """A reference image with a metric pose in the scene's local ENU frame."""

    id: str
    """Unique over all datasets of the scene."""
    dataset: str
    path: Path
    camera: Camera
    """Describes the pixels of `path`."""
    world_from_cam: Pose
    """Pose with the 6×6 covariance of georeference and trajectory, if known."""
    alignment_id: str
    """The georeference that produced the pose; a new one makes results due again."""
    captured_at: datetime | None = None
    lidar: LidarScan | None = None
    sha256: str | None = None
    drive_id: str | None = None
    """The drive or session within the dataset."""
    attribution: Attribution = field(default_factory=Attribution)

    def __post_init__(self) -> None:
        _check("anchor", self.id, "captured_at", self.captured_at)


@dataclass(frozen=True, eq=False)
class AlignmentRecord:
    """One version of the georeference of a dataset of anchors, as the catalog stores it."""

    id: str
    """Changes with every change of the numbers."""
    dataset: str
    method: str
    created_at: datetime
    world_from_local: Similarity
    """From the dataset's own frame into the scene's local ENU frame."""
    covariance: Float | None = None
    """(6, 6), or (7, 7) with log-scale last, order (translation m, rotation rad), world side; None when unknown."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Clicks, residuals and whatever else explains the version: plain JSON values."""

    def __post_init__(self) -> None:
        _check("alignment", self.id, "created_at", self.created_at)


@dataclass(frozen=True, eq=False)
class AnchorIndex:
    """Where all anchors stand: what a spatial search needs, without the rest of the record."""

    ids: tuple[str, ...]
    """(N,) sorted."""
    enu_m: Float
    """(N, 3) camera centres in the scene's ENU frame."""
    heading_deg: Float
    """(N,) clockwise from true north, nan when undefined."""
    alignment_ids: tuple[str, ...]
    """(N,) georeference version of each."""
    content_hashes: tuple[str, ...]
    """(N,) change with anything that a result takes from the anchor."""


@dataclass(frozen=True, eq=False)
class Query:
    """A photo ready to be localised: pixels in memory, the reported position in the scene's ENU frame."""

    image_id: str
    pixels: ImageArray
    """(H, W, 3) RGB in the orientation that the camera describes."""
    camera: Camera
    reported_enu_m: Float
    heading_deg: float = NAN
    """(3,) z is nan when unknown, all are when there is no position; clockwise from true north, nan when unknown."""
    mask: NDArray[np.bool_] | None = None
    upright_turns: int | None = None
    """(H, W) True where usable, None: everywhere; counter-clockwise quarter turns to upright, None: unknown."""


@dataclass(frozen=True, eq=False)
class AnchorView:
    """An anchor with its pixels in memory."""

    anchor: Anchor
    pixels: ImageArray
    mask: NDArray[np.bool_] | None = None
    """Both as in `Query`."""


@dataclass(frozen=True)
class Pair:
    """A query and one candidate anchor."""

    image_id: str
    anchor_id: str
    rank: int
    """Place among the query's candidates, best first, from 0."""
    distance_m: float = NAN
    heading_difference_deg: float = NAN
    """Horizontal distance and heading from what was reported to the anchor; nan when unknown."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Correspondences of one query with one anchor, in pixels of the full images (top-left pixel centre = (0, 0))."""

    query_px: Float32
    anchor_px: Float32
    """(N, 2) each."""
    score: Float32
    """(N,) confidence of the matcher, larger is better."""

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

    def best_of_each(self, key: NDArray[Any]) -> Matches:
        """Of the matches with equal rows of `key` (N, D) the one of highest score, the first on a tie; order kept."""
        best_first = np.argsort(-self.score, kind="stable")
        _, first = np.unique(key[best_first], axis=0, return_index=True)
        return self.subset(np.sort(best_first[first]))

    @classmethod
    def joined(cls, parts: Sequence[Matches]) -> Matches:
        """The matches of all parts, one after the other."""
        columns = zip(*((part.query_px, part.anchor_px, part.score) for part in [cls.empty(), *parts]), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    @classmethod
    def empty(cls) -> Matches:
        """No match at all."""
        return cls(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Metric depth of one anchor image along the optical axis: a dense map, or sparse samples (LiDAR, tracks)."""

    name: str
    is_oracle: bool
    """Of the depth source, for the evidence; and whether it measured depth (LiDAR): never hidden in results."""
    z_m: Float32 | None = None
    samples_px: Float | None = None
    samples_z_m: Float | None = None
    """A dense map (H, W), nan where unknown; or sparse samples: exact sub-pixel projections (N, 2), depths (N,)."""
    points_m: Float32 | None = None
    """(H, W, 3) beside a dense map: points in the camera frame, of a source that puts them off their pixels' rays."""
    log_sigma: float | Float32 = 0.01
    """Standard deviation of log depth: one number, an (H, W) map, or (N,) per sample."""
    common_log_sigma: float = 0.0
    from_anchors: frozenset[str] = frozenset()
    """Part of that error which all pixels share, 0 for LiDAR; ids of anchors whose poses on record scaled it."""

    def __post_init__(self) -> None:
        if (self.z_m is None) == (self.samples_px is None):
            raise ValueError("DepthMap needs either a dense map z_m or sparse samples, not both and not neither")
        if self.z_m is not None:
            z = np.ascontiguousarray(self.z_m, dtype=np.float32)
            if z.ndim != 2 or (self.points_m is not None and self.points_m.shape != (*z.shape, 3)):
                raise ValueError(f"DepthMap.z_m must be (H, W), points_m (H, W, 3) if any; z_m is {z.shape}")
            object.__setattr__(self, "z_m", z)
        else:
            px, z_samples = (np.ascontiguousarray(v, dtype=np.float64) for v in (self.samples_px, self.samples_z_m))
            if px.ndim != 2 or px.shape[1] != 2 or z_samples.shape != (len(px),):
                raise ValueError(f"DepthMap samples must be (N, 2) and (N,), got {px.shape} and {z_samples.shape}")
            vars(self).update(samples_px=px, samples_z_m=z_samples)


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


def _check(what: str, id_: str, name: str, moment: datetime | None) -> None:
    if not isinstance(id_, str) or not id_:
        raise ValueError(f"{what} id must be a non-empty string, got {id_!r}")
    if moment is not None and moment.tzinfo is None:
        raise ValueError(f"{what} {id_}: {name} must carry a time zone, got naive {moment}")
