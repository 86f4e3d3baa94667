"""Tracks of satellite receivers as they are logged: GPX (gpxpy), NMEA 0183 (pynmea2), RTKLIB's .pos."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from geocorrect.errors import InputError
from geocorrect.io.text_file import finite_numbers, read_text

GPS_EPOCH = datetime(1980, 1, 6, tzinfo=UTC)
LEAP_SECONDS = (
    (datetime(2017, 1, 1, tzinfo=UTC), 18), (datetime(2015, 7, 1, tzinfo=UTC), 17),
    (datetime(2012, 7, 1, tzinfo=UTC), 16), (datetime(2009, 1, 1, tzinfo=UTC), 15),
)  # fmt: skip
"""GPS time less UTC from a moment on, latest first (IERS Bulletin C)."""


class Fix(NamedTuple):
    """One position as a file states it."""

    where: str
    """File and record, for messages."""
    at: datetime
    """UTC."""
    lon_deg: float
    lat_deg: float
    height_m: float
    is_ellipsoidal: bool
    """Else the height is measured from what is declared."""
    sigma_m: tuple[float, float, float] | None
    """East, north, up; None where the file does not say it."""


def read_gpx(path: Path) -> list[Fix]:
    """The points of all tracks; `ele` with `geoidheight` is ellipsoidal. InputError naming the point."""
    import gpxpy
    from gpxpy.gpx import GPXException

    text = read_text(path, "no such track")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path}: declares entities, which a GPX track never does")
    try:
        points = list(gpxpy.parse(text).walk(only_points=True))
    except (GPXException, ValueError) as error:
        raise InputError(f"{path}: not a GPX track ({error})") from None
    fixes = []
    for number, point in enumerate(points, 1):
        where = f"{path}, track point {number}"
        if point.time is None or point.elevation is None:
            missing = "time" if point.time is None else "ele"
            raise InputError(
                f"{where}: has no <{missing}>; export the track as it was recorded, with times and heights"
            )
        at = point.time if point.time.tzinfo else point.time.replace(tzinfo=UTC)  # GPX 1.1: times are UTC
        above_m = point.geoid_height
        height_m = point.elevation + (above_m or 0.0)
        fixes.append(Fix(where, at, point.longitude, point.latitude, height_m, above_m is not None, None))
    return fixes


def read_nmea(path: Path) -> list[Fix]:
    """GGA positions with the date of RMC or ZDA and the deviations of GST; InputError naming the line."""
    sentences = list(_sentences(path))
    sigma = {m.timestamp: m for _, m in sentences if m.sentence_type == "GST" and m.std_dev_latitude is not None}
    day, last = next((_day(m) for _, m in sentences if _day(m) is not None), None), None
    fixes: list[Fix] = []
    for where, message in sentences:
        day = _day(message) or day
        if message.sentence_type != "GGA" or not message.gps_qual:
            continue
        if day is None:
            raise InputError(f"{path}: no RMC or ZDA sentence says the date; log one of them beside GGA")
        if message.geo_sep in (None, "") or message.altitude is None:
            raise InputError(f"{where}: GGA without altitude or height of the geoid; log both")
        at = datetime.combine(day, message.timestamp, UTC)
        if last is not None and (last - at) > timedelta(hours=12):
            at += timedelta(days=1)  # the first position after midnight stands before the new date
        last, height_m = at, float(message.altitude) + float(message.geo_sep)
        gst = sigma.get(message.timestamp)
        stated = None if gst is None else (gst.std_dev_longitude, gst.std_dev_latitude, gst.std_dev_altitude)
        fixes.append(Fix(where, at, message.longitude, message.latitude, height_m, True, stated))
    return fixes


def _day(message: Any) -> date | None:
    if message.sentence_type == "RMC":
        return message.datestamp or None
    return message.datestamp if message.sentence_type == "ZDA" and message.year else None


def _sentences(path: Path) -> Iterator[tuple[str, Any]]:
    """(file and line, sentence) of the four kinds that count."""
    import pynmea2

    for number, line in enumerate(read_text(path, "no such track").splitlines(), 1):
        text = line.strip()
        if text[3:6] not in ("GGA", "RMC", "ZDA", "GST") or not text.startswith("$"):
            continue
        where = f"{path}, line {number}"
        try:
            message = pynmea2.parse(text, check=True)
            # Fields are converted, and fail, when they are asked for.
            _day(message), *(getattr(message, name) for name in message.name_to_idx)
            if message.timestamp is None:
                continue  # the receiver does not know the time yet, and has no position
        except (pynmea2.ParseError, ValueError, AttributeError, TypeError, ArithmeticError) as error:
            raise InputError(f"{where}: damaged sentence {text[:40]!r} ({type(error).__name__}); remove it") from None
        yield where, message


def read_pos(path: Path) -> list[Fix]:
    """RTKLIB's solution: latitude, longitude, height, sdn, sde, sdu; GPS time or UTC. InputError naming the line."""
    lines = list(enumerate(read_text(path, "no such track").splitlines(), 1))
    heads = [line for _, line in lines if line.startswith("%")]
    titles = next((line[1:].split() for line in reversed(heads) if "latitude(deg)" in line), None)
    if titles is None or titles[0] not in ("GPST", "UTC") or "sdn(m)" not in titles:
        raise InputError(
            f"{path}: not an RTKLIB solution with columns GPST or UTC, latitude(deg), longitude(deg), height(m), "
            "sdn(m)…; set solution format lat/lon/height with degrees"
        )
    is_ellipsoidal = any("ellipsoidal" in line for line in heads)
    fixes = []
    for number, line in lines:
        fields = line.split()
        if not fields or line.startswith("%"):
            continue
        where = f"{path}, line {number}"
        values = finite_numbers(where, fields[2:10], 8) if len(fields) >= 10 else []
        if not values:
            raise InputError(f"{where}: {len(fields)} columns, expected time, position, Q, ns, sdn, sde, sdu")
        lat, lon, height_m, _, _, north_m, east_m, up_m = values
        at = _pos_time(where, fields[0], fields[1], is_gps=titles[0] == "GPST")
        fixes.append(Fix(where, at, lon, lat, height_m, is_ellipsoidal, (east_m, north_m, up_m)))
    return fixes


def _pos_time(where: str, first: str, second: str, *, is_gps: bool) -> datetime:
    """UTC of date and time of day, or of GPS week and seconds."""
    try:
        if "/" in first:
            at = datetime.fromisoformat(f"{first.replace('/', '-')}T{second[:15]}").replace(tzinfo=UTC)
        else:
            at = GPS_EPOCH + timedelta(weeks=int(first), seconds=float(second))
    except (ValueError, OverflowError):
        raise InputError(
            f"{where}: {first} {second} is no time (yyyy/mm/dd hh:mm:ss, or GPS week and seconds)"
        ) from None
    leap_s = next((seconds for since, seconds in LEAP_SECONDS if at >= since), None)
    if leap_s is None:
        raise InputError(f"{where}: {at:%Y-%m-%d} is before 2009; is the time right?")
    return at - timedelta(seconds=leap_s) if is_gps else at


TRACK_FILES = {".gpx": read_gpx, ".nmea": read_nmea, ".nma": read_nmea, ".pos": read_pos}
"""Readers by the ending of the file's name."""
