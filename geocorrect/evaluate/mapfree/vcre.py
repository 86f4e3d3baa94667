"""Virtual Correspondence Reprojection Error: how far augmented content would be off on the screen, in pixels.

A fixed grid of points in front of the true query camera, seen through the true and through the estimated pose
(Map-free benchmark, Arnold et al., ECCV 2022, section 4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.pose import Pose
from geocorrect.geometry.virtual_points import virtual_points_m

Float = NDArray[np.float64]

THRESHOLD_OF_DIAGONAL = 0.1
"""A pose is good for augmented reality below this share of the image's diagonal: 90 px at 540 × 720."""


def vcre_px(estimate: Pose, truth: Pose, intrinsics: Float, size: tuple[int, int]) -> float:
    """Mean distance in pixels of the projected grid under two poses.

    Args:
        estimate: world_from_cam as estimated.
        truth: world_from_cam.
        intrinsics: (3, 3) of the query.
        size: (width, height); projections are held inside [0, width] × [0, height].
    """
    points = virtual_points_m()
    moved = (estimate.inverse() @ truth).apply(points)
    offset = _projected(moved, intrinsics, size) - _projected(points, intrinsics, size)
    return float(np.linalg.norm(offset, axis=1).mean())


def vcre_threshold_px(size: tuple[int, int]) -> float:
    """Pixels below which a pose counts as good at this (width, height)."""
    return THRESHOLD_OF_DIAGONAL * float(np.hypot(*size))


def _projected(points_m: Float, intrinsics: Float, size: tuple[int, int]) -> Float:
    """(N, 2) pixels, clipped to the image. Points behind the camera are projected like any other: the benchmark's
    rule.
    """
    homogeneous = points_m @ intrinsics.T
    with np.errstate(divide="ignore", invalid="ignore"):
        px = homogeneous[:, :2] / homogeneous[:, 2:]
    clipped: Float = np.clip(np.nan_to_num(px, nan=0.0), 0.0, np.asarray(size, float))
    return clipped
