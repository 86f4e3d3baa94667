"""vbr_calib.yaml: cameras and where every sensor sits on the base.

`T_b` is the pose of the sensor in the base (base_from_sensor), used as it is; the base is the LiDAR, and the ground
truth is the pose of the base in a local frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.io.text_file import finite_numbers, read_text

CAMERA_KEYS = {"left": "cam_l", "right": "cam_r"}

_MOST_CHARACTERS = 100_000
FOCAL_SIGMA = 1e-3
"""Relative focal error assumed of a checkerboard calibration (1.3 px of 1265 px); the file states none."""


@dataclass(frozen=True, eq=False)
class RigCamera:
    """One camera of the rig: intrinsics and its pose on the base."""

    camera: Camera
    base_from_cam: Pose


@dataclass(frozen=True, eq=False)
class VbrCalibration:
    """The rig of a sequence."""

    path: Path
    """The file, for messages."""
    cameras: Mapping[str, RigCamera]
    """By side, "left" or "right"."""
    base_from_lidar: Pose

    def camera(self, side: str) -> RigCamera:
        """One camera; InputError naming the file when the calibration does not have it."""
        if side not in self.cameras:
            key = CAMERA_KEYS.get(side, side)
            raise InputError(f"{self.path}: no camera {key!r}; the file has {', '.join(self.cameras) or 'none'}")
        return self.cameras[side]


def read_vbr_calibration(path: Path) -> VbrCalibration:
    """The rig of a vbr_calib.yaml; InputError naming file and field when something is missing or impossible."""
    text = read_text(path, "no such calibration file (vbr_calib.yaml of the sequence)")
    if len(text) > _MOST_CHARACTERS:
        raise InputError(f"{path}: {len(text)} characters are no calibration; the largest has a few thousand")
    try:
        return _calibration(path, text)
    except InputError:
        raise
    except Exception as error:
        # Of a strange document the YAML reader makes anything: recursion, dates that do not exist, lists for mappings.
        raise InputError(f"{path}: not a readable YAML calibration ({str(error) or type(error).__name__})") from None


def _calibration(path: Path, text: str) -> VbrCalibration:
    import yaml

    data = yaml.safe_load(text)
    if not isinstance(data, dict):
        raise InputError(f"{path}: not a calibration; expected the keys cam_l, cam_r and lidar")
    cameras = {side: _camera(path, key, data[key]) for side, key in CAMERA_KEYS.items() if key in data}
    if not cameras:
        raise InputError(f"{path}: neither cam_l nor cam_r is in the file")
    if "lidar" not in data:
        raise InputError(f"{path}: key 'lidar' is missing")
    return VbrCalibration(path, cameras, _base_from_sensor(path, "lidar", data["lidar"]))


def _camera(path: Path, key: str, block: Any) -> RigCamera:
    if not isinstance(block, Mapping):
        raise InputError(f"{path}: {key} must hold resolution, intrinsics, distortion_coeffs and T_b")
    model = block.get("distortion_model", "radtan")
    if model != "radtan":
        raise InputError(f"{path}: {key}.distortion_model is {model!r}; only radtan (k1 k2 p1 p2) is known")
    width, height = finite_numbers(f"{path}: {key}.resolution", block.get("resolution"), 2)
    fx, fy, cx, cy = finite_numbers(f"{path}: {key}.intrinsics", block.get("intrinsics"), 4)
    distortion = finite_numbers(f"{path}: {key}.distortion_coeffs", block.get("distortion_coeffs"), 4)
    if not (fx > 0 and fy > 0 and 0 < cx < width and 0 < cy < height):
        raise InputError(
            f"{path}: {key}.intrinsics {[fx, fy, cx, cy]} do not belong to {width:g}×{height:g} pixels "
            "(order fx fy cx cy, resolution width height)"
        )
    camera = Camera.from_opencv(int(width), int(height), (fx, fy, cx, cy), distortion)
    return RigCamera(replace(camera, focal_sigma=FOCAL_SIGMA), _base_from_sensor(path, key, block))


def _base_from_sensor(path: Path, key: str, block: Any) -> Pose:
    if not isinstance(block, Mapping) or "T_b" not in block:
        raise InputError(f"{path}: {key}.T_b is missing (4×4 pose of the sensor in the base)")
    rows = block["T_b"]
    if not isinstance(rows, list) or len(rows) != 4:
        raise InputError(f"{path}: {key}.T_b must be four rows of four numbers")
    try:
        # Row by row: lists that repeat each other by reference would fill the memory as one array.
        return Pose.from_matrix(np.array([finite_numbers(f"{path}: {key}.T_b, each row,", row, 4) for row in rows]))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {key}.T_b: {error}") from None
