"""Two noisy metric point clouds of one scene with a known motion, and pairings of a known quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.match.metric_keypoints import KeypointPairing, MetricKeypoints

CAMERA = Camera.pinhole(540, 720, 590.0, 590.0, 269.5, 359.5)


@dataclass(frozen=True, eq=False)
class CloudPair:
    """Points as measured in both camera frames, weights of the pairs, and the truth."""

    anchor_m: np.ndarray
    query_m: np.ndarray
    weight: np.ndarray
    rotation: Rotation
    translation_m: np.ndarray

    def errors(self, rotation: np.ndarray, translation_m: np.ndarray) -> tuple[float, float]:
        """(degrees, metres)."""
        turn = Rotation.from_matrix(rotation) * self.rotation.inv()
        return float(np.degrees(turn.magnitude())), float(np.linalg.norm(translation_m - self.translation_m))

    def pairing(self) -> KeypointPairing:
        """As keypoints of two photos taken with CAMERA; points outside the photos are kept."""
        return KeypointPairing(_keypoints(self.anchor_m), _keypoints(self.query_m), self.weight)


def cloud_pair(
    seed: int,
    n_points: int = 400,
    outlier_share: float = 0.4,
    depth_noise: float = 0.05,
    depth_m: tuple[float, float] = (1.0, 6.0),
    motion_m: float = 0.8,
) -> CloudPair:
    """Two photos of random points, one normal motion of `motion_m` per axis apart.

    Depths are off by a relative normal error in both; outliers hold their share of the weight, spread at random.
    """
    rng = np.random.default_rng(seed)
    depth = rng.uniform(*depth_m, n_points)
    points = np.c_[rng.uniform(-0.45, 0.45, (n_points, 2)) * depth[:, None], depth]
    rotation = Rotation.from_rotvec(rng.normal(size=3) * 0.3)
    translation_m = rng.normal(size=3) * motion_m
    moved = rotation.apply(points) + translation_m
    anchor_m, query_m = (cloud * np.exp(depth_noise * rng.normal(size=(n_points, 1))) for cloud in (points, moved))
    weight = rng.uniform(0.0, 1.0, (n_points, n_points))
    weight *= outlier_share / weight.sum()
    partner = rng.permutation(n_points)
    weight[np.arange(n_points), partner] += (1.0 - outlier_share) / n_points
    shuffled = np.empty_like(query_m)
    shuffled[partner] = query_m
    return CloudPair(anchor_m, shuffled, weight, rotation, translation_m)


def _keypoints(points_m: np.ndarray) -> MetricKeypoints:
    px = points_m @ CAMERA.intrinsic_matrix.T
    return MetricKeypoints(px[:, :2] / px[:, 2:], points_m[:, 2])
