"""Rigid motions between point clouds: the closed form of Kabsch (1976), many at once, and how well they fit.

Clouds are (…, N, 3); a motion is R (…, 3, 3) and t (…, 3) with `target = R source + t`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

INLIER_STEEPNESS = 5.0
"""Slope of the soft count: at zero distance a point counts sigmoid(5)."""

DISTANCE_FLOOR = 1e-6
"""Added to squared distances in m²."""


def rigid_alignment(source: Float, target: Float, weight: Float | None = None) -> tuple[Float, Float]:
    """The motion that maps `source` onto `target` with the least sum of weighted squared distances.

    Args:
        source: (…, N, 3) metres.
        target: (…, N, 3) metres.
        weight: (…, N), not negative; None: all one.

    Returns:
        R (…, 3, 3), always a proper rotation, and t (…, 3). Clouds on a line or without weight give some rotation.
    """
    if weight is None:
        weight = np.ones(source.shape[:-1])
    share = weight / np.maximum(weight.sum(axis=-1, keepdims=True), 1e-300)
    mean_source = np.einsum("...n,...ni->...i", share, source)
    mean_target = np.einsum("...n,...ni->...i", share, target)
    from_source, from_target = source - mean_source[..., None, :], target - mean_target[..., None, :]
    cross = np.einsum("...n,...ni,...nj->...ij", share, from_source, from_target)
    left, _, right = np.linalg.svd(cross)
    left_t, right_t = np.swapaxes(left, -1, -2), np.swapaxes(right, -1, -2)
    # A mirror image may fit better than every rotation: then the weakest axis is turned over.
    right_t = right_t.copy()
    right_t[..., 2] *= np.sign(np.linalg.det(left @ right))[..., None]
    rotation = right_t @ left_t
    return rotation, mean_target - np.einsum("...ij,...j->...i", rotation, mean_source)


def distances_m(rotation: Float, translation_m: Float, source: Float, target: Float) -> Float:
    """(…, N) distances of the moved source points (N, 3) from the target points (N, 3), for motions (…).

    |R x + t − y|² multiplied out, with |R x| = |x|: one matrix product for all motions and points together. R must be
    a rotation to double precision.
    """
    by_rotation = np.concatenate([rotation.reshape(*rotation.shape[:-2], 9), translation_m], axis=-1)
    turned_back = np.einsum("...ji,...j->...i", rotation, translation_m)
    motion = np.concatenate([by_rotation, turned_back], axis=-1)
    products = (target[:, :, None] * source[:, None, :]).reshape(len(source), 9)
    points = np.concatenate([-2.0 * products, -2.0 * target, 2.0 * source], axis=1)
    constant = np.square(translation_m).sum(axis=-1)[..., None] + np.square(source).sum(1) + np.square(target).sum(1)
    squared = motion @ points.T + constant
    distance: Float = np.sqrt(np.maximum(squared, 0.0) + DISTANCE_FLOOR)
    return distance


def soft_count(distance_m: Float, threshold_m: float) -> Float:
    """(…,) sum over points of sigmoid(5 (1 − distance / threshold)): an inlier count that knows how close they are."""
    slope = np.clip(INLIER_STEEPNESS / threshold_m * (distance_m - threshold_m), None, 500.0)
    count: Float = (1.0 / (1.0 + np.exp(slope))).sum(axis=-1)
    return count
