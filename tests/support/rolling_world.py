"""A street of points seen by cameras that expose one row after the other while they move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import TracedResult, localize
from geocorrect.localize.options import LocalizeOptions
from geocorrect.records import Anchor, AnchorView, CameraMotion, DepthMap, Matches, Query

CAMERA = replace(Camera.from_opencv(1024, 768, [800.0, 800.0, 511.5, 383.5], [-0.1, 0.02, 0.0, 0.0]), focal_sigma=3e-4)
BLANK = np.zeros((768, 1024, 3), np.uint8)
POINTS = 2000
NOISE_PX = 0.3
MISMATCHES = 0.1


def motion(velocity_m_s: tuple[float, float, float], turn_deg_s: float = 0.0, sigma_m_s: float = 0.1) -> CameraMotion:
    """A motion with a turn about the vertical."""
    turn = np.array([0.0, 0.0, np.radians(turn_deg_s)])
    return CameraMotion(np.array(velocity_m_s), turn, sigma_m_s, 0.005)


def exposed(
    camera: Camera, pose: Pose, moving: CameraMotion | None, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, seen) of world points: each from where the camera is when the row of its own pixel is exposed."""
    late_s = np.zeros(len(points))
    for _ in range(12):
        arm = points - pose.translation_m
        if moving is not None:
            arm = arm - late_s[:, None] * moving.velocity_m_s
            arm = Rotation.from_rotvec(-late_s[:, None] * moving.turn_rad_s).apply(arm)
        px, seen = camera.project(pose.rotation.inv().apply(arm))
        if moving is not None:
            late_s = np.nan_to_num(camera.readout_s * (px[:, 1] / (camera.height - 1) - 0.5))
    return px, seen & camera.contains(px)


class RollingWorld:
    """A photo that looks along a street or at its façades, three anchors of a drive beside it, matches and depth."""

    fingerprint = "rolling-world"

    def __init__(
        self,
        seed: int,
        photo: CameraMotion | None,
        readout_s: float,
        drive: CameraMotion | None = None,
        drive_readout_s: float = float("nan"),
        depth: str = "lidar",
    ) -> None:
        rng = np.random.default_rng(seed)
        along = rng.uniform(2, 45, POINTS)
        side = np.where(rng.random(POINTS) < 0.5, -7.0, 9.0) + rng.normal(0, 0.3, POINTS)
        points = np.stack([side, along, rng.uniform(0, 9, POINTS)], axis=1)
        self.camera = replace(CAMERA, readout_s=readout_s)
        self.truth = Pose(rotation_from_heading(rng.normal(0, 8) + 25.0), np.array([rng.uniform(-3, 3), 1.0, 1.6]))
        self.photo, self.drive = photo, drive
        anchor_camera = replace(CAMERA, readout_s=drive_readout_s)
        query_px, query_seen = exposed(self.camera, self.truth, photo, points)
        self.matches, self.depths, self.anchors = [], [], []
        for number, north_m in enumerate((-3.0, 0.0, 3.0)):
            pose = Pose(rotation_from_heading(rng.normal(20, 2)), np.array([0.5, north_m, 1.9]))
            anchor_px, seen = exposed(anchor_camera, pose, drive, points)
            both = query_seen & seen
            late_s = np.zeros(len(points))
            if drive is not None and depth != "lidar":  # depth of the picture itself: from where each row was exposed
                late_s = drive_readout_s * (anchor_px[:, 1] / 767 - 0.5)
            z_m = depth_of(pose, drive, points, late_s)
            at_px = exposed(anchor_camera, pose, None, points)[0] if depth == "lidar" else anchor_px
            self.depths.append(DepthMap(depth, depth == "lidar", samples_px=at_px[both], samples_z_m=z_m[both]))
            found = query_px[both] + rng.normal(0, NOISE_PX, (both.sum(), 2))
            wrong = rng.random(len(found)) < MISMATCHES
            found[wrong] = rng.uniform(0, 760, (wrong.sum(), 2))
            self.matches.append(Matches(found, anchor_px[both], np.ones(len(found))))
            self.anchors.append(Anchor(str(number), "test", "none", anchor_camera, pose, "exact", motion=drive))

    def match(self, query: np.ndarray, anchors: list[np.ndarray]) -> list[Matches]:
        return self.matches[: len(anchors)]

    def depth(self, anchor: Anchor, image: np.ndarray) -> DepthMap:
        return self.depths[int(anchor.id)]

    def localize(self, camera: Camera, moving: CameraMotion | None, drive: CameraMotion | None = None) -> TracedResult:
        """The photo with what is stated of its camera and motion, and of the anchors' motion."""
        views = [AnchorView(replace(anchor, motion=drive), BLANK) for anchor in self.anchors]
        query = Query("q", BLANK, camera, self.truth.translation_m + np.array([4.0, -3.0, np.nan]), motion=moving)
        return localize(query, views, self, self, LocalizeOptions(), seed=1)


def depth_of(pose: Pose, moving: CameraMotion | None, points: np.ndarray, late_s: np.ndarray) -> np.ndarray:
    """(N,) z-depth of points from where the camera is that much after the middle of its exposure."""
    arm = points - pose.translation_m
    if moving is not None:
        arm = arm - late_s[:, None] * moving.velocity_m_s
        arm = Rotation.from_rotvec(-late_s[:, None] * moving.turn_rad_s).apply(arm)
    return pose.rotation.inv().apply(arm)[:, 2]
