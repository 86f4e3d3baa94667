"""The track of a receiver on the UTC clock, and where it was between two fixes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from geocorrect.anchors.readers.place import declared_height_reference, height_on_ellipsoid_m
from geocorrect.anchors.readers.positions.track_files import TRACK_FILES, Fix
from geocorrect.anchors.readers.timestamps import Nanoseconds
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.crs import ELLIPSOID, WGS84
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float

MAX_GAP_S = 3.0
"""Fixes further apart are not interpolated between: a car turns a corner in that time."""


@dataclass(frozen=True, eq=False)
class Track:
    """Fixes in time order."""

    name: str
    """The file, for messages."""
    time_ns: Nanoseconds
    """(N,) Unix, strictly increasing."""
    wgs84: Float
    """(N, 3) longitude, latitude in degrees, ellipsoidal height in metres."""
    sigma_m: Float
    """(N, 3) east, north, up."""


@dataclass(frozen=True, eq=False)
class TrackSpline:
    """A track in an ENU frame as a cubic spline."""

    track: Track
    frame: Frame

    @cached_property
    def _spline(self) -> CubicSpline:
        return CubicSpline(self._seconds(self.track.time_ns), self.frame.enu_from_wgs84(*self.track.wgs84.T))

    def _seconds(self, time_ns: Nanoseconds) -> Float:
        """Counted from the first fix: Unix seconds would lose the microseconds."""
        seconds: Float = (np.asarray(time_ns) - self.track.time_ns[0]) / 1e9
        return seconds

    @property
    def _duration_s(self) -> float:
        return float(self._seconds(self.track.time_ns[-1:])[0])

    def covers(self, time_ns: int) -> bool:
        """Whether a time lies between two fixes no more than `MAX_GAP_S` apart."""
        times = self.track.time_ns
        after = int(np.searchsorted(times, time_ns))
        if not 0 < after < len(times):
            return bool(len(times) and time_ns in (times[0], times[-1]))
        return bool((times[after] - times[after - 1]) / 1e9 <= MAX_GAP_S)

    def place_m(self, time_ns: Nanoseconds, offset_s: float = 0.0) -> Float:
        """(M, 3) positions so long after the times (M,); times beyond the track's ends give its ends."""
        place: Float = self._spline(np.clip(self._seconds(time_ns) + offset_s, 0.0, self._duration_s))
        return place

    def velocity_m_s(self, time_ns: Nanoseconds, offset_s: float = 0.0) -> Float:
        """(M, 3) likewise; zero beyond the track's ends, where the places stay."""
        seconds = self._seconds(time_ns) + offset_s
        inside = (seconds >= 0.0) & (seconds <= self._duration_s)
        velocity: Float = self._spline(seconds, 1) * inside[:, None]
        return velocity

    def sigma_m(self, time_ns: Nanoseconds, offset_s: float = 0.0) -> Float:
        """(M, 3) east, north, up, of `place_m`."""
        known, asked = self._seconds(self.track.time_ns), self._seconds(time_ns) + offset_s
        return np.stack([np.interp(asked, known, column) for column in self.track.sigma_m.T], axis=1)


def is_track(path: Path) -> bool:
    """Whether a file's name is that of a track."""
    return path.suffix.lower() in TRACK_FILES


def read_track(path: Path, reference: str, undulation_m: float, sigma_m: float | None) -> Track:
    """A .gpx, .nmea or .pos file.

    Args:
        path: The file.
        reference: What its heights are measured from, where the file does not say it.
        undulation_m: Of the geoid above the ellipsoid, for orthometric heights.
        sigma_m: Of fixes that state none, in plan; heights are taken twice as uncertain.

    Raises:
        InputError: names file and record.
        UsageError: not a file of one of these kinds.
    """
    if not is_track(path):
        raise UsageError(f"{path}: a track is {', '.join(TRACK_FILES)}")
    fixes = TRACK_FILES[path.suffix.lower()](path)
    if len(fixes) < 2:
        raise InputError(f"{path}: {len(fixes)} fixes with a position; a track needs at least 2")
    if not all(fix.is_ellipsoidal for fix in fixes):
        reference = declared_height_reference(str(path), WGS84, reference)
    times: list[int] = []
    places, sigmas = [], []
    for fix in fixes:
        time_ns = round(fix.at.timestamp() * 1e6) * 1000
        if times and time_ns <= times[-1]:
            raise InputError(
                f"{fix.where}: the time {fix.at.isoformat()} does not increase; sort the file, drop doubles"
            )
        times.append(time_ns)
        places.append(_place(fix, reference, undulation_m))
        sigmas.append(_sigma(fix, sigma_m))
    return Track(str(path), np.array(times, np.int64), np.array(places, float), np.array(sigmas, float))


def _place(fix: Fix, reference: str, undulation_m: float) -> tuple[float, float, float]:
    lon, lat = fix.lon_deg, fix.lat_deg
    if not (abs(lat) <= 90 and abs(lon) <= 180) or (lon == 0 and lat == 0):
        raise InputError(f"{fix.where}: longitude {lon:g}, latitude {lat:g} is no position")
    if not np.isfinite(fix.height_m):
        raise InputError(f"{fix.where}: height {fix.height_m} is no height")
    own = ELLIPSOID if fix.is_ellipsoidal else reference
    return lon, lat, height_on_ellipsoid_m(fix.where, lon, lat, fix.height_m, own, undulation_m)


def _sigma(fix: Fix, sigma_m: float | None) -> tuple[float, float, float]:
    stated = fix.sigma_m
    if stated is None and sigma_m:
        stated = (sigma_m, sigma_m, 2 * sigma_m)
    if stated is None or not all(np.isfinite(value) and value > 0 for value in stated):
        raise InputError(f"{fix.where}: the file does not say how good the position is; add --position-sigma METRES")
    return stated
