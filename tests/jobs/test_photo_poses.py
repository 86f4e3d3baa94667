"""Photos beside a track, added by one command: poses from the matches of neighbours."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import gpxpy.gpx
import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base
from support.inspect_world import DRIVE, START, Taken, render_pictures

from geocorrect.__main__ import run
from geocorrect.catalog.store import Catalog
from geocorrect.demo.world.drives import FRAME
from geocorrect.errors import ExitCode
from geocorrect.geometry.camera import Camera

CLOCK_S = 0.4
"""The camera's clock is behind that of the track."""


def write_photos(folder: Path, taken: list[Taken]) -> dict[str, Taken]:
    folder.mkdir()
    by_name = {}
    for one in taken:
        at = START + timedelta(seconds=one.time_s - CLOCK_S)
        exif = Image.Exif()
        exif[Base.Make] = "Maker"
        exif.get_ifd(IFD.Exif).update({
            Base.DateTimeOriginal: f"{at:%Y:%m:%d %H:%M:%S}", Base.OffsetTimeOriginal: "+00:00",
            Base.SubsecTimeOriginal: f"{at.microsecond:06d}",
        })  # fmt: skip
        Image.open(one.path).save(folder / one.path.name, exif=exif)
        by_name[one.path.stem] = one
    return by_name


def write_track(path: Path) -> None:
    times = DRIVE.image_times_s()
    points = []
    for time_s in np.arange(times[0] - 2.0, times[-1] + 2.0, 0.2):
        lon, lat, height = FRAME.wgs84_from_enu(Taken("", path, DRIVE, float(time_s)).pose().translation_m)
        at = START + timedelta(seconds=float(time_s))
        points.append(gpxpy.gpx.GPXTrackPoint(float(lat), float(lon), float(height), at))
    track = gpxpy.gpx.GPXTrack()
    track.segments.append(gpxpy.gpx.GPXTrackSegment(points))
    gpx = gpxpy.gpx.GPX()
    gpx.tracks.append(track)
    path.write_text(gpx.to_xml())


def write_camera(path: Path, camera: Camera) -> None:
    numbers = [camera.focal_x_px, camera.focal_y_px, camera.principal_x_px, camera.principal_y_px]
    path.write_text(
        f"model: OPENCV\nwidth: {camera.width}\nheight: {camera.height}\nintrinsics: {numbers}\n"
        f"distortion: {[float(k) for k in camera.distortion]}\n"
    )


@pytest.mark.slow
def test_photos_beside_a_track_become_anchors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken, camera = render_pictures(tmp_path)
    truth = write_photos(tmp_path / "photos", [one for one in taken if one.drive is DRIVE and not one.is_right])
    write_track(tmp_path / "drive.gpx")
    write_camera(tmp_path / "camera.yaml", camera)
    catalog = tmp_path / "c.gpkg"
    command = ["anchors", "add", str(tmp_path / "photos"), "--calibration", str(tmp_path / "camera.yaml"),
               "--positions", str(tmp_path / "drive.gpx"), "--position-sigma", "0.02", "--height-reference",
               "ellipsoid", "--clock-offset", str(CLOCK_S), "--catalog", str(catalog)]  # fmt: skip
    assert run(command) == ExitCode.INPUT
    assert "--level-cameras" in capsys.readouterr().err, "a straight street leaves the roll open"
    assert run([*command, "--level-cameras"]) == ExitCode.OK
    with Catalog.open(str(catalog)) as store:
        anchors, frame = store.anchors(), store.frame()
    assert frame is not None
    assert len(anchors) == len(truth)
    for anchor in anchors.values():
        true = truth[Path(anchor.id).name]
        moved = frame.this_from(FRAME) @ true.pose()
        off = anchor.world_from_cam.minus(moved)
        assert np.linalg.norm(off[:3]) < 0.05
        assert np.degrees(np.linalg.norm(off[3:])) < 1.5
        covariance = anchor.world_from_cam.covariance
        assert covariance is not None
        assert off[3:] @ np.linalg.solve(covariance[3:, 3:], off[3:]) < 16.3
        assert anchor.captured_at is not None
        assert abs((anchor.captured_at - START).total_seconds() - true.time_s) < 1e-3  # the catalog keeps milliseconds
