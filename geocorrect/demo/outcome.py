"""What the system said about one demo photo, in the words that the truth can be compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from geocorrect.geometry.frame import Frame
from geocorrect.records import Correction, Result

NAN = math.nan


@dataclass(frozen=True)
class Outcome:
    """A corrected place, or why there is none. Degrees WGS84, ellipsoidal metres, heading from true north.

    reason: None for a corrected photo, else the reason of its rejection.
    """

    image_id: str
    lon_deg: float = NAN
    lat_deg: float = NAN
    height_m: float = NAN
    heading_deg: float = NAN
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.reason is None and not all(map(math.isfinite, (self.lon_deg, self.lat_deg, self.height_m))):
            raise ValueError(f"outcome of {self.image_id}: a corrected photo needs longitude, latitude and height")

    @property
    def accepted(self) -> bool:
        """Whether the photo was given a corrected place."""
        return self.reason is None

    @classmethod
    def of(cls, result: Result, frame: Frame) -> Outcome:
        """From a result of the pipeline whose poses are in `frame`."""
        if not isinstance(result, Correction):
            return cls(result.image_id, reason=str(result.reason))
        lon, lat, height = frame.wgs84_from_enu(result.world_from_cam.translation_m)
        heading = frame.heading_deg(result.world_from_cam)
        return cls(result.image_id, float(lon), float(lat), float(height), heading)
