"""Waymo v2 and ZOD in their published layouts, of a recorded drive: scans with or without the car's motion."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.demo.world.drives import Drive
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from support.recorded_drive import EGO_FROM_CAM, Float, Recording

START = datetime(2022, 2, 14, 13, 23, 32, tzinfo=UTC)
EGO_FROM_LIDAR = Pose(Rotation.from_euler("zyx", [0.3, 0.02, -0.01]), np.array([0.9, 0.1, 1.8]))
ALIGNMENT = Alignment(Frame("X", 11.9, 57.7, 40.0), Similarity(1.0, Rotation.from_euler("z", 0.7), [4, 5, 6]))
SEGMENT = "1005081002024129653_5313_150_5333_150"
TINY = Recording(Drive("d", 7, +1, 5.0, 1.3, 3, 1000.0))
BEAMS_RAD = (-0.3, -0.1, 0.0, 0.04)
COLUMNS, SWEEP_S, SHUTTER_S = 16, 0.1, 0.02
POINTS_M = np.random.default_rng(5).uniform([5, -20, -1], [60, 20, 6], (400, 3))
SCAN_DELAY_S = 0.031
CLOUD = np.dtype(
    [("timestamp", "<i8"), ("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "u1"), ("diode_index", "u1")]
)


def ego(time_s: float, recording: Recording = TINY) -> Pose:
    """In the drive's own frame, that of the car at its first picture."""
    first = recording.world_from_ego(recording.times_s[0])
    return first.inverse() @ recording.world_from_ego(time_s)


def micros(time_s: float) -> int:
    return round(START.timestamp() * 1e6) + round(time_s * 1e6)


def moment(column: int, columns: int = COLUMNS) -> float:
    """Time of a column after the frame's."""
    return SWEEP_S * (column / columns - 0.5)


def random_ranges(frame: int) -> np.ndarray:
    ranges = np.random.default_rng(frame).uniform(3, 40, (len(BEAMS_RAD), COLUMNS)).astype(np.float32)
    ranges[1, 3] = -1.0
    return ranges


@dataclass(frozen=True)
class Sweep:
    """What Waymo's top laser measures."""

    beams_rad: Sequence[float] = BEAMS_RAD
    """Lowest first."""
    ranges: Callable[[int], np.ndarray] = random_ranges
    """(beams, columns) metres of a frame, highest beam first, columns clockwise from straight behind the car."""
    moves: bool = True
    """Whether the car moves meanwhile."""
    shutter_s: float = SHUTTER_S
    """Of the pictures, after the frame's time."""


def write_waymo(root: Path, recording: Recording = TINY, sweep: Sweep | None = None) -> None:
    sweep, camera, times_s = sweep or Sweep(), recording.camera, recording.times_s

    def table(component: str, rows: list[dict[str, Any]]) -> None:
        (root / component).mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(rows), root / component / f"{SEGMENT}.parquet")

    def jpeg(number: int) -> bytes:
        recording.picture(path := root.parent / "picture.jpg", number, camera)
        return path.read_bytes()

    key = {"key.segment_context_name": SEGMENT}
    frames = [{**key, "key.frame_timestamp_micros": micros(time_s)} for time_s in times_s]
    body_from_cam = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    mount = EGO_FROM_CAM.matrix.copy()
    mount[:3, :3] = mount[:3, :3] @ body_from_cam.T
    lens = "[CameraCalibrationComponent]"
    affine = [camera.focal_x_px, camera.focal_y_px, camera.principal_x_px, camera.principal_y_px]
    names = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
    coefficients = (*camera.distortion, *[0.0] * 5)[:5]
    calibration = {f"{lens}.intrinsic.{n}": v for n, v in zip(names, (*affine, *coefficients), strict=True)}
    sizes = {f"{lens}.width": camera.width, f"{lens}.height": camera.height,
             f"{lens}.extrinsic.transform": mount.ravel().tolist()}  # fmt: skip
    table("camera_calibration", [{**key, "key.camera_name": n, **calibration, **sizes} for n in (1, 4)])
    image = "[CameraImageComponent]"
    table("camera_image", [
        {**frame, "key.camera_name": n, f"{image}.image": jpeg(number),
         f"{image}.pose.transform": ego(time_s + sweep.shutter_s, recording).matrix.ravel().tolist(),
         f"{image}.pose_timestamp": START.timestamp() + time_s + sweep.shutter_s}
        for number, (frame, time_s) in enumerate(zip(frames, times_s, strict=True)) for n in (1, 4)
    ])  # fmt: skip
    vehicle = "[VehiclePoseComponent].world_from_vehicle.transform"
    table("vehicle_pose", [
        {**frame, vehicle: ego(time_s, recording).matrix.ravel().tolist()}
        for frame, time_s in zip(frames, times_s, strict=True)
    ])  # fmt: skip
    scanner = "[LiDARCalibrationComponent]"
    table("lidar_calibration", [
        {**key, "key.laser_name": n, f"{scanner}.extrinsic.transform": EGO_FROM_LIDAR.matrix.ravel().tolist(),
         f"{scanner}.beam_inclination.values": list(sweep.beams_rad) if n == 1 else None} for n in (1, 2)
    ])  # fmt: skip
    ranges, poses, name = [], [], "range_image_return1"
    for number, frame in enumerate(frames):
        measured = sweep.ranges(number)
        pixels = np.zeros((*measured.shape, 4), np.float32)
        pixels[..., 0] = measured
        moments = np.zeros((*measured.shape, 6), np.float32)
        for column in range(measured.shape[1]):
            at = ego(times_s[number] + moment(column, measured.shape[1]) * sweep.moves, recording)
            yaw, pitch, roll = at.rotation.as_euler("ZYX")
            moments[:, column] = [roll, pitch, yaw, *at.translation_m]
        for laser in (1, 2):
            ranges.append({**frame, "key.laser_name": laser, f"[LiDARComponent].{name}.values": pixels.ravel().tolist(),
                           f"[LiDARComponent].{name}.shape": list(pixels.shape)})  # fmt: skip
        poses.append({**frame, "key.laser_name": 1, f"[LiDARPoseComponent].{name}.values": moments.ravel().tolist(),
                      f"[LiDARPoseComponent].{name}.shape": list(moments.shape)})  # fmt: skip
    table("lidar", ranges)
    table("lidar_pose", poses)


