"""Errors before and after, against the truth of the demo world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from geocorrect.demo.outcome import Outcome
from geocorrect.demo.world.truth import DemoTruth, PhotoTruth
from geocorrect.geometry.frame import Frame, angle_difference_deg

FALSE_ACCEPT_M = 1.0
"""An accepted pose farther than this from the truth is a false one."""


def summarise(truth: DemoTruth, outcomes: Sequence[Outcome], wall_s: float) -> dict[str, Any]:
    """The demo's score.

    reported_median_m: horizontal error of the reported positions of the localisable photos (their altitudes are no
    positions). corrected_median_m, corrected_p90_m: error in three dimensions of the accepted localisable photos.
    heading_median_deg: of the same. false_accepts: accepted photos, localisable or not, that are more than 1 m off.
    Medians of nothing are nan. Raises ValueError when the outcomes are not exactly one per photo.
    """
    by_id = {outcome.image_id: outcome for outcome in outcomes}
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
        "reported_median_m": _percentile([reported_error_m(truth.frame, photo) for photo in localisable], 50),
        "corrected_median_m": _percentile(good, 50),
        "corrected_p90_m": _percentile(good, 90),
        "heading_median_deg": _percentile(turns, 50),
        "false_accepts": sum(error > FALSE_ACCEPT_M for error in errors_m.values()),
        "wall_s": round(wall_s, 1),
    }


def reported_error_m(frame: Frame, photo: PhotoTruth) -> float:
    """Horizontal distance of the reported position from the truth."""
    reported = frame.enu_from_wgs84(photo.reported_lon_deg, photo.reported_lat_deg, photo.height_m)
    return float(np.linalg.norm((reported - photo.world_from_cam.translation_m)[:2]))


def corrected_error_m(frame: Frame, photo: PhotoTruth, outcome: Outcome) -> float:
    """Distance in three dimensions of an accepted outcome from the truth."""
    corrected = frame.enu_from_wgs84(outcome.lon_deg, outcome.lat_deg, outcome.height_m)
    return float(np.linalg.norm(corrected - photo.world_from_cam.translation_m))


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")
