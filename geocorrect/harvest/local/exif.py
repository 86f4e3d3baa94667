"""One photo on disk, described by its own EXIF. Unknown is nan or None.

Pictures are read as the sensor wrote them (no orientation tag is applied), so their `exif_orientation` is 1, whatever
the file says: there is nothing to undo. Tags: CIPA DC-008 (Exif 2.32), §4.6; panoramas by the `GPano` block of XMP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image as PillowImage
from PIL.ExifTags import GPS, IFD, Base

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.harvest.mapillary import fields
from geocorrect.harvest.mapillary.metadata import ASSUMED_FOCAL_SIGMA, DEFAULT_FOCAL
from geocorrect.io.checksum import sha256_of
from geocorrect.records import NAN, Image, Position

EXIF_FOCAL_SIGMA = 0.05
"""EXIF's 35 mm equivalent is rounded to whole millimetres and means the diagonal for some makers: a few percent."""

_FILM_WIDTH_MM = 36.0
_EQUIRECTANGULAR = (b'ProjectionType="equirectangular"', b"ProjectionType>equirectangular<")
_HEAD_BYTES = 65_536
_CLOCK = "%Y:%m:%d %H:%M:%S"


def read_photo(path: Path, image_id: str) -> Image:
    """One photo; a file that cannot be read becomes an image with that problem, broken tags are just unknown."""
    now = datetime.now(UTC)
    path = path.absolute()  # a job may start in another folder
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        with PillowImage.open(path) as picture:
            size, tags = picture.size, picture.getexif()
            gps, detail = tags.get_ifd(IFD.GPSInfo), tags.get_ifd(IFD.Exif)
        digest = sha256_of(path)
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError) as error:
        problem = Reason.IMAGE_UNREADABLE if path.is_file() else Reason.IMAGE_MISSING
        why = {"source": "exif", "error": f"{path}: not a readable picture ({error})"}
        return Image(image_id, None, None, path, harvested_at=now, problem=problem, provider=why)
    provider: dict[str, Any] = {"source": "exif", "width": size[0], "height": size[1]}
    provider["file_orientation"] = fields.orientation(tags.get(Base.Orientation))
    north = {"T": "true", "M": "magnetic"}.get(str(gps.get(GPS.GPSImgDirectionRef, "")))
    if north is not None:
        provider["heading_reference"] = north
    accuracy_m = _number(gps.get(GPS.GPSHPositioningError))
    if math.isfinite(accuracy_m):
        provider["accuracy_m"] = accuracy_m
    position = _position(gps)
    is_equirectangular = any(mark in head for mark in _EQUIRECTANGULAR)
    return Image(
        id=image_id,
        reported=position,
        camera=_camera(size, is_equirectangular, _number(detail.get(Base.FocalLengthIn35mmFilm))),
        path=path,
        captured_at=_local_clock(detail) or _gps_clock(gps),
        heading_deg=fields.compass_deg(_number(gps.get(GPS.GPSImgDirection))),
        device_make=fields.text(tags.get(Base.Make)),
        device_model=fields.text(tags.get(Base.Model)),
        sha256=digest,
        harvested_at=now,
        problem=None if position is not None else Reason.POSITION_MISSING,
        provider=provider,
    )


def _camera(size: tuple[int, int], is_equirectangular: bool, focal_mm: float) -> Camera:
    """Panorama, pinhole with the EXIF focal length (35 mm film), or a pinhole with an assumed one and a wide sigma."""
    width, height = size
    if is_equirectangular and width == 2 * height:
        return Camera.spherical(width, height)
    ratio, sigma = focal_mm / _FILM_WIDTH_MM, EXIF_FOCAL_SIGMA
    if not 0.1 < ratio < 20:
        ratio, sigma = DEFAULT_FOCAL, ASSUMED_FOCAL_SIGMA
    camera = Camera.from_opensfm_vector("perspective", (ratio, 0.0, 0.0), width, height)
    return replace(camera, focal_sigma=sigma)


def _number(value: Any) -> float:
    try:
        return fields.number(float(value))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return NAN


def _position(gps: Mapping[int, Any]) -> Position | None:
    lon = _degrees(gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef), "EW")
    lat = _degrees(gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef), "NS")
    height_m = fields.altitude_m(_number(gps.get(GPS.GPSAltitude)))
    below = gps.get(GPS.GPSAltitudeRef) in (1, b"\x01")
    return fields.position({"coordinates": [lon, lat]}, -height_m if below else height_m, "unknown")


def _degrees(value: Any, reference: Any, letters: str) -> float:
    """Degrees, minutes, seconds; nan without the hemisphere, which is not guessed."""
    letter = str(reference or "").strip().upper()[:1]
    if not isinstance(value, tuple | list) or len(value) != 3 or letter not in tuple(letters):
        return NAN
    degrees, minutes, seconds = map(_number, value)
    total = degrees + minutes / 60 + seconds / 3600
    return -total if letter == letters[1] else total


def _local_clock(detail: Mapping[int, Any]) -> datetime | None:
    """The capture time by its offset ±HH:MM to UTC; None without one: a local time in no zone is unknown."""
    clock, offset = _text(detail, Base.DateTimeOriginal), _text(detail, Base.OffsetTimeOriginal)
    fraction_s = _number(f"0.{_text(detail, Base.SubsecTimeOriginal) or 0}")
    try:
        moment = datetime.strptime(clock + offset, _CLOCK + "%z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment + timedelta(seconds=0.0 if math.isnan(fraction_s) else fraction_s) if len(offset) == 6 else None


def _gps_clock(gps: Mapping[int, Any]) -> datetime | None:
    clock = gps.get(GPS.GPSTimeStamp)
    if not isinstance(clock, tuple | list) or len(clock) != 3:
        return None
    hours, minutes, seconds = map(_number, clock)
    try:
        day = datetime.strptime(f"{_text(gps, GPS.GPSDateStamp)} 00:00:00", _CLOCK).replace(tzinfo=UTC)
        return day + timedelta(seconds=hours * 3600 + minutes * 60 + seconds)
    except (ValueError, OverflowError):
        return None


def _text(tags: Mapping[int, Any], tag: int) -> str:
    return str(tags.get(tag, "")).strip("\x00 ")
