"""Waymo v2 and ZOD in their published layouts, written from the demo's drive: poses, lenses, scans without motion."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.anchors.scan import read_scan
from geocorrect.demo.world.drives import ENU_FROM_STREET, LIDAR_FROM_CAMERA, Drive
from geocorrect.errors import InputError, OutputError, UsageError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.records import Anchor

DRIVE = Drive("d", 7, +1, 5.0, 1.3, 3, 1000.0)
TIMES_S = [float(t) for t in DRIVE.image_times_s()]
START = datetime(2022, 2, 14, 13, 23, 32, tzinfo=UTC)
EGO_FROM_LIDAR = Pose(Rotation.from_euler("zyx", [0.3, 0.02, -0.01]), np.array([0.9, 0.1, 1.8]))
EGO_FROM_CAM = Pose(Rotation.identity(), np.array([0.9, 0.0, 1.8])) @ LIDAR_FROM_CAMERA
ALIGNMENT = Alignment(Frame("X", 11.9, 57.7, 40.0), Similarity(1.0, Rotation.from_euler("z", 0.7), [4, 5, 6]))
SEGMENT = "1005081002024129653_5313_150_5333_150"
SIZE = (64, 48)


def ego(time_s: float) -> Pose:
    """In the drive's own frame, that of the car at its first picture."""
    there = ENU_FROM_STREET @ DRIVE.street_from_lidar(TIMES_S[0])
    return there.inverse() @ ENU_FROM_STREET @ DRIVE.street_from_lidar(time_s)


def micros(time_s: float) -> int:
    return round(START.timestamp() * 1e6) + round(time_s * 1e6)


def check(anchors: list[Anchor], delay_s: float) -> None:
    for anchor, time_s in zip(anchors, TIMES_S, strict=True):
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


def jpeg() -> bytes:
    return cv2.imencode(".jpg", np.zeros((SIZE[1], SIZE[0], 3), np.uint8))[1].tobytes()


# Waymo

BEAMS_RAD = np.array([-0.3, -0.1, 0.0, 0.04])
COLUMNS, SWEEP_S, SHUTTER_S = 16, 0.1, 0.02


def moment(column: int) -> float:
    """Time of a column after the frame's."""
    return SWEEP_S * (column / COLUMNS - 0.5)


def waymo_ranges(frame: int) -> np.ndarray:
    ranges = np.random.default_rng(frame).uniform(3, 40, (len(BEAMS_RAD), COLUMNS)).astype(np.float32)
    ranges[1, 3] = -1.0
    return ranges


def waymo_point(frame: int, row: int, column: int) -> np.ndarray:
    """In the drive's frame: the first row is the highest beam; columns run clockwise from straight behind."""
    yaw = np.arctan2(*EGO_FROM_LIDAR.rotation.as_matrix()[[1, 0], 0])
    turn, up = np.pi - 2 * np.pi * (column + 0.5) / COLUMNS - yaw, BEAMS_RAD[::-1][row]
    ray = np.array([np.cos(turn) * np.cos(up), np.sin(turn) * np.cos(up), np.sin(up)])
    at = ego(TIMES_S[frame] + moment(column))
    return (at @ EGO_FROM_LIDAR).apply(float(waymo_ranges(frame)[row, column]) * ray)


def write_waymo(root: Path) -> None:
    def table(component: str, rows: list[dict[str, Any]]) -> None:
        (root / component).mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(rows), root / component / f"{SEGMENT}.parquet")

    key = {"key.segment_context_name": SEGMENT}
    frames = [{**key, "key.frame_timestamp_micros": micros(time_s)} for time_s in TIMES_S]
    body_from_cam = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    mount = EGO_FROM_CAM.matrix.copy()
    mount[:3, :3] = mount[:3, :3] @ body_from_cam.T
    lens = "[CameraCalibrationComponent]"
    numbers = {
        "f_u": 60.0,
        "f_v": 61.0,
        "c_u": 31.0,
        "c_v": 23.5,
        "k1": 0.04,
        "k2": -0.3,
        "p1": 0.001,
        "p2": 0.002,
        "k3": 0.0,
    }
    calibration = {f"{lens}.intrinsic.{name}": value for name, value in numbers.items()}
    sizes = {f"{lens}.width": SIZE[0], f"{lens}.height": SIZE[1], f"{lens}.extrinsic.transform": mount.ravel().tolist()}
    table("camera_calibration", [{**key, "key.camera_name": n, **calibration, **sizes} for n in (1, 4)])
    image = "[CameraImageComponent]"
    table("camera_image", [
        {**frame, "key.camera_name": n, f"{image}.image": jpeg(),
         f"{image}.pose.transform": ego(time_s + SHUTTER_S).matrix.ravel().tolist(),
         f"{image}.pose_timestamp": START.timestamp() + time_s + SHUTTER_S}
        for frame, time_s in zip(frames, TIMES_S, strict=True) for n in (1, 4)
    ])  # fmt: skip
    vehicle = "[VehiclePoseComponent].world_from_vehicle.transform"
    table(
        "vehicle_pose", [{**f, vehicle: ego(t).matrix.ravel().tolist()} for f, t in zip(frames, TIMES_S, strict=True)]
    )
    scanner = "[LiDARCalibrationComponent]"
    table("lidar_calibration", [
        {**key, "key.laser_name": n, f"{scanner}.extrinsic.transform": EGO_FROM_LIDAR.matrix.ravel().tolist(),
         f"{scanner}.beam_inclination.values": BEAMS_RAD.tolist() if n == 1 else None} for n in (1, 2)
    ])  # fmt: skip
    ranges, poses, name = [], [], "range_image_return1"
    for number, frame in enumerate(frames):
        pixels = np.zeros((len(BEAMS_RAD), COLUMNS, 4), np.float32)
        pixels[..., 0] = waymo_ranges(number)
        moments = np.zeros((len(BEAMS_RAD), COLUMNS, 6), np.float32)
        for column in range(COLUMNS):
            at = ego(TIMES_S[number] + moment(column))
            yaw, pitch, roll = at.rotation.as_euler("ZYX")
            moments[:, column] = [roll, pitch, yaw, *at.translation_m]
        for laser in (1, 2):
            ranges.append({**frame, "key.laser_name": laser, f"[LiDARComponent].{name}.values": pixels.ravel().tolist(),
                           f"[LiDARComponent].{name}.shape": list(pixels.shape)})  # fmt: skip
        poses.append({**frame, "key.laser_name": 1, f"[LiDARPoseComponent].{name}.values": moments.ravel().tolist(),
                      f"[LiDARPoseComponent].{name}.shape": list(moments.shape)})  # fmt: skip
    table("lidar", ranges)
    table("lidar_pose", poses)


