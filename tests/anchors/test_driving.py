"""Open driving data in their published layouts, written from the demo's drive: truth in every field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from geocorrect.anchors.add import checked_anchors
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.driving.argoverse import read_argoverse
from geocorrect.anchors.readers.driving.nuscenes import read_nuscenes
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.demo.world.drives import ENU_FROM_STREET, LIDAR_FROM_CAMERA, Drive
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.crs import crs_from_wgs84, grid_convergence_deg
from geocorrect.geometry.pose import Pose

DRIVE = Drive("d", 7, +1, 5.0, 1.3, 4, 1000.0)
EGO_FROM_LIDAR = Pose(LIDAR_FROM_CAMERA.rotation.identity(), np.array([0.9, 0.0, 1.8]))
EGO_FROM_CAM = EGO_FROM_LIDAR @ LIDAR_FROM_CAMERA
CORNER = np.array([600.0, 1200.0, 0.0])
START_US = 1_532_402_927_000_000


def ego(time_s: float) -> Pose:
    """Of the car on the map of the data set."""
    pose = ENU_FROM_STREET @ DRIVE.street_from_lidar(time_s) @ EGO_FROM_LIDAR.inverse()
    return Pose(pose.rotation, pose.translation_m + CORNER)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))


def wxyz(pose: Pose) -> dict[str, Any]:
    x, y, z, w = pose.quaternion_xyzw
    return {"translation": pose.translation_m.tolist(), "rotation": [w, x, y, z]}


def write_nuscenes(root: Path, location: str = "boston-seaport") -> None:
    tables: dict[str, list[dict[str, Any]]] = {
        "scene": [{"token": "s", "name": "scene-0061", "log_token": "l"}],
        "log": [{"token": "l", "location": location}],
        "sample": [],
        "sensor": [{"token": "c", "channel": "CAM_FRONT", "modality": "camera"},
                   {"token": "p", "channel": "LIDAR_TOP", "modality": "lidar"},
                   {"token": "r", "channel": "RADAR_FRONT", "modality": "radar"}],
        "calibrated_sensor": [
            {"token": "cc", "sensor_token": "c", **wxyz(EGO_FROM_CAM),
             "camera_intrinsic": [[60.0, 0, 31.0], [0, 61.0, 23.5], [0, 0, 1]]},
            {"token": "cp", "sensor_token": "p", **wxyz(EGO_FROM_LIDAR), "camera_intrinsic": []},
            {"token": "cr", "sensor_token": "r", **wxyz(EGO_FROM_LIDAR), "camera_intrinsic": []},
        ],
        "sample_data": [], "ego_pose": [],
    }  # fmt: skip
    for n, time_s in enumerate(DRIVE.image_times_s()):
        tables["sample"].append({"token": f"k{n}", "scene_token": "s"})
        for sensor, delay_s, key in (("cc", 0.0, True), ("cp", 0.03, True), ("cr", 0.01, True), ("cc", 0.08, False)):
            token = f"{sensor}{n}{key}"
            at_us = START_US + round((float(time_s) + delay_s) * 1e6)
            name = f"samples/CAM_FRONT/{token}.jpg" if sensor == "cc" else f"samples/LIDAR_TOP/{token}.pcd.bin"
            tables["ego_pose"].append({"token": token, "timestamp": at_us, **wxyz(ego(float(time_s) + delay_s))})
            tables["sample_data"].append({
                "token": token, "sample_token": f"k{n}", "ego_pose_token": token, "calibrated_sensor_token": sensor,
                "filename": name, "is_key_frame": key, "timestamp": at_us,
                "width": 64 if sensor == "cc" else 0, "height": 48 if sensor == "cc" else 0,
            })  # fmt: skip
            if sensor == "cc":
                picture(root / name)
            elif sensor == "cp":
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng(n)
                points = np.column_stack(
                    [rng.uniform(-20, 20, (300, 3)), rng.integers(0, 255, 300), np.arange(300) % 32]
                )
                points.astype("<f4").tofile(path)
    (root / "v1.0-mini").mkdir(parents=True)
    for name, records in tables.items():
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(records))


def test_nuscenes(tmp_path: Path) -> None:
    write_nuscenes(tmp_path)
    checked = checked_anchors(anchor_files(tmp_path))
    alignment, anchors = checked.alignment, checked.anchors
    assert len(anchors) == 4, "key frames of the camera, neither sweeps nor radar"
    origin = ego(float(DRIVE.image_times_s()[0])).translation_m * [1, 1, 0]
    for anchor, time_s in zip(anchors, DRIVE.image_times_s(), strict=True):
        world_from_cam = ego(float(time_s)) @ EGO_FROM_CAM
        moved = Pose(world_from_cam.rotation, world_from_cam.translation_m - origin)
        assert np.abs(anchor.world_from_cam.minus(moved)).max() < 1e-6
        assert anchor.captured_at is not None
        assert anchor.captured_at.timestamp() == pytest.approx(START_US / 1e6 + float(time_s), abs=2e-6)
        assert (anchor.camera.focal_x_px, anchor.camera.focal_y_px, anchor.camera.principal_y_px) == (60, 61, 23.5)
        assert anchor.lidar is not None
        tie = world_from_cam.inverse() @ ego(float(time_s) + 0.03) @ EGO_FROM_LIDAR
        assert np.abs(anchor.lidar.cam_from_lidar.minus(tie)).max() < 1e-6, "the car moved between picture and scan"
        assert anchor.lidar.format == "float32x5"
        assert anchor.drive_id == "scene-0061"
    assert checked.n_returns == 4 * 300
    lat = 42.336849169438615 + np.degrees(origin[1] / 6378137.0)
    lon = -71.05785369873047 + np.degrees(origin[0] / 6378137.0 / np.cos(np.radians(lat)))
    assert alignment.frame.lat_deg == pytest.approx(lat, abs=1e-6)
    assert alignment.frame.lon_deg == pytest.approx(lon, abs=1e-6)


def test_nuscenes_that_is_not_whole(tmp_path: Path) -> None:
    write_nuscenes(tmp_path)
    with pytest.raises(UsageError, match="no such scene; there are scene-0061"):
        read_nuscenes(tmp_path, AnchorOptions(drive="scene-1"))
    with pytest.raises(UsageError, match="this data has CAM_FRONT"):
        read_nuscenes(tmp_path, AnchorOptions(cameras=("CAM_BACK",)))
    poses = tmp_path / "v1.0-mini" / "ego_pose.json"
    kept = poses.read_text()
    poses.write_text(json.dumps(json.loads(kept)[1:]))
    with pytest.raises(InputError, match=r"ego_pose.json: no record 'cc0True'"):
        read_nuscenes(tmp_path)
    poses.unlink()
    with pytest.raises(InputError, match=r"ego_pose.json: no such table"):
        read_nuscenes(tmp_path)
    write_nuscenes(tmp_path / "b", "atlantis")
    with pytest.raises(InputError, match="'atlantis' is not published"):
        read_nuscenes(tmp_path / "b")


def write_argoverse(log: Path, city: str = "PIT") -> None:
    (log / "map").mkdir(parents=True)
    (log / "calibration").mkdir()
    (log / "map" / f"log_map_archive_{log.name}____{city}_city_31785.json").write_text("{}")
    times = DRIVE.ground_truth_times_s()
    poses = [ego(float(time_s)) for time_s in times]
    feather.write_feather(_table(poses, timestamp_ns=[1_600_000_000 * 10**9 + round(t * 1e9) for t in times]),
                          log / "city_SE3_egovehicle.feather")  # fmt: skip
    feather.write_feather(_table([EGO_FROM_CAM], sensor_name=["ring_front_center"]),
                          log / "calibration" / "egovehicle_SE3_sensor.feather")  # fmt: skip
    lens = {"sensor_name": ["ring_front_center"], "fx_px": [60.0], "fy_px": [61.0], "cx_px": [31.0], "cy_px": [23.5],
            "k1": [-0.2], "k2": [0.1], "k3": [0.0], "height_px": [48], "width_px": [64]}  # fmt: skip
    feather.write_feather(pa.table(lens), log / "calibration" / "intrinsics.feather")
    for time_s in times[20:24]:
        stamp = 1_600_000_000 * 10**9 + round(float(time_s) * 1e9)
        picture(log / "sensors" / "cameras" / "ring_front_center" / f"{stamp}.jpg")


def _table(poses: list[Pose], **more: Any) -> pa.Table:
    quaternions, places = np.array([p.quaternion_xyzw for p in poses]), np.array([p.translation_m for p in poses])
    columns = dict(zip(("qx", "qy", "qz", "qw"), quaternions.T, strict=True))
    return pa.table(more | columns | dict(zip(("tx_m", "ty_m", "tz_m"), places.T, strict=True)))


def test_argoverse(tmp_path: Path) -> None:
    log = tmp_path / "0a8a4cfa"
    write_argoverse(log)
    checked = checked_anchors(anchor_files(log))
    alignment, anchors = checked.alignment, checked.anchors
    assert len(anchors) == 4
    x0, y0 = (float(v) for v in crs_from_wgs84("EPSG:32617", -80.01294377242584, 40.44177902989321))
    turn = grid_convergence_deg("EPSG:32617", alignment.frame.lon_deg, alignment.frame.lat_deg)
    for anchor, time_s in zip(anchors, DRIVE.ground_truth_times_s()[20:24], strict=True):
        truth = ego(float(time_s)) @ EGO_FROM_CAM
        lon, lat, height = alignment.frame.wgs84_from_enu(anchor.world_from_cam.translation_m)
        x, y = crs_from_wgs84("EPSG:32617", lon, lat)
        place = [float(x) - x0, float(y) - y0, float(height)]
        # metres on the ground beside UTM's, 20 m from the frame's origin: 4e-4 of the distance at most
        assert place == pytest.approx(truth.translation_m.tolist(), abs=0.01)
        grid = float(np.degrees(np.arctan2(*truth.rotation.as_matrix()[:2, 2]))) % 360
        assert alignment.frame.heading_deg(anchor.world_from_cam) == pytest.approx((grid + turn) % 360, abs=1e-3)
        assert not any(anchor.camera.distortion), "pictures are undistorted"
        assert anchor.captured_at is not None
        assert anchor.captured_at.timestamp() == pytest.approx(1.6e9 + float(time_s), abs=2e-6)
    step = anchors[0].world_from_cam.inverse() @ anchors[3].world_from_cam
    times = DRIVE.ground_truth_times_s()
    true_step = (ego(float(times[20])) @ EGO_FROM_CAM).inverse() @ (ego(float(times[23])) @ EGO_FROM_CAM)
    assert np.abs(step.minus(true_step)).max() < 1e-6


def test_argoverse_that_is_not_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    write_argoverse(log)
    with pytest.raises(UsageError, match="this log has ring_front_center"):
        read_argoverse(log, AnchorOptions(cameras=("ring_rear_left",)))
    picture(log / "sensors" / "cameras" / "ring_front_center" / "5.jpg")
    with pytest.raises(InputError, match="no pose at"):
        read_argoverse(log)
    (log / "calibration" / "intrinsics.feather").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"intrinsics.feather: not a Feather table"):
        read_argoverse(log)
    (log / "calibration" / "intrinsics.feather").unlink()
    with pytest.raises(InputError, match=r"intrinsics.feather: no such file"):
        read_argoverse(log)
    write_argoverse(tmp_path / "b", "LAX")
    with pytest.raises(InputError, match="that names one of ATX"):
        read_argoverse(tmp_path / "b")
