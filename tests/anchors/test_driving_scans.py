"""Waymo v2 and ZOD in their published layouts, written from the demo's drive: poses, lenses, scans without motion."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from support.recorded_drive import EGO_FROM_CAM
from support.scanned_layouts import (
    ALIGNMENT,
    BEAMS_RAD,
    COLUMNS,
    EGO_FROM_LIDAR,
    POINTS_M,
    SEGMENT,
    SHUTTER_S,
    START,
    TINY,
    ego,
    micros,
    moment,
    random_ranges,
    write_waymo,
    write_zod,
)

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.anchors.scan import read_scan
from geocorrect.errors import InputError, OutputError, UsageError
from geocorrect.geometry.camera import Camera
from geocorrect.records import Anchor


def check(anchors: list[Anchor], delay_s: float) -> None:
    for anchor, time_s in zip(anchors, TINY.times_s, strict=True):
        truth = ALIGNMENT.apply(ego(time_s + delay_s) @ EGO_FROM_CAM)
        assert np.abs(anchor.world_from_cam.minus(truth)).max() < 2e-6
        assert anchor.captured_at is not None
        assert abs((anchor.captured_at - START).total_seconds() - time_s - delay_s) < 2e-6
        c = anchor.camera
        assert (c.focal_x_px, c.focal_y_px, c.principal_x_px, c.principal_y_px) == (60, 61, 31, 23.5)


def seen(anchor: Anchor) -> np.ndarray:
    """Scan in the drive's own frame, as the anchor's record has it."""
    assert anchor.lidar is not None
    points = read_scan(anchor.lidar.path, anchor.lidar.format).points_lidar_m
    s = ALIGNMENT.world_from_local
    world = (anchor.world_from_cam @ anchor.lidar.cam_from_lidar).apply(points)
    return s.rotation.inv().apply(world - s.translation_m)


def place(folder: Path) -> Path:
    path = folder / "alignment.json"
    path.write_text(json.dumps(ALIGNMENT.as_json()))
    return path


# Waymo


def waymo_point(frame: int, row: int, column: int) -> np.ndarray:
    """In the drive's frame: the first row is the highest beam; columns run clockwise from straight behind."""
    yaw = np.arctan2(*EGO_FROM_LIDAR.rotation.as_matrix()[[1, 0], 0])
    turn, up = np.pi - 2 * np.pi * (column + 0.5) / COLUMNS - yaw, BEAMS_RAD[::-1][row]
    ray = np.array([np.cos(turn) * np.cos(up), np.sin(turn) * np.cos(up), np.sin(up)])
    at = ego(TINY.times_s[frame] + moment(column))
    return (at @ EGO_FROM_LIDAR).apply(float(random_ranges(frame)[row, column]) * ray)


def test_waymo(tmp_path: Path) -> None:
    lens = Camera.from_opencv(64, 48, (60.0, 61.0, 31.0, 23.5), (0.04, -0.3, 0.001, 0.002))
    write_waymo(tmp_path / "training", replace(TINY, camera=lens))
    options = AnchorOptions(alignment=place(tmp_path), images=tmp_path / "out", cameras=("FRONT",))
    _, anchors = anchor_files(tmp_path / "training", options=options).read()
    check(anchors, SHUTTER_S)
    assert [round(float(k), 3) for k in anchors[0].camera.distortion] == [0.04, -0.3, 0.001, 0.002, 0.0]
    for number, anchor in enumerate(anchors):
        assert anchor.path == (tmp_path / "out" / SEGMENT / "FRONT" / f"{micros(TINY.times_s[number])}.jpg").resolve()
        truth = [waymo_point(number, row, column) for row in range(len(BEAMS_RAD)) for column in range(COLUMNS)
                 if (row, column) != (1, 3)]  # fmt: skip
        assert np.abs(seen(anchor) - truth).max() < 2e-5  # float32
    ahead = ego(TINY.times_s[0] + moment(7)).inverse().apply(waymo_point(0, 2, 7))
    assert ahead[0] > 0, "the middle of the range image looks ahead"
    assert abs(ahead[1]) < 0.25 * ahead[0]


def test_waymo_that_is_not_whole(tmp_path: Path) -> None:
    root = tmp_path / "training"
    write_waymo(root)
    with pytest.raises(UsageError, match="needs --alignment"):
        anchor_files(root).read()
    options = AnchorOptions(alignment=place(tmp_path))
    with pytest.raises(OutputError, match=r"alignment.json/.*bin cannot be written: .*; unpack to another folder"):
        anchor_files(root, options=AnchorOptions(alignment=options.alignment, images=options.alignment)).read()
    with pytest.raises(UsageError, match=f"there are {SEGMENT}"):
        anchor_files(root, options=AnchorOptions(alignment=options.alignment, drive="x")).read()
    poses = root / "lidar_pose" / f"{SEGMENT}.parquet"
    parquet.write_table(parquet.read_table(poses).slice(1), poses)
    with pytest.raises(InputError, match="lidar_pose or vehicle_pose has no row of that time"):
        anchor_files(root, options=options).read()
    poses.unlink()
    with pytest.raises(InputError, match="download the component lidar_pose"):
        anchor_files(root, options=options).read()
    calibration = root / "camera_calibration" / f"{SEGMENT}.parquet"
    parquet.write_table(parquet.read_table(calibration).drop_columns("[CameraCalibrationComponent].width"), calibration)
    with pytest.raises(InputError, match=r"no column \[CameraCalibrationComponent\].width"):
        anchor_files(root, options=options).read()


# ZOD


@pytest.mark.long
@pytest.mark.parametrize("is_compensated", [False, True])
def test_zod(is_compensated: bool, tmp_path: Path) -> None:
    folder = tmp_path / "000002"
    write_zod(folder, is_compensated=is_compensated)
    _, anchors = anchor_files(folder, options=AnchorOptions(alignment=place(tmp_path))).read()
    check(anchors, 0.0)
    assert [float(k) for k in anchors[0].camera.distortion] == [0.3, -0.02, 0.01, -0.003]
    assert [anchor.id for anchor in anchors] == [f"000002/{number:06d}" for number in range(3)]
    for anchor in anchors:
        assert np.abs(seen(anchor) - POINTS_M).max() < (2e-4 if is_compensated else 0.01)


@pytest.mark.long
def test_zod_that_is_not_whole(tmp_path: Path) -> None:
    folder = tmp_path / "000002"
    write_zod(folder, is_compensated=True)
    options = AnchorOptions(alignment=place(tmp_path))
    with pytest.raises(UsageError, match="needs --alignment"):
        anchor_files(folder).read()
    with pytest.raises(UsageError, match="name one of front_blur"):
        anchor_files(folder, options=AnchorOptions(alignment=options.alignment, cameras=("rear",))).read()
    scan = folder / "lidar_velodyne" / "000001.npy"
    whole = scan.read_bytes()
    scan.write_bytes(b"no cloud")
    with pytest.raises(InputError, match="000001.npy: not a scan of ZOD"):
        anchor_files(folder, options=options).read()
    info = json.loads((folder / "info.json").read_text())
    info["lidar_frames"]["velodyne"].pop()
    (folder / "info.json").write_text(json.dumps(info))
    scan.write_bytes(whole)
    with pytest.raises(InputError, match=r"000002.jpg: no scan within 0.06 s"):
        anchor_files(folder, options=options).read()
    (folder / "calibration.json").write_text('{"FC": {"intrinsics": 3}}')
    with pytest.raises(InputError, match="calibration.json: FC"):
        anchor_files(folder, options=options).read()
