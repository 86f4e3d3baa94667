"""Precision, recall and area under the curve of answers that carry a confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision among the answers kept at each confidence threshold, from all answers to none."""

    precision: Float
    """(K + 1,) correct among kept; 1 where nothing is kept."""
    recall: Float
    """(K + 1,) kept among all queries, unanswered ones included; falls to 0."""

    @property
    def area(self) -> float:
        """Sum of precision times the step in recall: what a confidence is worth that ranks well."""
        return float((-np.diff(self.recall) * self.precision[:-1]).sum())


def precision_recall(confidence: ArrayLike, correct: ArrayLike, n_unanswered: int) -> PrecisionRecall:
    """The curve with one point per different confidence, so that ties are kept or dropped together.

    Args:
        confidence: (N,) of the answers.
        correct: (N,) bool, which of them are good.
        n_unanswered: queries without an answer; they count as failures.
    """
    values, good = np.asarray(confidence, float), np.asarray(correct, bool)
    if values.shape != good.shape or values.ndim != 1:
        raise ValueError(f"confidence and correct must be (N,) both, got {values.shape} and {good.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("confidences must be finite and not negative")
    n_queries = len(values) + n_unanswered
    _, index = np.unique(values, return_inverse=True)
    # Number and good ones among answers at each confidence, then at it or above.
    kept = np.bincount(index)[::-1].cumsum()[::-1] if len(values) else np.zeros(0)
    kept_good = np.bincount(index, weights=good)[::-1].cumsum()[::-1] if len(values) else np.zeros(0)
    return PrecisionRecall(np.append(kept_good / np.maximum(kept, 1), 1.0), np.append(kept / max(n_queries, 1), 0.0))


def share_correct(correct: ArrayLike, n_unanswered: int) -> float:
    """Good answers among all queries, unanswered ones included; nan without queries."""
    good = np.asarray(correct, bool)
    n_queries = len(good) + n_unanswered
    return float(good.sum() / n_queries) if n_queries else float("nan")
