"""KITTI raw calibration: rectified cameras and their place on the IMU (calib_*.txt of one recording date).

Rectified pixels have no distortion. cam_from_imu = offset(P_rect) · R_rect_00 · cam0_from_velo · velo_from_imu.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Float, Pose
from geocorrect.io.text_file import finite_numbers, read_text

FOCAL_SIGMA = 3e-4
"""Relative focal error left by the checkerboard calibration (0.2 px of 721 px)."""


@dataclass(frozen=True, eq=False)
class KittiCalibration:
    """One rectified camera of the rig and its fixed transforms to the LiDAR and the IMU."""

    camera: Camera
    cam_from_velo: Pose
    velo_from_imu: Pose

    @property
    def imu_from_cam(self) -> Pose:
        """Pose of the camera on the IMU, the body of the trajectory."""
        return (self.cam_from_velo @ self.velo_from_imu).inverse()


def read_kitti_calibration(folder: Path, camera: str) -> KittiCalibration:
    """Calibration of one rectified camera ("00" … "03") of a date folder; InputError naming file and key."""
    cameras, velo, imu = (
        read_calibration(
            folder / f"calib_{name}.txt", "no such calibration file; download the calibration of this date"
        )
        for name in ("cam_to_cam", "velo_to_cam", "imu_to_velo")
    )
    matrix, offset = rectified_camera(folder / "calib_cam_to_cam.txt", cameras, f"P_rect_{camera}")
    size = calibrated_numbers(folder / "calib_cam_to_cam.txt", cameras, f"S_rect_{camera}", 2)
    rectify = calibrated_numbers(folder / "calib_cam_to_cam.txt", cameras, "R_rect_00", 9).reshape(3, 3)
    rect0_from_cam0 = Pose.from_matrix(np.column_stack([rectify, np.zeros(3)]))
    cam0_from_velo = _rigid(folder / "calib_velo_to_cam.txt", velo)
    pinhole = Camera.pinhole(int(size[0]), int(size[1]), matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
    velo_from_imu = _rigid(folder / "calib_imu_to_velo.txt", imu)
    return KittiCalibration(
        replace(pinhole, focal_sigma=FOCAL_SIGMA), offset @ rect0_from_cam0 @ cam0_from_velo, velo_from_imu
    )


def _rigid(path: Path, table: dict[str, str]) -> Pose:
    rotation = calibrated_numbers(path, table, "R", 9).reshape(3, 3)
    try:
        return Pose.from_matrix(np.column_stack([rotation, calibrated_numbers(path, table, "T", 3)]))
    except ValueError as error:
        raise InputError(f"{path}: R, T: {error}") from None


def read_calibration(path: Path, missing: str = "no such calibration file") -> dict[str, str]:
    """The text after each `key:` of a file; InputError naming it, and saying `missing` where it is."""
    lines = read_text(path, missing).splitlines()
    return {key.strip(): value for key, _, value in (line.partition(":") for line in lines)}


def rectified_camera(path: Path, table: dict[str, str], key: str) -> tuple[Float, Pose]:
    """(3, 3) K of a projection matrix P = K [I | t], and cam_from_cam0 = [I | t]."""
    projection = calibrated_numbers(path, table, key, 12).reshape(3, 4)
    offset = np.linalg.solve(projection[:, :3], projection[:, 3])
    return projection[:, :3], Pose.from_matrix(np.column_stack([np.eye(3), offset]))


def calibrated_numbers(path: Path, table: dict[str, str], key: str, count: int) -> Float:
    """The finite numbers of a key; InputError naming file and key."""
    if key not in table:
        raise InputError(f"{path}: key {key} is missing")
    return np.array(finite_numbers(f"{path}: {key}", table[key].split(), count))