def static_points(number: int, ego_at: Callable[[float], Pose], after_s: Float) -> Float:
    """(N, 3) POINTS_M as the scanner has them, each at its own moment."""
    frames = [(ego_at(float(s)) @ EGO_FROM_LIDAR).inverse() for s in after_s]
    return np.array([frame.apply(point) for frame, point in zip(frames, POINTS_M, strict=True)])


def write_zod(
    folder: Path,
    *,
    is_compensated: bool,
    recording: Recording = TINY,
    distortion: tuple[float, ...] = (0.3, -0.02, 0.01, -0.003),
    points: Callable[[int, Callable[[float], Pose], Float], Float] = static_points,
) -> None:
    """points: (number, the car's pose so long after the scan, moments of the returns) → points in scanner axes."""
    for name in ("camera_front_blur", "lidar_velodyne"):
        (folder / name).mkdir(parents=True)
    times_s, camera = recording.times_s, recording.camera
    times = np.arange(times_s[0] - 0.2, times_s[-1] + 0.2, 0.01)
    moments = np.unique(np.round(np.concatenate([times, times_s]), 6))
    (folder / "ego_motion.json").write_text(json.dumps({
        "poses": [ego(float(t), recording).matrix.tolist() for t in moments],
        "timestamps": [START.timestamp() + float(t) for t in moments],
        "origin_lat_lon": [57.7, 11.9],
    }))  # fmt: skip
    intrinsics = np.column_stack([camera.intrinsic_matrix, np.zeros(3)]).tolist()
    (folder / "calibration.json").write_text(json.dumps({"FC": {
        "extrinsics": EGO_FROM_CAM.matrix.tolist(), "lidar_extrinsics": EGO_FROM_LIDAR.matrix.tolist(),
        "intrinsics": intrinsics, "distortion": list(distortion), "undistortion": [0, 0, 0, 0],
        "image_dimensions": [camera.width, camera.height], "field_of_view": [120.0, 67.0],
    }}))  # fmt: skip
    info: dict[str, Any] = {"id": folder.name, "camera_frames": {"front_blur": []}, "lidar_frames": {"velodyne": []}}
    for number, time_s in enumerate(times_s):
        picture = f"sequences/{folder.name}/camera_front_blur/{number:06d}.jpg"
        recording.picture(folder / "camera_front_blur" / Path(picture).name, number, camera)
        at = START + timedelta(seconds=time_s)
        info["camera_frames"]["front_blur"].append({"filepath": picture, "time": at.isoformat()})
        after_s = np.linspace(-0.05, 0.05, len(POINTS_M))

        def ego_at(after_s: float, scanned_s: float = time_s + SCAN_DELAY_S) -> Pose:
            return ego(scanned_s + after_s, recording)

        xyz = points(number, ego_at, after_s * (not is_compensated))
        cloud = np.zeros(len(xyz), CLOUD)
        cloud["timestamp"] = np.round(np.resize(after_s, len(xyz)) * 1e6)
        cloud["x"], cloud["y"], cloud["z"] = xyz.T
        np.save(folder / "lidar_velodyne" / f"{number:06d}.npy", cloud)
        info["lidar_frames"]["velodyne"].append({
            "filepath": f"sequences/{folder.name}/lidar_velodyne/{number:06d}.npy",
            "time": (at + timedelta(seconds=SCAN_DELAY_S)).isoformat(), "is_compensated": is_compensated,
        })  # fmt: skip
    (folder / "info.json").write_text(json.dumps(info))
