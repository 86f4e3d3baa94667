"""Anchors, their scans, and the alignment that ties a drive to the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.records.basic import Float, ImageArray, check
from geocorrect.records.motion import CameraMotion
from geocorrect.records.photo import Attribution


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


@dataclass(frozen=True, eq=False)
class AnchorNoise:
    """How wrong an anchor's recorded pose is by what the anchors of its drive say about each other."""

    position_m: float
    """Standard deviation per axis, relative to the anchors around it."""
    rotation_deg: float
    """The same of the rotation."""
    common: Float
    """(6, 6) of what neighbours err by alike: clock and mounting of the cameras; translation m, rotation rad, world
    side."""


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
    noise: AnchorNoise | None = None
    """As `geocorrect anchors check` found it; None before."""
    motion: CameraMotion | None = None
    """From the drive, where the camera has a rolling shutter; None when unknown. Not stored."""

    def __post_init__(self) -> None:
        check("anchor", self.id, "captured_at", self.captured_at)


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
        check("alignment", self.id, "created_at", self.created_at)


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
class AnchorView:
    """An anchor with its pixels in memory."""

    anchor: Anchor
    pixels: ImageArray
    mask: NDArray[np.bool_] | None = None
    """Both as in `Query`."""
