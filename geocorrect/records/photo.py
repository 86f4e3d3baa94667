"""Photos as the catalog knows them: where their provider puts them, who made them, with which camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records.basic import NAN, check


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
        check("image", self.id, "captured_at", self.captured_at)