def test_waymo(tmp_path: Path) -> None:
    write_waymo(tmp_path / "training")
    options = AnchorOptions(alignment=place(tmp_path), images=tmp_path / "out", cameras=("FRONT",))
    _, anchors = anchor_files(tmp_path / "training", options=options).read()
    check(anchors, SHUTTER_S)
    assert [round(float(k), 3) for k in anchors[0].camera.distortion] == [0.04, -0.3, 0.001, 0.002, 0.0]
    for number, anchor in enumerate(anchors):
        assert anchor.path == (tmp_path / "out" / SEGMENT / "FRONT" / f"{micros(TIMES_S[number])}.jpg").resolve()
        truth = [waymo_point(number, row, column) for row in range(len(BEAMS_RAD)) for column in range(COLUMNS)
                 if (row, column) != (1, 3)]  # fmt: skip
        assert np.abs(seen(anchor) - truth).max() < 2e-5  # float32
    ahead = ego(TIMES_S[0] + moment(7)).inverse().apply(waymo_point(0, 2, 7))
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

POINTS_M = np.random.default_rng(5).uniform([5, -20, -1], [60, 20, 6], (400, 3))
SCAN_DELAY_S = 0.031
CLOUD = np.dtype(
    [("timestamp", "<i8"), ("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "u1"), ("diode_index", "u1")]
)


def write_zod(folder: Path, *, is_compensated: bool) -> None:
    for name in ("camera_front_blur", "lidar_velodyne"):
        (folder / name).mkdir(parents=True)
    times = np.arange(TIMES_S[0] - 0.2, TIMES_S[-1] + 0.2, 0.01)
    moments = np.unique(np.round(np.concatenate([times, TIMES_S]), 6))
    (folder / "ego_motion.json").write_text(json.dumps({
        "poses": [ego(float(t)).matrix.tolist() for t in moments],
        "timestamps": [START.timestamp() + float(t) for t in moments],
        "origin_lat_lon": [57.7, 11.9],
    }))  # fmt: skip
    intrinsics = [[60.0, 0, 31.0, 0], [0, 61.0, 23.5, 0], [0, 0, 1, 0]]
    (folder / "calibration.json").write_text(json.dumps({"FC": {
        "extrinsics": EGO_FROM_CAM.matrix.tolist(), "lidar_extrinsics": EGO_FROM_LIDAR.matrix.tolist(),
        "intrinsics": intrinsics, "distortion": [0.3, -0.02, 0.01, -0.003], "undistortion": [0, 0, 0, 0],
        "image_dimensions": list(SIZE), "field_of_view": [120.0, 67.0],
    }}))  # fmt: skip
    info: dict[str, Any] = {"id": folder.name, "camera_frames": {"front_blur": []}, "lidar_frames": {"velodyne": []}}
    for number, time_s in enumerate(TIMES_S):
        picture = f"sequences/{folder.name}/camera_front_blur/{number:06d}.jpg"
        (folder / "camera_front_blur" / Path(picture).name).write_bytes(jpeg())
        at = START + timedelta(seconds=time_s)
        info["camera_frames"]["front_blur"].append({"filepath": picture, "time": at.isoformat()})
        after_s = np.linspace(-0.05, 0.05, len(POINTS_M))
        cloud = np.zeros(len(POINTS_M), CLOUD)
        cloud["timestamp"] = np.round(after_s * 1e6)
        for k, point in enumerate(POINTS_M):
            when = time_s + SCAN_DELAY_S + (0.0 if is_compensated else float(after_s[k]))
            cloud["x"][k], cloud["y"][k], cloud["z"][k] = (ego(when) @ EGO_FROM_LIDAR).inverse().apply(point)
        np.save(folder / "lidar_velodyne" / f"{number:06d}.npy", cloud)
        info["lidar_frames"]["velodyne"].append({
            "filepath": f"sequences/{folder.name}/lidar_velodyne/{number:06d}.npy",
            "time": (at + timedelta(seconds=SCAN_DELAY_S)).isoformat(), "is_compensated": is_compensated,
        })  # fmt: skip
    (folder / "info.json").write_text(json.dumps(info))


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
