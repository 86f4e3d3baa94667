"""Tracks of receivers in the files that loggers write; written here by other means than the readers'."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import gpxpy.gpx
import numpy as np
import pynmea2
import pytest

from geocorrect.anchors.readers.positions.track import TrackSpline, read_track
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame

START = datetime(2024, 5, 1, 23, 59, 58, tzinfo=UTC)
FRAME = Frame("t", 12.5, 41.9, 100.0)
SECONDS = np.arange(6.0)
LON, LAT, HEIGHT = FRAME.wgs84_from_enu(np.stack([6 * SECONDS, 20 * np.sin(SECONDS / 4), 0.1 * SECONDS], axis=1))
SIGMA = (0.011, 0.012, 0.025)
NAN = float("nan")


def times() -> list[datetime]:
    return [START + timedelta(seconds=float(s)) for s in SECONDS]


def write_gpx(path: Path, geoid_m: float | None = None) -> Path:
    segment = gpxpy.gpx.GPXTrackSegment()
    for at, lon, lat, height in zip(times(), LON, LAT, HEIGHT, strict=True):
        point = gpxpy.gpx.GPXTrackPoint(lat, lon, height - (geoid_m or 0.0), at)
        point.geoid_height = geoid_m
        segment.points.append(point)
    track = gpxpy.gpx.GPXTrack()
    track.segments.append(segment)
    gpx = gpxpy.gpx.GPX()
    gpx.tracks.append(track)
    path.write_text(gpx.to_xml())
    return path


def nmea(kind: str, *fields: str) -> str:
    return str(pynmea2.parse(f"$GN{kind},{','.join(fields)}"))


def degrees(value: float, width: int) -> str:
    return f"{int(value):0{width}d}{(value % 1) * 60:011.8f}"


def write_nmea(path: Path) -> Path:
    lines = []
    for at, lon, lat, height in zip(times(), LON, LAT, HEIGHT, strict=True):
        clock = f"{at:%H%M%S}.00"
        place = degrees(lat, 2), "N", degrees(lon, 3), "E"
        lines.append(nmea("GGA", clock, *place, "4", "12", "0.6", f"{height - 48.3:.5f}", "M", "48.3", "M", "", ""))
        lines.append(nmea("RMC", clock, "A", *place, "10.0", "90.0", f"{at:%d%m%y}", "", ""))
        lines.append(nmea("GST", clock, "0.1", "0.1", "0.1", "0.0", str(SIGMA[1]), str(SIGMA[0]), str(SIGMA[2])))
        lines.append(nmea("GSV", "1", "1", "00"))
    path.write_text("\r\n".join(lines))
    return path


def write_pos(path: Path, *, weeks: bool = False) -> Path:
    head = (
        "% program   : RTKPOST ver.2.4.3\n%\n% (lat/lon/height=WGS84/ellipsoidal,Q=1:fix,2:float,ns=# of satellites)\n"
        "%  GPST          latitude(deg) longitude(deg)  height(m)   Q  ns   sdn(m)   sde(m)   sdu(m)  sdne(m)  sdeu(m) "
        " sdun(m) age(s)  ratio\n"
    )
    rows = []
    for at, lon, lat, height in zip(times(), LON, LAT, HEIGHT, strict=True):
        gps = at + timedelta(seconds=18)
        week, rest = divmod(gps - datetime(1980, 1, 6, tzinfo=UTC), timedelta(weeks=1))
        clock = f"{week} {rest.total_seconds():.3f}" if weeks else f"{gps:%Y/%m/%d %H:%M:%S}.000"
        rows.append(f"{clock} {lat:.9f} {lon:.9f} {height:.4f} 1 12 {SIGMA[1]} {SIGMA[0]} {SIGMA[2]} 0 0 0 0.0 99.9")
    path.write_text(head + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("kind", ["gpx", "gpx with geoid", "nmea", "pos", "pos in weeks"])
def test_every_field_of_a_track(kind: str, tmp_path: Path) -> None:
    own = None
    if kind.startswith("gpx"):
        own = 0.5
        track = read_track(write_gpx(tmp_path / "t.gpx", 48.3 if "geoid" in kind else None), "ellipsoid", NAN, own)
    elif kind == "nmea":
        track = read_track(write_nmea(tmp_path / "t.nmea"), "unknown", NAN, None)
    else:
        track = read_track(write_pos(tmp_path / "t.pos", weeks="weeks" in kind), "unknown", NAN, None)
    assert [int(t) for t in track.time_ns] == [round(at.timestamp()) * 10**9 for at in times()]
    enu = FRAME.enu_from_wgs84(*track.wgs84.T)
    assert np.abs(enu - FRAME.enu_from_wgs84(LON, LAT, HEIGHT)).max() < 2e-4  # nine decimals of a degree
    assert track.sigma_m[2].tolist() == pytest.approx([own, own, 2 * own] if own else SIGMA)


def test_between_two_fixes(tmp_path: Path) -> None:
    spline = TrackSpline(read_track(write_gpx(tmp_path / "t.gpx"), "ellipsoid", NAN, 0.5), FRAME)
    at = np.array([round((START.timestamp() + s) * 1000) * 10**6 for s in (1.5, 2.25)])
    truth = [[6 * s, 20 * np.sin(s / 4), 0.1 * s] for s in (1.5, 2.25)]
    assert np.abs(spline.place_m(at) - truth).max() < 0.02
    assert np.abs(spline.place_m(at - 10**9, 1.0) - truth).max() < 0.02
    assert spline.velocity_m_s(at)[0] == pytest.approx([6, 5 * np.cos(1.5 / 4), 0.1], abs=0.05)
    assert (spline.velocity_m_s(at, 9.0) == 0).all()
    assert (spline.place_m(at, 9.0) == spline.place_m(at, 99.0)).all()
    assert spline.covers(int(at[0]))
    assert not spline.covers(int(at[0]) + 10**10)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("t.gpx", lambda text: text.replace("<ele>", "<eel>").replace("</ele>", "</eel>"), "point 1: has no <ele>"),
        ("t.gpx", lambda text: text[:200], "not a GPX track"),
        ("t.nmea", lambda text: text.replace("GNGGA,235959.00,41", "GNGGA,235959.00,42"), "line 5: damaged sentence"),
        ("t.nmea", lambda text: "\n".join(x for x in text.split("\n") if "RMC" not in x), "says the date"),
        ("t.nmea", lambda text: "\n".join(x for x in text.split("\n") if "GST" not in x), "add --position-sigma"),
        ("t.pos", lambda text: text.replace("latitude(deg)", "x-ecef(m)"), "set solution format lat/lon/height"),
        ("t.pos", lambda text: text + "2024/05/02 00:01:00 41.9\n", "line 11: 3 columns"),
        ("t.pos", lambda text: text.replace("00:00:21", "00:00:19"), "does not increase"),
    ],
)  # fmt: skip
def test_bad_tracks_are_named(name: str, change: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    {"t.gpx": write_gpx, "t.nmea": write_nmea, "t.pos": write_pos}[name](path)
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        read_track(path, "ellipsoid", NAN, 0.5 if name == "t.gpx" else None)


def test_heights_of_a_gpx_file_are_declared_or_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="add --height-reference"):
        read_track(write_gpx(tmp_path / "t.gpx"), "unknown", NAN, 0.5)
