"""KITTI-360 in its published layout, written from the demo's drive: truth in every field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.demo.world.drives import ENU_FROM_STREET, LIDAR_FROM_CAMERA, Drive
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose

DRIVE = Drive("d", 7, +1, 5.0, 1.3, 4, 1000.0)
NAME = "2013_05_28_drive_0000_sync"
FRAME = Frame("Karlsruhe", 8.3964, 48.9697, 115.0)
START = datetime(2013, 5, 28, 8, 46, 12, tzinfo=UTC)
BODY_FROM_LIDAR = Pose(Rotation.from_euler("x", 180.0, degrees=True), [0.81, 0.02, -0.8])
BODY_FROM_CAM = {
    "00": BODY_FROM_LIDAR @ LIDAR_FROM_CAMERA,
    "01": BODY_FROM_LIDAR @ LIDAR_FROM_CAMERA @ Pose(Rotation.from_euler("y", 0.01), [0.6, 0.0, 0.0]),
}
CAM_FROM_RECT = {"00": Rotation.from_rotvec([0.01, -0.02, 0.005]), "01": Rotation.from_rotvec([-0.01, -0.03, 0.002])}


def body(time_s: float) -> Pose:
    """In the frame FRAME; forward, right, down."""
    return ENU_FROM_STREET @ DRIVE.street_from_lidar(time_s) @ BODY_FROM_LIDAR.inverse()


def mercator(lon: float, lat: float) -> tuple[float, float]:
    """As the devkit has it."""
    er, scale = 6378137.0, np.cos(48.9843445 * np.pi / 180)

    def plane(lat: float, lon: float) -> np.ndarray:
        return np.array([scale * lon * np.pi * er / 180, scale * er * np.log(np.tan((90 + lat) * np.pi / 360))])

    x, y = plane(lat, lon) - plane(48.9843445, 8.4295857)
    return float(x), float(y)


def row(values: np.ndarray) -> str:
    return " ".join(map(repr, np.asarray(values, float).ravel().tolist()))


def write_kitti360(root: Path) -> None:
    calibration, poses = root / "calibration", root / "data_poses" / NAME
    scans = root / "data_3d_raw" / NAME / "velodyne_points" / "data"
    for folder in (calibration, poses, scans):
        folder.mkdir(parents=True)
    lines = [f"image_{name}: {row(pose.matrix[:3])}" for name, pose in BODY_FROM_CAM.items()]
    (calibration / "calib_cam_to_pose.txt").write_text("\n".join(lines))
    lidar_from_cam = BODY_FROM_LIDAR.inverse() @ BODY_FROM_CAM["00"]
    (calibration / "calib_cam_to_velo.txt").write_text(row(lidar_from_cam.matrix[:3]))
    k = np.array([[60.0, 0, 31.0, 0], [0, 61.0, 23.5, 0], [0, 0, 1, 0]])
    lines = [f"P_rect_{n}: {row(k)}\nR_rect_{n}: {row(r.inv().as_matrix())}\nS_rect_{n}: 64.0 48.0"
             for n, r in CAM_FROM_RECT.items()]  # fmt: skip
    (calibration / "perspective.txt").write_text("\n".join(lines))
    lines = []
    for number, time_s in enumerate(DRIVE.image_times_s()):
        pose = body(float(time_s))
        lon, lat, height = (float(v) for v in FRAME.wgs84_from_enu(pose.translation_m))
        turn = (Frame("here", lon, lat, height).this_from(FRAME) @ pose).rotation.as_matrix()
        if number != 2:  # the car stood, as far as the publishers are concerned
            lines.append(f"{number} {row(np.column_stack([turn, [*mercator(lon, lat), height - 48.0]]))}")
        for name in BODY_FROM_CAM:
            picture = root / "data_2d_raw" / NAME / f"image_{name}" / "data_rect" / f"{number:010d}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), np.zeros((48, 64, 3), np.uint8))
        np.ones((9, 4), "<f4").tofile(scans / f"{number:010d}.bin")
    (poses / "poses.txt").write_text("\n".join(lines) + "\n")
    for name in BODY_FROM_CAM:
        stamps = [START + timedelta(seconds=float(time_s)) for time_s in DRIVE.image_times_s()]
        folder = root / "data_2d_raw" / NAME / f"image_{name}"
        (folder / "timestamps.txt").write_text("".join(f"{at:%Y-%m-%d %H:%M:%S.%f}000\n" for at in stamps))


def test_truth_in_every_field(tmp_path: Path) -> None:
    write_kitti360(tmp_path)
    alignment, anchors = anchor_files(
        tmp_path, options=AnchorOptions(cameras=("00", "01"), geoid_undulation_m=48.0)
    ).read()
    assert [a.id.split("/")[1:] for a in anchors] == [
        [f"image_{name}", f"{number:010d}"] for name in ("00", "01") for number in (0, 1, 3)
    ]
    times = DRIVE.image_times_s()
    for anchor in anchors:
        name, number = anchor.id.split("/")[1][-2:], int(anchor.id[-10:])
        time_s = float(times[number])
        body_from_rect = BODY_FROM_CAM[name] @ Pose(CAM_FROM_RECT[name], np.zeros(3))
        truth = alignment.frame.this_from(FRAME) @ body(time_s) @ body_from_rect
        assert np.abs(anchor.world_from_cam.minus(truth)).max() < 1e-6
        c = anchor.camera
        assert (c.focal_x_px, c.focal_y_px, c.principal_x_px, c.principal_y_px) == (60, 61, 31, 23.5)
        assert anchor.captured_at is not None
        assert abs((anchor.captured_at - START).total_seconds() - time_s) < 2e-6
        assert anchor.lidar is not None
        assert np.abs(anchor.lidar.cam_from_lidar.minus(body_from_rect.inverse() @ BODY_FROM_LIDAR)).max() < 1e-6
        assert anchor.lidar.path.name == f"{number:010d}.bin"
        assert anchor.drive_id == NAME


def test_what_is_not_whole_is_named(tmp_path: Path) -> None:
    write_kitti360(tmp_path)
    with pytest.raises(UsageError, match="fisheyes of a model we lack"):
        anchor_files(tmp_path, options=AnchorOptions(cameras=("02",))).read()
    with pytest.raises(UsageError, match=f"there are {NAME}"):
        anchor_files(tmp_path, options=AnchorOptions(drive="x")).read()
    (tmp_path / "data_3d_raw" / NAME / "velodyne_points" / "data" / "0000000001.bin").unlink()
    with pytest.raises(InputError, match="0000000001.bin: no such scan"):
        anchor_files(tmp_path).read()
    poses = tmp_path / "data_poses" / NAME / "poses.txt"
    poses.write_text(poses.read_text().replace("\n3 ", "\n3 nan ", 1))
    with pytest.raises(InputError, match="line 3"):
        anchor_files(tmp_path).read()
