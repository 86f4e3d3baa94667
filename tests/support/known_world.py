"""A street of points with known truth, and a matcher and a depth source that see it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.records import Anchor, AnchorView, DepthMap, Matches, Query

CAMERA = replace(Camera.from_opencv(1024, 768, [800.0, 800.0, 511.5, 383.5], [-0.1, 0.02, 0.0, 0.0]), focal_sigma=3e-4)
BLANK = np.zeros((768, 1024, 3), np.uint8)


class KnownWorld:
    """A matcher and a depth source that see the points of a known world; the pixels carry nothing."""

    fingerprint = "known-world"

    def __init__(self, truth: Pose, anchor_poses: list[Pose], seed: int, wrong_share: float = 0.2) -> None:
        rng = np.random.default_rng(seed)
        along = rng.uniform(4, 45, 2500)
        side = np.where(rng.random(2500) < 0.5, -7.0, 9.0) + rng.normal(0, 0.3, 2500)
        self.points = np.stack([side, along, rng.uniform(0, 9, 2500)], axis=1)
        self.truth, self.anchor_poses, self.rng, self.wrong_share = truth, anchor_poses, rng, wrong_share
        self.depths: list[DepthMap] = []
        self.matches = [self._see(pose) for pose in anchor_poses]

    def _see(self, pose: Pose) -> Matches:
        query_px, query_ok = CAMERA.project(self.truth.inverse().apply(self.points))
        in_anchor = pose.inverse().apply(self.points)
        anchor_px, anchor_ok = CAMERA.project(in_anchor)
        both = query_ok & anchor_ok & CAMERA.contains(query_px) & CAMERA.contains(anchor_px)
        query, anchor = query_px[both], anchor_px[both]
        self.depths.append(DepthMap("known", True, samples_px=anchor, samples_z_m=in_anchor[both, 2]))
        wrong = self.rng.random(len(query)) < self.wrong_share
        query = query + self.rng.normal(0, 0.6, query.shape)
        query[wrong] = self.rng.uniform(0, 760, (wrong.sum(), 2))
        return Matches(query, anchor, np.ones(len(query)))

    def match(self, query: np.ndarray, anchors: list[np.ndarray]) -> list[Matches]:
        return self.matches[: len(anchors)]

    def depth(self, anchor: Anchor, image: np.ndarray) -> DepthMap:
        return self.depths[int(anchor.id)]


class OffRayWorld:
    """A known world's depth as dense points of the pair, each multiplied by a matrix: off the rays."""

    fingerprint, declaration = "off-ray", None

    def __init__(self, known: KnownWorld, matrix: np.ndarray, log_sigma: float = 0.01) -> None:
        self.known, self.matrix, self.log_sigma = known, matrix, log_sigma

    def pair_depth(self, anchor: Anchor, image: np.ndarray, query: np.ndarray) -> DepthMap:
        sparse = self.known.depths[int(anchor.id)]
        z_m = np.full(image.shape[:2], np.nan, np.float32)
        points = np.full((*image.shape[:2], 3), np.nan, np.float32)
        rays = anchor.camera.unproject(sparse.samples_px)
        true = rays / rays[:, 2:] * sparse.samples_z_m[:, None]
        for (x, y), point in zip(np.rint(sparse.samples_px).astype(int), true @ self.matrix.T, strict=True):
            around = np.s_[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            z_m[around] = point[2]
            points[around] = point
        return DepthMap("off-ray", False, z_m=z_m, points_m=points, log_sigma=self.log_sigma)

    def depth(self, anchor: Anchor, image: np.ndarray) -> DepthMap:
        raise AssertionError("a pair source is asked with its query")

    def check(self, anchor: Anchor, image: np.ndarray) -> None:
        raise AssertionError("not asked here")


def world(seed: int, wrong_share: float = 0.2, offset_m: float = 0.0) -> tuple[KnownWorld, Query, list[AnchorView]]:
    rng = np.random.default_rng(seed)
    truth = Pose(rotation_from_heading(rng.normal(0, 8)), np.array([rng.uniform(-3, 3), 1.0, 1.6]))
    poses = [Pose(rotation_from_heading(rng.normal(0, 2)), np.array([0.5, y, 1.9])) for y in (-3.0, 0.0, 3.0)]
    known = KnownWorld(truth, poses, seed, wrong_share)
    moved = [Pose(p.rotation, p.translation_m + offset_m) for p in poses]
    views = [AnchorView(Anchor(str(i), "test", "none", CAMERA, p, "exact"), BLANK) for i, p in enumerate(moved)]
    return known, Query("q", BLANK, CAMERA, truth.translation_m + offset_m + [4.0, -3.0, np.nan]), views
