from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.kitti_layouts import START, TINY, write_kitti_raw

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.demo.world.drives import FRAME as DEMO
from geocorrect.demo.world.drives import LIDAR_FROM_CAMERA
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity

CAM0_FROM_VELO = Pose(Rotation.from_matrix([[0, -1, 0], [0, 0, -1], [1, 0, 0]]), [-0.01, -0.08, -0.27])
BASELINE_M = {"0": 0.0, "2": -0.06, "3": 0.47}
ALIGNMENT = Alignment(
    Frame("K", 8.4, 49.0, 110.0), Similarity(1.0, Rotation.from_euler("xyz", [1.5, 0, 0.3]), [4, 5, 6])
)


def truth(number: int) -> Pose:
    """local_from_cam0."""
    return Pose(Rotation.from_euler("y", 0.02 * number), [0.1 * number, 0.0, 0.9 * number])


@pytest.fixture
def street(tmp_path: Path) -> Path:
    folder = tmp_path / "sequences" / "07"
    lines = []
    for camera, baseline_m in BASELINE_M.items():
        (folder / f"image_{camera}").mkdir(parents=True)
        projection = np.array([[60.0, 0, 31.5, -60 * baseline_m], [0, 60, 23.5, 0], [0, 0, 1, 0]])
        lines.append(f"P{camera}: " + " ".join(map(repr, projection.ravel().tolist())))
        for number in range(6):
            cv2.imwrite(str(folder / f"image_{camera}" / f"{number:06d}.png"), np.zeros((48, 64), np.uint8))
    (folder / "calib.txt").write_text("\n".join([*lines, "Tr: " + _row(CAM0_FROM_VELO)]) + "\n")
    (folder / "times.txt").write_text("".join(f"{0.1 * number:e}\n" for number in range(6)))
    (folder / "velodyne").mkdir()
    for number in range(6):
        np.random.default_rng(number).uniform(-9, 9, (40, 4)).astype("<f4").tofile(
            folder / "velodyne" / f"{number:06d}.bin"
        )
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses" / "07.txt").write_text("".join(_row(truth(number)) + "\n" for number in range(6)))
    (tmp_path / "alignment.json").write_text(json.dumps(ALIGNMENT.as_json()))
    return folder


def _row(pose: Pose) -> str:
    return " ".join(map(repr, pose.matrix[:3].ravel().tolist()))


def test_truth_in_every_field_and_a_choice_of_cameras_and_frames(street: Path) -> None:
    options = AnchorOptions(alignment=street.parents[1] / "alignment.json", cameras=("3", "0"), frames="1:6:2")
    alignment, anchors = anchor_files(street, options=options).read()
    assert alignment.id == ALIGNMENT.id
    assert [anchor.id for anchor in anchors] == [f"odometry_07/image_{c}/{n:06d}" for c in "30" for n in (1, 3, 5)]
    for anchor in anchors:
        camera, number = anchor.id[18], int(anchor.id[-1])
        cam0_from_cam = Pose(Rotation.identity(), [BASELINE_M[camera], 0, 0])
        expected = ALIGNMENT.apply(truth(number) @ cam0_from_cam)
        assert anchor.world_from_cam.matrix == pytest.approx(expected.matrix, abs=1e-9)
        assert (anchor.camera.focal_x_px, anchor.camera.principal_y_px) == (60.0, 23.5)
        assert anchor.lidar is not None
        assert anchor.lidar.path == street / "velodyne" / f"{number:06d}.bin"
        expected = cam0_from_cam.inverse() @ CAM0_FROM_VELO
        assert anchor.lidar.cam_from_lidar.matrix == pytest.approx(expected.matrix, abs=1e-9)


def test_a_raw_drive_gives_the_truth_in_every_field(tmp_path: Path) -> None:
    write_kitti_raw(tmp_path)
    alignment, anchors = anchor_files(tmp_path, options=AnchorOptions(cameras=("02",))).read()
    for anchor, time_s in zip(anchors, TINY.times_s, strict=True):
        truth = alignment.frame.this_from(DEMO) @ TINY.world_from_cam(time_s)
        assert np.abs(anchor.world_from_cam.minus(truth)).max() < 1e-6
        assert anchor.world_from_cam.covariance is not None
        sigma = np.sqrt(np.diag(anchor.world_from_cam.covariance))
        assert sigma == pytest.approx([0.02] * 3 + [np.radians(0.05)] * 3)
        assert anchor.captured_at is not None
        assert abs((anchor.captured_at - START).total_seconds() - time_s) < 2e-6
        assert np.array_equal(anchor.camera.intrinsic_matrix, TINY.camera.intrinsic_matrix)
        assert anchor.lidar is not None
        assert np.abs(anchor.lidar.cam_from_lidar.minus(LIDAR_FROM_CAMERA.inverse())).max() < 1e-6


def test_what_is_missing_is_named(street: Path) -> None:
    alignment = street.parents[1] / "alignment.json"
    with pytest.raises(UsageError, match="needs --alignment"):
        anchor_files(street).read()
    for options, message in (
        (AnchorOptions(alignment=alignment, cameras=("9",)), "image_9: no such folder"),
        (AnchorOptions(alignment=alignment, frames="90:"), "no frame of --frames 90:"),
        (AnchorOptions(alignment=alignment, ground_truth=street / "none.txt"), "no such file of poses"),
    ):
        with pytest.raises(InputError, match=message):
            anchor_files(street, "kitti-odometry", options).read()
    with pytest.raises(UsageError, match="write START:STOP"):
        anchor_files(street, "kitti-odometry", AnchorOptions(alignment=alignment, frames="7")).read()
    poses = street.parents[1] / "poses" / "07.txt"
    poses.write_text(poses.read_text().replace("0.9", "x", 1))
    with pytest.raises(InputError, match=r"07.txt, line 2 must be 12 finite numbers"):
        anchor_files(street, "auto", AnchorOptions(alignment=alignment)).read()
    (street / "velodyne" / "000003.bin").unlink()
    poses.write_text(poses.read_text().replace("x", "0.9", 1))
    with pytest.raises(InputError, match="000003.bin: no such scan; use --scans if_present"):
        anchor_files(street, "auto", AnchorOptions(alignment=alignment)).read()


@pytest.mark.data
def test_a_choice_of_a_raw_drive(shared_data: Path) -> None:
    options = AnchorOptions(cameras=("03",), frames="0:40:10")
    _, anchors = anchor_files(shared_data / "kitti_raw", options=options).read()
    _, everything = anchor_files(shared_data / "kitti_raw").read()
    assert 0 < len(anchors) < len(everything) / 2
    assert all("image_03" in anchor.id and int(anchor.id[-10:]) in (0, 10, 20, 30) for anchor in anchors)
