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
from geocorrect.anchors.readers.positions.photos import PositionedPhotos
from geocorrect.anchors.readers.positions.track import Track, TrackSpline
from geocorrect.catalog.store import Catalog
from geocorrect.demo.world.drives import FRAME
from geocorrect.errors import ExitCode, InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.georeference.photos.problem import PhotoPoses, PhotoProblem, SeenTogether
from geocorrect.jobs.anchors import photo_poses

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


def test_a_photo_that_the_clock_puts_beyond_the_track_is_refused_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was given the place of the track's end, with the sigma of a fix there."""
    seconds = np.arange(6)
    places = np.stack([3.0 * seconds, np.zeros(6), np.zeros(6)], axis=1)
    track = Track("t.gpx", seconds * 10**9, np.array(FRAME.wgs84_from_enu(places)).T, np.full((6, 3), 0.02))
    camera = Camera.pinhole(64, 48, 60, 60, 31, 23)
    names = tuple(f"{k}.jpg" for k in seconds)
    photos = PositionedPhotos(
        Path("photos"), "positions", names, tuple(map(Path, names)), camera, np.zeros(3), track.time_ns, FRAME, places,
        track.sigma_m, TrackSpline(track, FRAME), None,
    )  # fmt: skip
    pairs = [SeenTogether(k, k + 1, np.eye(3), np.eye(3), Pose.identity(), 1e-3) for k in range(5)]

    def solved(problem: PhotoProblem) -> PhotoPoses:
        rows = np.array(sorted({row for pair in problem.pairs for row in (pair.first, pair.second)}))
        return PhotoPoses(rows, tuple(Pose.identity() for _ in rows), 1.9, 0.01, 0.1)

    monkeypatch.setattr(photo_poses, "solve_photos", solved)
    problem = photo_poses._problem(photos, pairs, is_level=False)
    with pytest.raises(InputError, match=r"4.jpg: a clock offset of 1.9 s puts it where the track has no positions"):
        photo_poses._solved(photos, problem, "refuse")
    assert photo_poses._solved(photos, problem, "skip").rows.tolist() == [0, 1, 2, 3]


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
