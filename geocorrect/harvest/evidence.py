"""Whether a provider's model of a recording is believed: its headings must fit the way that the camera went.

A model that is wrong as a whole (a fisheye taken for a perspective camera) still looks like one; the photos' own
movement is independent of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from geocorrect.geometry.camera import Projection
from geocorrect.geometry.frame import Frame
from geocorrect.harvest.mapillary.metadata import ASSUMED_FOCAL_SIGMA, CONTRADICTED
from geocorrect.records import Image, MetadataQuality, Position

_SHORTEST_STEP_M, _LONGEST_STEP_M = 2.0, 50.0
_FEWEST_STEPS = 4
_FARTHEST_DEG = 45.0
"""A camera looks forwards, backwards or, where its compass says so, sideways; and never more than this off."""


def without_contradicted_models(images: Sequence[Image]) -> list[Image]:
    """The images of one recording or component; where the model's headings fit neither the direction of travel nor
    the compass, its poses count as DEFAULT and its focal lengths as assumed.
    """
    ordered = sorted((image for image in images if _modelled(image)), key=_when)
    from_travel = [
        (image, _turn_deg(image.computed_heading_deg - travel_deg))
        for image, following in pairwise(ordered)
        if not math.isnan(travel_deg := _travel_deg(image.reported, following.reported))
    ]
    if len(from_travel) < _FEWEST_STEPS:
        return list(images)
    off_deg = np.median([min(abs(turn), 180 - abs(turn)) for _, turn in from_travel])
    compass = [abs(_turn_deg(image.computed_heading_deg - image.heading_deg)) for image, _ in from_travel]
    has_compass = not all(map(math.isnan, compass))
    if off_deg <= _FARTHEST_DEG or (has_compass and float(np.nanmedian(compass)) <= _FARTHEST_DEG):
        return list(images)
    return [_disbelieved(image) if _modelled(image) else image for image in images]


def _modelled(image: Image) -> bool:
    perspective = image.camera is None or image.camera.projection is not Projection.SPHERICAL
    known = perspective and not math.isnan(image.computed_heading_deg)
    return known and (image.quality is MetadataQuality.SFM or CONTRADICTED in image.provider)


def _disbelieved(image: Image) -> Image:
    camera = image.camera and replace(image.camera, focal_sigma=ASSUMED_FOCAL_SIGMA)
    note = "the model's headings contradict the direction of travel; its poses are not believed"
    notes = [*(other for other in image.provider.get("notes", ()) if other != note), note]
    provider = {**image.provider, CONTRADICTED: True, "notes": notes}
    return replace(image, quality=MetadataQuality.DEFAULT, camera=camera, provider=provider)


def _when(image: Image) -> tuple[float, str]:
    """The order of the photos: by time, by name where it is unknown."""
    return 0.0 if image.captured_at is None else image.captured_at.timestamp(), image.id


def _travel_deg(start: Position | None, end: Position | None) -> float:
    """Direction from true north; nan where the step is too short or too long to tell one."""
    if start is None or end is None:
        return math.nan
    east, north, _ = Frame("here", start.lon_deg, start.lat_deg).enu_from_wgs84(end.lon_deg, end.lat_deg, 0.0)
    length_m = math.hypot(east, north)
    tells = _SHORTEST_STEP_M <= length_m <= _LONGEST_STEP_M
    return math.degrees(math.atan2(east, north)) if tells else math.nan


def _turn_deg(degrees: float) -> float:
    return (degrees + 180.0) % 360.0 - 180.0
