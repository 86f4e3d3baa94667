"""nuScenes and Argoverse 2 in their published layouts, of a recorded drive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

from geocorrect.geometry.pose import Pose
from support.recorded_drive import EGO_FROM_CAM, EGO_FROM_LIDAR, Recording

CORNER = np.array([600.0, 1200.0, 0.0])
"""The car's world on the maps of these data sets."""
START_US = 1_532_402_927_000_000
START_NS = 1_600_000_000 * 10**9
SCAN_DELAY_S = 0.03
TINY = Recording()


def on_map(time_s: float, recording: Recording = TINY) -> Pose:
    """Of the car."""
    pose = recording.world_from_ego(time_s)
    return Pose(pose.rotation, pose.translation_m + CORNER)


def wxyz(pose: Pose) -> dict[str, Any]:
    x, y, z, w = pose.quaternion_xyzw
    return {"translation": pose.translation_m.tolist(), "rotation": [w, x, y, z]}


def write_nuscenes(root: Path, location: str = "boston-seaport", recording: Recording = TINY) -> None:
    camera = recording.camera
    tables: dict[str, list[dict[str, Any]]] = {
        "scene": [{"token": "s", "name": "scene-0061", "log_token": "l"}],
        "log": [{"token": "l", "location": location}],
        "sample": [],
        "sensor": [{"token": "c", "channel": "CAM_FRONT", "modality": "camera"},
                   {"token": "p", "channel": "LIDAR_TOP", "modality": "lidar"},
                   {"token": "r", "channel": "RADAR_FRONT", "modality": "radar"}],
        "calibrated_sensor": [
            {"token": "cc", "sensor_token": "c", **wxyz(EGO_FROM_CAM),
             "camera_intrinsic": camera.intrinsic_matrix.tolist()},
            {"token": "cp", "sensor_token": "p", **wxyz(EGO_FROM_LIDAR), "camera_intrinsic": []},
            {"token": "cr", "sensor_token": "r", **wxyz(EGO_FROM_LIDAR), "camera_intrinsic": []},
        ],
        "sample_data": [], "ego_pose": [],
    }  # fmt: skip
    for n, time_s in enumerate(recording.times_s):
        tables["sample"].append({"token": f"k{n}", "scene_token": "s"})
        for sensor, delay_s, key in (
            ("cc", 0.0, True),
            ("cp", SCAN_DELAY_S, True),
            ("cr", 0.01, True),
            ("cc", 0.08, False),
        ):
            token = f"{sensor}{n}{key}"
            at_us = START_US + round((time_s + delay_s) * 1e6)
            name = f"samples/CAM_FRONT/{token}.jpg" if sensor == "cc" else f"samples/LIDAR_TOP/{token}.pcd.bin"
            tables["ego_pose"].append({"token": token, "timestamp": at_us, **wxyz(on_map(time_s + delay_s, recording))})
            tables["sample_data"].append({
                "token": token, "sample_token": f"k{n}", "ego_pose_token": token, "calibrated_sensor_token": sensor,
                "filename": name, "is_key_frame": key, "timestamp": at_us,
                "width": camera.width if sensor == "cc" else 0, "height": camera.height if sensor == "cc" else 0,
            })  # fmt: skip
            if sensor == "cc":
                recording.picture(root / name, n, camera)
            elif sensor == "cp":
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                points = recording.scan(n, recording.world_from_lidar(time_s + delay_s))
                np.column_stack([points, np.arange(len(points)) % 32]).astype("<f4").tofile(path)
    (root / "v1.0-mini").mkdir(parents=True)
    for name, records in tables.items():
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(records))


def write_argoverse(log: Path, city: str = "PIT", recording: Recording = TINY) -> None:
    (log / "map").mkdir(parents=True)
    (log / "calibration").mkdir()
    (log / "map" / f"log_map_archive_{log.name}____{city}_city_31785.json").write_text("{}")
    times = sorted([*map(float, recording.drive.ground_truth_times_s()), *recording.times_s])
    poses = [on_map(time_s, recording) for time_s in times]
    stamps = [START_NS + round(t * 1e9) for t in times]
    feather.write_feather(_table(poses, timestamp_ns=stamps), log / "city_SE3_egovehicle.feather")
    feather.write_feather(_table([EGO_FROM_CAM], sensor_name=["ring_front_center"]),
                          log / "calibration" / "egovehicle_SE3_sensor.feather")  # fmt: skip
    c = recording.camera
    lens = {"sensor_name": ["ring_front_center"], "fx_px": [c.focal_x_px], "fy_px": [c.focal_y_px],
            "cx_px": [c.principal_x_px], "cy_px": [c.principal_y_px], "k1": [-0.2], "k2": [0.1], "k3": [0.0],
            "height_px": [c.height], "width_px": [c.width]}  # fmt: skip
    feather.write_feather(pa.table(lens), log / "calibration" / "intrinsics.feather")
    for number, time_s in enumerate(recording.times_s):
        stamp = START_NS + round(time_s * 1e9)
        recording.picture(log / "sensors" / "cameras" / "ring_front_center" / f"{stamp}.jpg", number, c)
        scanned_s = time_s + SCAN_DELAY_S
        points = recording.scan(number, recording.world_from_lidar(scanned_s))[:, :3]
        xyz = dict(zip("xyz", EGO_FROM_LIDAR.apply(points).astype(np.float16).T, strict=True))
        sweep = log / "sensors" / "lidar" / f"{START_NS + round(scanned_s * 1e9)}.feather"
        sweep.parent.mkdir(exist_ok=True)
        feather.write_feather(pa.table({**xyz, "offset_ns": np.zeros(len(points), np.int32)}), sweep)


def _table(poses: list[Pose], **more: Any) -> pa.Table:
    quaternions, places = np.array([p.quaternion_xyzw for p in poses]), np.array([p.translation_m for p in poses])
    columns = dict(zip(("qx", "qy", "qz", "qw"), quaternions.T, strict=True))
    return pa.table(more | columns | dict(zip(("tx_m", "ty_m", "tz_m"), places.T, strict=True)))
