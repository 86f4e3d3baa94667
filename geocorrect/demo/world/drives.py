"""The two survey drives that make the anchors: a car with a camera and a LiDAR, one drive in each direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records import Float

LIDAR_ABOVE_ROAD_M = 2.08
GROUND_TRUTH_HZ = 20.0
SPEED_M_S = 5.8
"""Mean speed: a careful survey drive."""
SCAN_DELAY_S = 0.0173
"""The scan belonging to an image is stamped this much later: readers must move the pose, not pair by index."""

CAMERA_SIZE = (1024, 516)
CAMERA_INTRINSICS = (933.62, 928.97, 478.81, 257.43)
CAMERA_DISTORTION = (-0.1512, 0.2104, 0.0002, -0.0011)
LIDAR_FROM_CAMERA = Pose.from_matrix(
    [
        [0.005617111, -0.001288119, 0.999983289, 0.070738557],
        [-0.999983302, -0.001328525, 0.005615378, 0.234350894],
        [0.001321215, -0.999998266, -0.001295541, -0.666049142],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""The camera looks ahead, 0.67 m below and 0.23 m left of the LiDAR, as on the VBR car."""


def anchor_camera(scale: float = 1.0) -> Camera:
    """The anchor camera, or the same lens on a raster `scale` times as large."""
    camera = Camera.from_opencv(*CAMERA_SIZE, CAMERA_INTRINSICS, CAMERA_DISTORTION)
    return camera.resized(round(CAMERA_SIZE[0] * scale), round(CAMERA_SIZE[1] * scale))


@dataclass(frozen=True)
class Drive:
    """One pass along the street."""

    name: str
    seed: int
    direction: int
    """+1 along the street's x, −1 back."""
    start_m: float
    """Street x of the first image."""
    spacing_m: float
    """Mean distance between images."""
    n_images: int
    start_s: float
    """Clock at the first ground-truth row; the clock starts near zero as in the real recordings."""

    def image_times_s(self) -> Float:
        """(n_images,) exposure times: nearly regular, never on a ground-truth row."""
        rng = np.random.default_rng([self.seed, 21, self.direction + 1])
        step = self.spacing_m / SPEED_M_S
        jitter = rng.uniform(-0.08, 0.08, self.n_images) * step
        return self.start_s + 1.0 + np.arange(self.n_images) * step + jitter + 0.0137

    def ground_truth_times_s(self) -> Float:
        """(N,) times of the 20 Hz trajectory; it covers every image with a second to spare on both sides."""
        end = self.start_s + 2.0 + self.n_images * self.spacing_m / SPEED_M_S
        return np.arange(self.start_s, end, 1 / GROUND_TRUTH_HZ)

    def street_from_lidar(self, time_s: float) -> Pose:
        """Pose of the LiDAR in street axes: a lane kept by hand, with sway, bumps and slow changes of speed."""
        phase = np.random.default_rng([self.seed, 22, self.direction + 1]).uniform(0, 2 * np.pi, 8)
        t = time_s - self.start_s - 1.0
        along = SPEED_M_S * t + 0.5 * np.sin(0.7 * t + phase[0])
        x = self.start_m + self.direction * along
        y = -self.direction * 1.55 + 0.18 * np.sin(0.5 * t + phase[1]) + 0.05 * np.sin(1.3 * t + phase[2])
        z = LIDAR_ABOVE_ROAD_M + 0.012 * np.sin(5.1 * t + phase[3]) + 0.01 * np.sin(2.3 * t + phase[4])
        yaw = (0.0 if self.direction > 0 else 180.0) + 1.4 * np.sin(0.5 * t + phase[5])
        pitch, roll = 0.5 * np.sin(3.1 * t + phase[6]), 0.6 * np.sin(2.2 * t + phase[7])
        return Pose(Rotation.from_euler("ZYX", [yaw, pitch, roll], degrees=True), np.array([x, y, z]))


def two_drives(seed: int, length_m: float, n_images: int) -> tuple[Drive, Drive]:
    """One drive in each direction, together covering the street."""
    margin = 0.06 * length_m
    spacing = (length_m - 2 * margin) / max(n_images - 1, 1)
    there = Drive("street_train0", seed, +1, margin, spacing, n_images, 1237.602)
    back = Drive("street_train1", seed, -1, length_m - margin, spacing, n_images, 86391.418)
    return there, back
