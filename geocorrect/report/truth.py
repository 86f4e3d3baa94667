"""Where photos were truly taken, when somebody knows: for the calibration panel of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.io.text_file import read_json
from geocorrect.records import NAN

LonLat = tuple[float, float]


@dataclass(frozen=True)
class TruePlace:
    """Where one photo was taken (WGS84)."""

    lon_deg: float
    lat_deg: float
    height_m: float = NAN
    """Above the ellipsoid."""
    heading_deg: float = NAN
    """From true north."""
    localisable: bool | None = None
    """Whether anchors see what the photo shows; None when nobody says."""

    def __post_init__(self) -> None:
        if not (-180.0 <= self.lon_deg <= 180.0 and -90.0 <= self.lat_deg <= 90.0):
            raise ValueError(f"lon {self.lon_deg}, lat {self.lat_deg} is not a position on earth (swapped?)")


@dataclass(frozen=True)
class Truth:
    """What is known of an area."""

    places: Mapping[str, TruePlace]
    """By image id."""
    outlines: tuple[tuple[LonLat, ...], ...] = ()
    """Of buildings (closed rings of lon, lat), drawn under the photos."""


def read_truth_file(path: Path) -> Truth:
    """Read a truth JSON, such as the demo's `world/truth.json`.

    `photos`: object of image id → {lon_deg, lat_deg, height_m?, heading_deg?, localisable?}. Optional `frame` (name,
    lon_deg, lat_deg, height_m) with `building_outlines_m`: rings of [east m, north m] in it. Other keys are ignored.
    Raises InputError naming the file and the photo.
    """
    try:
        data = read_json(path)
        places = {str(image_id): _place(path, image_id, value) for image_id, value in data["photos"].items()}
        return Truth(places, _outlines(data))
    except KeyError as error:
        raise InputError(f"{path}: {error} is missing; a truth file has `photos` with lon_deg and lat_deg") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a truth file ({error})") from None


def _place(path: Path, image_id: str, value: Mapping[str, Any]) -> TruePlace:
    try:
        localisable = value.get("localisable")
        height_m, heading_deg = _number(value.get("height_m")), _number(value.get("heading_deg"))
        localisable = None if localisable is None else bool(localisable)
        return TruePlace(float(value["lon_deg"]), float(value["lat_deg"]), height_m, heading_deg, localisable)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: photo {image_id}: {error} (lon_deg and lat_deg are needed)") from None


def _number(value: float | None) -> float:
    return NAN if value is None or not math.isfinite(value) else float(value)


def _outlines(data: Mapping[str, Any]) -> tuple[tuple[LonLat, ...], ...]:
    rings = data.get("building_outlines_m", [])
    if not rings or "frame" not in data:
        return ()
    frame = Frame(**data["frame"])
    corners = [frame.wgs84_from_enu([[x, y, 0.0] for x, y, *_ in ring]) for ring in rings]
    return tuple(tuple(zip(lon.tolist(), lat.tolist(), strict=True)) for lon, lat, _ in corners)
