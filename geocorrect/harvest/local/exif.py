"""One photo on disk, described by its own EXIF. Unknown is nan or None.

Pictures are read as the sensor wrote them (no orientation tag is applied), so their `exif_orientation` is 1, whatever
the file says: there is nothing to undo. Tags: CIPA DC-008 (Exif 2.32), §4.6; panoramas by the `GPano` block of XMP.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.ExifTags import GPS, IFD, Base

from geocorrect.errors import InputError, Reason
from geocorrect.geometry.camera import Camera
from geocorrect.harvest.local.clock import exif_time
from geocorrect.harvest.local.description import SEQUENCE_KEY, described, embedded_description
from geocorrect.harvest.local.heading import declination
from geocorrect.harvest.local.panorama import Panorama, declared_panorama
from geocorrect.harvest.mapillary import fields
from geocorrect.harvest.mapillary.metadata import ASSUMED_FOCAL_SIGMA, DEFAULT_FOCAL
from geocorrect.io.pixels import open_picture, read_bytes, require_whole
from geocorrect.records import NAN, Image, Position

if TYPE_CHECKING:
    from PIL import Image as PillowImage

EXIF_FOCAL_SIGMA = 0.05
"""EXIF's 35 mm equivalent is rounded to whole millimetres and means the diagonal for some makers: a few percent."""

_FILM_WIDTH_MM = 36.0
_XMP_TAG, _XMP_KEYS = 700, ("xmp", "XML:com.adobe.xmp")
_PHOTO_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_BELOW = (1, 3, b"\x01", b"\x03")
"""GPSAltitudeRef of heights that are below sea level or below the ellipsoid."""


@dataclass(frozen=True)
class _Tags:
    """What a picture says beside its pixels; whatever is broken is empty."""

    size: tuple[int, int]
    mode: str
    main: Mapping[int, Any] = field(default_factory=dict)
    gps: Mapping[int, Any] = field(default_factory=dict)
    detail: Mapping[int, Any] = field(default_factory=dict)
    xmp: bytes = b""


def read_photo(path: Path, image_id: str) -> Image:
    """One photo; a file that cannot be read becomes an image with that problem, broken tags are just unknown.

    What was found and not believed is in `provider["notes"]`, sentence by sentence.
    """
    now = datetime.now(UTC)
    path = path.absolute()  # a job may start in another folder
    try:
        data = read_bytes(path)
        require_whole(data, str(path))
        with open_picture(data, str(path)) as picture:
            tags = _tags(picture)
        if tags.mode not in _PHOTO_MODES:
            why = f"{path}: a raster of other than 8-bit colours (mode {tags.mode}), no photo"
            no_photo = {"source": "exif", "no_photo": True, "error": fields.text(why)}
            return Image(
                image_id, None, None, path, harvested_at=now, problem=Reason.IMAGE_UNREADABLE, provider=no_photo
            )
    except InputError as error:
        problem = Reason.IMAGE_UNREADABLE if path.is_file() else Reason.IMAGE_MISSING
        unread = {"source": "exif", "error": fields.text(str(error))}
        return Image(image_id, None, None, path, harvested_at=now, problem=problem, provider=unread)
    image = _described_by_exif(Image(image_id, None, None, path, harvested_at=now), tags, data)
    entry = embedded_description(tags.main.get(Base.ImageDescription))
    if "MAPSequenceUUID" in entry:
        image = replace(image, provider={**image.provider, SEQUENCE_KEY: fields.text(str(entry["MAPSequenceUUID"]))})
    return described(image, entry) if image.reported is None and entry else image


