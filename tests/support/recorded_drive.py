"""A drive with one camera and one scanner, for the writers of published layouts: tiny and blank, or rendered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.world.drives import ENU_FROM_STREET, LIDAR_FROM_CAMERA, Drive
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose

Float = NDArray[np.float64]
EGO_FROM_LIDAR = Pose(LIDAR_FROM_CAMERA.rotation.identity(), np.array([0.9, 0.0, 1.8]))
EGO_FROM_CAM = EGO_FROM_LIDAR @ LIDAR_FROM_CAMERA


SHORT = Drive("d", 7, +1, 5.0, 1.3, 4, 1000.0)
SMALL = Camera.pinhole(64, 48, 60.0, 61.0, 31.0, 23.5)


def blank(path: Path, number: int, camera: Camera) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((camera.height, camera.width, 3), np.uint8))


def noise(number: int, world_from_lidar: Pose) -> Float:
    rng = np.random.default_rng(number)
    return np.column_stack([rng.uniform(-20, 20, (300, 3)), rng.integers(0, 255, 300)])


@dataclass(frozen=True)
class Recording:
    """What a car saw."""

    drive: Drive = SHORT
    camera: Camera = SMALL
    picture: Callable[[Path, int, Camera], None] = blank
    """Writes the picture of an image time (number), in the format of the path's ending."""
    scan: Callable[[int, Pose], Float] = noise
    """(N, 4) x, y, z, intensity of a scan near an image time, by a scanner of that pose in the world."""

    @property
    def times_s(self) -> list[float]:
        return [float(time_s) for time_s in self.drive.image_times_s()]

    def world_from_lidar(self, time_s: float) -> Pose:
        return ENU_FROM_STREET @ self.drive.street_from_lidar(time_s)

    def world_from_ego(self, time_s: float) -> Pose:
        return self.world_from_lidar(time_s) @ EGO_FROM_LIDAR.inverse()

    def world_from_cam(self, time_s: float) -> Pose:
        return self.world_from_lidar(time_s) @ LIDAR_FROM_CAMERA
