"""What the system said about the demo's photos, and how far that is from the truth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geocorrect.demo.world.truth import DemoTruth, PhotoTruth
from geocorrect.geometry.frame import Frame, angle_difference_deg
from geocorrect.records import NAN, Correction, Result
from geocorrect.report.statistics import FALSE_ACCEPT_M, percentile_of


@dataclass(frozen=True)
class Outcome:
    """A corrected place (WGS84), or why there is none."""

    image_id: str
    lon_deg: float = NAN
    lat_deg: float = NAN
    height_m: float = NAN
    """Above the ellipsoid."""
    heading_deg: float = NAN
    """From true north."""
    reason: str | None = None
    """None for a corrected photo, else the reason of its rejection."""

    def __post_init__(self) -> None:
        if self.accepted and not all(map(math.isfinite, (self.lon_deg, self.lat_deg, self.height_m))):
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
        lon, lat, height = map(float, frame.wgs84_from_enu(result.world_from_cam.translation_m))
        return cls(result.image_id, lon, lat, height, frame.heading_deg(result.world_from_cam))


def summarise(
    truth: DemoTruth,
    outcomes: Sequence[Outcome],
    wall_s: float,
    computed: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """The demo's score; medians of nothing are nan.

    reported_median_m is the horizontal error of the reported positions of the localisable photos: their altitudes are
    no positions. computed_median_m is that of the positions that the provider computed (`computed`: longitude and
    latitude by photo). Other errors are in three dimensions, of accepted localisable photos. A false accept is an
    accepted photo, localisable or not, that is more than 1 m off.

    Raises:
        ValueError: the outcomes are not exactly one per photo.
    """
    by_id, given = {outcome.image_id: outcome for outcome in outcomes}, computed or {}
    if len(by_id) != len(outcomes) or by_id.keys() != truth.photos.keys():
        raise ValueError(f"{len(outcomes)} outcomes are not one for each of the {len(truth.photos)} photos")
    localisable = [photo for photo in truth.photos.values() if photo.localisable]
    accepted = [(truth.photos[o.image_id], o) for o in outcomes if o.accepted]
    errors_m = {photo.id: corrected_error_m(truth.frame, photo, o) for photo, o in accepted}
    good = [errors_m[photo.id] for photo, _ in accepted if photo.localisable]
    turns = [abs(float(angle_difference_deg(o.heading_deg, p.heading_deg))) for p, o in accepted if p.localisable]
    return {
        "n_images": len(outcomes),
        "n_localisable": len(localisable),
        "n_accepted": len(accepted),
        "n_rejected": len(outcomes) - len(accepted),
        "reasons": dict(sorted(Counter(o.reason for o in outcomes if o.reason is not None).items())),
        "reported_median_m": percentile_of((reported_error_m(truth.frame, photo) for photo in localisable), 50),
        "computed_median_m": percentile_of(
            (_horizontal_error_m(truth.frame, photo, given[photo.id]) for photo in localisable if photo.id in given), 50
        ),
        "corrected_median_m": percentile_of(good, 50),
        "corrected_p90_m": percentile_of(good, 90),
        "heading_median_deg": percentile_of(turns, 50),
        "false_accepts": sum(error > FALSE_ACCEPT_M for error in errors_m.values()),
        "wall_s": round(wall_s, 1),
    }


def reported_error_m(frame: Frame, photo: PhotoTruth) -> float:
    """Horizontal distance of the reported position from the truth."""
    return _horizontal_error_m(frame, photo, (photo.reported_lon_deg, photo.reported_lat_deg))


def _horizontal_error_m(frame: Frame, photo: PhotoTruth, lon_lat_deg: tuple[float, float]) -> float:
    place = frame.enu_from_wgs84(*lon_lat_deg, photo.height_m)
    return float(np.linalg.norm((place - photo.world_from_cam.translation_m)[:2]))


def corrected_error_m(frame: Frame, photo: PhotoTruth, outcome: Outcome) -> float:
    """Distance in three dimensions of an accepted outcome from the truth."""
    corrected = frame.enu_from_wgs84(outcome.lon_deg, outcome.lat_deg, outcome.height_m)
    return float(np.linalg.norm(corrected - photo.world_from_cam.translation_m))
