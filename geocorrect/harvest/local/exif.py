"""What a photo's own EXIF says: position, heading, time, device, focal length. Unknown is nan or None."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from geocorrect.errors import InputError
from geocorrect.harvest.mapillary import fields
from geocorrect.records import Position

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKE, _MODEL, _ORIENTATION, _DESCRIPTION = 0x010F, 0x0110, 0x0112, 0x010E
_TIME_ORIGINAL, _SUBSECOND, _OFFSET, _FOCAL_35MM = 0x9003, 0x9291, 0x9011, 0xA405
_FILM_WIDTH_MM = 36.0
_EQUIRECTANGULAR = (b'ProjectionType="equirectangular"', b"ProjectionType>equirectangular<")
NAN = float("nan")


@dataclass(frozen=True)
class ExifFacts:
    """One photo.

    focal_ratio: focal length / longer side of the picture; heading_reference: "true", "magnetic" or "".
    """

    size: tuple[int, int]
    position: Position | None
    heading_deg: float
    heading_reference: str
    captured_at: datetime | None
    make: str | None
    model: str | None
    orientation: int
    focal_ratio: float
    is_equirectangular: bool
    accuracy_m: float
    description: str


def read_exif(path: Path) -> ExifFacts:
    """The facts of one file. InputError naming it when it is no readable picture; broken tags are just unknown."""
    from PIL import Image as PillowImage

    try:
        with path.open("rb") as stream:
            head = stream.read(65_536)
        with PillowImage.open(path) as picture:
            size, tags = picture.size, picture.getexif()
            gps, detail = dict(tags.get_ifd(_GPS_IFD)), dict(tags.get_ifd(_EXIF_IFD))
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable picture ({error})") from None
    focal_mm = _number(detail.get(_FOCAL_35MM))
    reference = {"T": "true", "M": "magnetic"}.get(str(gps.get(16, "")), "")
    return ExifFacts(
        size=size,
        position=_position(gps),
        heading_deg=fields.compass_deg(_number(gps.get(17))),
        heading_reference=reference,
        captured_at=_captured_at(detail, gps),
        make=fields.text(tags.get(_MAKE)),
        model=fields.text(tags.get(_MODEL)),
        orientation=fields.orientation(tags.get(_ORIENTATION)),
        focal_ratio=focal_mm / _FILM_WIDTH_MM if focal_mm > 0 else NAN,
        is_equirectangular=any(mark in head for mark in _EQUIRECTANGULAR),
        accuracy_m=_number(gps.get(31)),
        description=str(tags.get(_DESCRIPTION, "")),
    )


def _number(value: Any) -> float:
    try:
        result = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return NAN
    return result if math.isfinite(result) else NAN


def _position(gps: dict[int, Any]) -> Position | None:
    lon, lat = _degrees(gps.get(4), gps.get(3), "EW"), _degrees(gps.get(2), gps.get(1), "NS")
    height_m = fields.altitude_m(_number(gps.get(6)))
    if gps.get(5) in (1, b"\x01"):
        height_m = -height_m
    return fields.position({"coordinates": [lon, lat]}, height_m, "unknown")


def _degrees(value: Any, reference: Any, letters: str) -> float:
    """Degrees, minutes, seconds; nan without the hemisphere, which is not guessed."""
    letter = str(reference or "").strip().upper()[:1]
    if not isinstance(value, tuple | list) or len(value) != 3 or letter not in tuple(letters):
        return NAN
    degrees, minutes, seconds = (_number(part) for part in value)
    total = degrees + minutes / 60 + seconds / 3600
    return -total if letter == letters[1] else total


def _captured_at(detail: dict[int, Any], gps: dict[int, Any]) -> datetime | None:
    """UTC from the capture time with its offset, else from the GPS clock; a local time without a zone is unknown."""
    offset = _offset(str(detail.get(_OFFSET, "")))
    if offset is not None:
        moment = _parsed(f"{detail.get(_TIME_ORIGINAL, '')}".strip("\x00 "))
        if moment is not None:
            fraction = _number(f"0.{str(detail.get(_SUBSECOND, '')).strip(chr(0)).strip() or 0}")
            seconds = 0.0 if math.isnan(fraction) else fraction
            return (moment.replace(tzinfo=offset) + timedelta(seconds=seconds)).astimezone(UTC)
    clock = gps.get(7)
    if isinstance(clock, tuple | list) and len(clock) == 3:
        day = _parsed(f"{str(gps.get(29, '')).strip(chr(0))} 00:00:00")
        hours, minutes, seconds = (_number(part) for part in clock)
        since_midnight_s = hours * 3600 + minutes * 60 + seconds
        if day is not None and math.isfinite(since_midnight_s):
            return day.replace(tzinfo=UTC) + timedelta(seconds=since_midnight_s)
    return None


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _offset(text: str) -> timezone | None:
    """±HH:MM, minutes with the sign of the hours."""
    clean = text.strip("\x00 ")
    if len(clean) != 6 or clean[0] not in "+-" or clean[3] != ":" or not (clean[1:3] + clean[4:]).isdecimal():
        return None
    minutes = int(clean[1:3]) * 60 + int(clean[4:])
    return timezone(timedelta(minutes=-minutes if clean[0] == "-" else minutes)) if minutes < 1440 else None
