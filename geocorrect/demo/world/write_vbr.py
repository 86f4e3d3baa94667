"""Anchor drives on disk, in the layout that vbr-devkit exports (KITTI style): what readers of the real data expect."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.demo.world.drives import LIDAR_FROM_CAMERA, SCAN_DELAY_S, Drive
from geocorrect.demo.world.place import ENU_FROM_LOCAL, ENU_FROM_STREET, FRAME
from geocorrect.geometry.camera import Camera
from geocorrect.records import Float, Float32, ImageArray

CAMERA_TOPIC, LIDAR_TOPIC = "/camera_left/image_raw", "/ouster/points"
_FLOAT32, _UINT32, _UINT16, _UINT8 = 7, 6, 4, 2
POINT_FIELDS = (
    ("x", 0, _FLOAT32), ("y", 4, _FLOAT32), ("z", 8, _FLOAT32), ("intensity", 16, _FLOAT32), ("t", 20, _UINT32),
    ("reflectivity", 24, _UINT16), ("ring", 26, _UINT8), ("ambient", 28, _UINT16), ("range", 32, _UINT32),
)  # fmt: skip
"""Name, byte offset and PointField type of the *full* record. The exported clouds hold x, y, z, intensity only, and the
metadata nevertheless describe the full record: so does the real export (vbr-devkit issue 3)."""


def write_frame(drive_folder: Path, index: int, pixels: ImageArray, cloud: Float32) -> None:
    """One picture (PNG, RGB given) and the scan that belongs to it (N × 4 float32)."""
    image = drive_folder / "camera_left" / "data" / f"{index:010d}.png"
    points = drive_folder / "ouster_points" / "data" / f"{index:010d}.bin"
    for path in (image, points):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(image), pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"{image}: could not be written")
    np.asarray(cloud, "<f4").tofile(points)


def write_drive(drive_folder: Path, drive: Drive, camera: Camera) -> None:
    """Everything of a drive but its frames: time stamps, topic metadata, calibration, trajectory."""
    times = drive.image_times_s()
    _write_topic(drive_folder / "camera_left", times, {"topic": CAMERA_TOPIC, "msg_type": "Image", "encoding": "rgb8"})
    fields = [{"name": n, "offset": o, "datatype": d, "count": 1} for n, o, d in POINT_FIELDS]
    points: dict[str, object] = {"topic": LIDAR_TOPIC, "msg_type": "PointCloudXf", "fields": fields}
    _write_topic(drive_folder / "ouster_points", times + SCAN_DELAY_S, points)
    (drive_folder / "vbr_calib.yaml").write_text(_calibration(camera))
    (drive_folder / f"{drive.name}_gt.txt").write_text(_trajectory(drive))


def write_alignment(path: Path) -> None:
    """Where the drives' local frame lies on earth, as `geocorrect anchors add` reads it: known to some millimetres."""
    sigma = np.array([0.003, 0.003, 0.003, 5e-5, 5e-5, 5e-5])
    alignment = Alignment.from_pose(FRAME, ENU_FROM_LOCAL.with_covariance(np.diag(sigma**2)))
    path.write_text(json.dumps(alignment.as_json(), indent=2) + "\n", encoding="utf-8")


def _write_topic(folder: Path, times_s: Float, metadata: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stamps = np.round(times_s * 1e9).astype("int64").astype("datetime64[ns]")
    (folder / "timestamps.txt").write_text("".join(f"{stamp}\n" for stamp in stamps))
    (folder / ".metadata.json").write_text(json.dumps({**metadata, "num_messages": len(times_s)}))


def _trajectory(drive: Drive) -> str:
    """TUM rows: time, translation, quaternion x y z w of the LiDAR in the local frame."""
    local_from_street = ENU_FROM_LOCAL.inverse() @ ENU_FROM_STREET
    lines = ["#timestamp tx ty tz qx qy qz qw"]
    for time_s in drive.ground_truth_times_s():
        pose = local_from_street @ drive.street_from_lidar(float(time_s))
        numbers = " ".join(f"{value:.6f}" for value in (*pose.translation_m, *pose.quaternion_xyzw))
        lines.append(f"{time_s:.10f} {numbers}")
    return "\n".join(lines) + "\n"


def _calibration(camera: Camera) -> str:
    intrinsics = [camera.focal_x_px, camera.focal_y_px, camera.principal_x_px, camera.principal_y_px]
    matrix = ",\n".join("    [" + ", ".join(f"{v:.9f}" for v in row) + "]" for row in LIDAR_FROM_CAMERA.matrix)
    identity = ", ".join(str([float(i == j) for j in range(4)]) for i in range(4))
    return (
        f"cam_l:\n  rostopic: {CAMERA_TOPIC}\n  resolution: [{camera.width}, {camera.height}]\n"
        f"  intrinsics: {intrinsics}\n  distortion_model: radtan\n"
        f"  distortion_coeffs: {list(camera.distortion[:4])}\n  T_b: [\n{matrix}]\n"
        f"lidar:\n  rostopic: {LIDAR_TOPIC}\n  T_b: [{identity}]\n"
    )
