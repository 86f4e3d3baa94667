"""A tiny VBR sequence with known truth, written as vbr-devkit writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.records import AlignmentRecord, Anchor

WIDTH, HEIGHT = 64, 48
ROWS, COLUMNS = 16, 512
FIELDS = [
    {"name": "x", "offset": 0, "datatype": 7, "count": 1},
    {"name": "y", "offset": 4, "datatype": 7, "count": 1},
    {"name": "z", "offset": 8, "datatype": 7, "count": 1},
    {"name": "intensity", "offset": 16, "datatype": 7, "count": 1},
    {"name": "t", "offset": 20, "datatype": 6, "count": 1},
    {"name": "range", "offset": 32, "datatype": 6, "count": 1},
]
BASE_FROM_CAM = Pose(Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), [0.07, 0.23, -0.67])
SPEED_M_S, TURN_RAD_S = 8.0, 0.3


def local_from_base(time_s: float) -> Pose:
    """The true drive: 8 m/s along a curve."""
    heading = TURN_RAD_S * time_s
    radius = SPEED_M_S / TURN_RAD_S
    position = [radius * np.sin(heading), radius * (1 - np.cos(heading)), 0.1 * time_s]
    return Pose(Rotation.from_euler("z", heading), position)


def stamp(time_s: float) -> str:
    return str(np.datetime64(round(time_s * 1e9), "ns"))


def write_sensor(folder: Path, times_s: list[float], topic: str) -> Path:
    data = folder / "data"
    data.mkdir(parents=True)
    (folder / "timestamps.txt").write_text("".join(stamp(t) + "\n" for t in times_s))
    (folder / ".metadata.json").write_text(json.dumps({"topic": topic, "num_messages": len(times_s), "fields": FIELDS}))
    return data


def write_calibration(path: Path, camera: Camera) -> Path:
    """Of a left camera in BASE_FROM_CAM; the base is the scanner."""
    intrinsics = [camera.focal_x_px, camera.focal_y_px, camera.principal_x_px, camera.principal_y_px]
    path.write_text(
        f"cam_l:\n  resolution: [{camera.width}, {camera.height}]\n  intrinsics: {intrinsics}\n"
        f"  distortion_coeffs: {list(camera.distortion[:4])}\n  T_b: {BASE_FROM_CAM.matrix.tolist()}\n"
        "lidar:\n  T_b: [[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]\n"
    )
    return path


@dataclass
class VbrWorld:
    """Where the files are, and the truth."""

    folder: Path
    calibration: Path
    ground_truth: Path
    image_times_s: list[float]
    alignment: Alignment = field(
        default_factory=lambda: Alignment.from_pose(
            Frame("Rome", 12.5, 41.9, 80.0),
            Pose(Rotation.from_euler("z", -89.5, degrees=True), [30.0, -20.0, 5.0]),
        )
    )


@pytest.fixture
def vbr(tmp_path: Path) -> VbrWorld:
    start_s = 1237.6
    gt_times = [start_s + 0.05 * i for i in range(41)]
    lines = ["#timestamp tx ty tz qx qy qz qw"]
    for t in gt_times:
        pose = local_from_base(t - start_s)
        values = [*pose.translation_m, *pose.rotation.as_quat()]
        lines.append(f"{t:.10f} " + " ".join(f"{v:.9f}" for v in values))
    truth = tmp_path / "street0_gt.txt"
    truth.write_text("\n".join(lines) + "\n")
    image_times = [start_s + 0.02 + 0.1 * i for i in range(15)]
    image_times.insert(4, image_times[3])  # the recorder's duplicate
    data = write_sensor(tmp_path / "seq" / "camera_left", image_times, "/camera_left/image_raw")
    for number in range(len(image_times)):
        cv2.imwrite(str(data / f"{number:010d}.png"), np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    scan_times = [start_s + 0.1 * i for i in range(17)]
    data = write_sensor(tmp_path / "seq" / "ouster_points", scan_times, "/ouster/points")
    cloud = np.zeros((ROWS * COLUMNS, 4), np.float32)
    cloud[:100, :3] = [10.0, 1.0, -0.5]
    for number in range(len(scan_times)):
        cloud.tofile(data / f"{number:010d}.bin")
    camera = Camera.from_opencv(WIDTH, HEIGHT, (60.0, 61.0, 31.0, 23.5), (-0.1, 0.05, 0.001, -0.002))
    calibration = write_calibration(tmp_path / "vbr_calib.yaml", camera)
    return VbrWorld(tmp_path / "seq", calibration, truth, image_times)


class MemoryCatalog:
    """A catalog in memory: what adding anchors needs of one."""

    def __init__(self, frame: Frame | None = None) -> None:
        self.scene = frame
        self.alignments: list[AlignmentRecord] = []
        self.anchors: list[Anchor] = []

    def frame(self) -> Frame | None:
        return self.scene

    def set_frame(self, frame: Frame) -> None:
        self.scene = frame

    def add_alignment(self, alignment: AlignmentRecord) -> None:
        self.alignments.append(alignment)

    def upsert_anchors(self, anchors: Iterable[Anchor]) -> None:
        self.anchors += anchors
