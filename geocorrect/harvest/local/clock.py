"""When a photo was taken, by the clocks in its EXIF: the camera's with its offset, else that of the GPS receiver.

Tags: CIPA DC-008 (Exif 2.32), §4.6. What is implausible, or what the two clocks contradict, is unknown and noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from PIL.ExifTags import GPS, Base

from geocorrect.harvest.mapillary import fields
from geocorrect.io.capture_time import agree, plausible

_CLOCK = "%Y:%m:%d %H:%M:%S"


@dataclass(frozen=True)
class ExifTime:
    """What the clocks say."""

    captured_at: datetime | None
    """UTC; None when unknown."""
    day: datetime | None
    """The same, or the camera's local time in no zone taken as UTC: good to a day."""
    note: str | None = None
    """Why a clock was not believed."""


def exif_time(detail: Mapping[int, Any], gps: Mapping[int, Any]) -> ExifTime:
    """The capture time of a photo from its Exif and GPS tags."""
    unknown = "capture time unknown"
    moment, local, satellite = _camera_clock(detail), plausible(_naive_clock(detail)), _gps_clock(gps)
    if plausible(moment) is not None:
        return ExifTime(moment, moment)
    if satellite is None:
        return ExifTime(
            None, local, None if moment is None else f"camera clock {moment.date()} is not believed; {unknown}"
        )
    if plausible(satellite) is None:
        return ExifTime(None, local, f"GPS date {satellite.date()} is not believed; {unknown}")
    if local is not None and not agree(satellite, local):
        return ExifTime(None, local, f"GPS date {satellite.date()} contradicts the camera's {local.date()}; {unknown}")
    return ExifTime(satellite, satellite)


def _naive_clock(detail: Mapping[int, Any]) -> datetime | None:
    try:
        return datetime.strptime(_text(detail, Base.DateTimeOriginal), _CLOCK).replace(tzinfo=UTC)
    except ValueError:
        return None


def _camera_clock(detail: Mapping[int, Any]) -> datetime | None:
    """The capture time by its offset ±HH:MM to UTC; None without one: a local time in no zone is unknown."""
    clock, offset = _text(detail, Base.DateTimeOriginal), _text(detail, Base.OffsetTimeOriginal)
    if len(offset) != 6:
        return None
    try:
        moment = datetime.strptime(clock + offset, _CLOCK + "%z").astimezone(UTC)
        return moment + timedelta(seconds=_fraction_s(detail))
    except (ValueError, OverflowError):
        return None


def _fraction_s(detail: Mapping[int, Any]) -> float:
    """Decimals of the second; blanks before them stand for zeros (GoPro), those behind them for nothing."""
    digits = str(detail.get(Base.SubsecTimeOriginal, "")).strip("\x00").rstrip().replace(" ", "0")
    return float(f"0.{digits}") if digits.isascii() and digits.isdecimal() else 0.0


def _gps_clock(gps: Mapping[int, Any]) -> datetime | None:
    clock = gps.get(GPS.GPSTimeStamp)
    if not isinstance(clock, tuple | list) or len(clock) != 3:
        return None
    hours, minutes, seconds = (fields.rational(part) for part in clock)
    if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 61):
        return None
    try:
        day = datetime.strptime(f"{_text(gps, GPS.GPSDateStamp)} 00:00:00", _CLOCK).replace(tzinfo=UTC)
        return day + timedelta(seconds=hours * 3600 + minutes * 60 + seconds)
    except (ValueError, OverflowError):
        return None


def _text(tags: Mapping[int, Any], tag: int) -> str:
    return str(tags.get(tag, "")).strip("\x00 ")