def _described_by_exif(image: Image, tags: _Tags, data: bytes) -> Image:
    width, height = tags.size
    time, position = exif_time(tags.detail, tags.gps), _position(tags.gps)
    provider: dict[str, Any] = {"source": "exif", "width": width, "height": height}
    provider["file_orientation"] = fields.orientation(tags.main.get(Base.Orientation))
    notes = [time.note] if time.note else []
    heading_deg, about = _heading(tags.gps, position, time.day)
    provider |= about
    if "magnetic_heading_deg" in about and math.isnan(heading_deg):
        notes.append("magnetic heading without a place and date that give the declination; heading unknown")
    accuracy_m = fields.rational(tags.gps.get(GPS.GPSHPositioningError))
    if math.isfinite(accuracy_m):
        provider["accuracy_m"] = accuracy_m
    camera = _camera(tags)
    if camera is None:
        notes.append("declares a panorama that is neither a whole sphere nor a part with its place; camera unknown")
    problem = Reason.CAMERA_UNSUPPORTED if camera is None else None
    return replace(
        image,
        reported=position,
        camera=camera,
        captured_at=time.captured_at,
        heading_deg=heading_deg,
        device_make=fields.text(tags.main.get(Base.Make)),
        device_model=fields.text(tags.main.get(Base.Model)),
        sha256=hashlib.sha256(data).hexdigest(),
        problem=Reason.POSITION_MISSING if position is None else problem,
        provider=provider | ({"notes": notes} if notes else {}),
    )


def _tags(picture: PillowImage.Image) -> _Tags:
    """Broken tags may raise anything: those behind them are unknown, the picture stays a picture."""
    tags = _Tags(picture.size, picture.mode)
    with suppress(Exception):
        xmp = next((picture.info[key] for key in _XMP_KEYS if picture.info.get(key)), b"")
        tags = replace(tags, xmp=xmp.encode() if isinstance(xmp, str) else bytes(xmp))
        exif = picture.getexif()
        tags = replace(tags, main=dict(exif), xmp=tags.xmp or bytes(exif.get(_XMP_TAG) or b""))
        tags = replace(tags, gps=dict(exif.get_ifd(IFD.GPSInfo)))
        tags = replace(tags, detail=dict(exif.get_ifd(IFD.Exif)))
    return tags


def _camera(tags: _Tags) -> Camera | None:
    """Panorama, pinhole with the EXIF focal length (35 mm film), or a pinhole with an assumed one and a wide sigma.

    None for panoramas that are neither a sphere nor a placed part of one.
    """
    width, height = tags.size
    panorama = declared_panorama(tags.xmp, width, height)
    if panorama is not Panorama.NONE:
        return panorama if isinstance(panorama, Camera) else None
    ratio, sigma = fields.rational(tags.detail.get(Base.FocalLengthIn35mmFilm)) / _FILM_WIDTH_MM, EXIF_FOCAL_SIGMA
    if not 0.1 < ratio < 20:
        ratio, sigma = DEFAULT_FOCAL, ASSUMED_FOCAL_SIGMA
    camera = Camera.from_opensfm_vector("perspective", (ratio, 0.0, 0.0), width, height)
    return replace(camera, focal_sigma=sigma)


def _heading(gps: Mapping[int, Any], place: Position | None, day: datetime | None) -> tuple[float, dict[str, Any]]:
    """Degrees from true north, and what to remember; a magnetic heading needs the declination of place and date."""
    degrees = fields.compass_deg(fields.rational(gps.get(GPS.GPSImgDirection)))
    north = str(gps.get(GPS.GPSImgDirectionRef, "")).strip("\0 ").upper()
    if north != "M" or math.isnan(degrees):
        return degrees, {"heading_reference": "true"} if north == "T" else {}
    found = None if place is None or day is None else declination(place, day)
    about: dict[str, Any] = {"magnetic_heading_deg": degrees}
    if found is None:
        return NAN, about
    about |= {"declination_deg": round(found.degrees, 3), "declination_sigma_deg": round(found.sigma_deg, 3)}
    return (degrees + found.degrees) % 360.0, about


def _position(gps: Mapping[int, Any]) -> Position | None:
    lon = _degrees(gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef), "EW")
    lat = _degrees(gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef), "NS")
    height_m = fields.altitude_m(fields.rational(gps.get(GPS.GPSAltitude)))
    below = gps.get(GPS.GPSAltitudeRef) in _BELOW
    return fields.position({"coordinates": [lon, lat]}, -height_m if below else height_m, "unknown")


def _degrees(value: Any, reference: Any, letters: str) -> float:
    """Degrees, minutes, seconds; nan without the hemisphere, which is not guessed."""
    letter = str(reference or "").strip().upper()[:1]
    if not isinstance(value, tuple | list) or len(value) != 3 or letter not in tuple(letters):
        return NAN
    degrees, minutes, seconds = map(fields.rational, value)
    total = degrees + minutes / 60 + seconds / 3600
    return -total if letter == letters[1] else total
