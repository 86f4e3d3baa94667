"""The Map-free evaluation of a submission against known poses, as the leaderboard computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocorrect.errors import InputError
from geocorrect.evaluate.mapfree.scene_files import MapfreeScene
from geocorrect.evaluate.mapfree.submission import Estimate, Submission
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.geometry.virtual_points import virtual_points_m

QUERY_STEP = 5
"""The single-frame track judges every fifth query, in file order."""


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


@dataclass(frozen=True)
class MapfreeRules:
    """Thresholds, and what the official evaluation does in odd cases. The defaults give its numbers."""

    query_step: int = QUERY_STEP
    """Every n-th query is judged."""
    max_position_m: float = 0.25
    """Of a good pose."""
    max_rotation_deg: float = 5.0
    """Of a good pose."""
    missing_scene_counts_every_frame: bool = True
    """A scene without a file adds all its frames to the failures, not every fifth as a scene with one does."""
    size_of_last_line: bool = True
    """Projections of a scene are clipped to the size in the last line of its intrinsics, not to each frame's own."""


@dataclass(frozen=True)
class FrameError:
    """Errors of one answer."""

    scene: str
    """Name of the scene."""
    frame: str
    """Name of the query."""
    position_m: float
    """Distance of the camera centres."""
    rotation_deg: float
    """Angle between the rotations."""
    vcre_px: float
    """Mean distance of virtual points on the screen."""
    vcre_limit_px: float
    """Below it the pose is good enough for augmented reality."""
    confidence: float
    """As answered."""

    def good_pose(self, rules: MapfreeRules) -> bool:
        """Whether position and rotation are both within the limits."""
        return self.position_m < rules.max_position_m and self.rotation_deg < rules.max_rotation_deg

    @property
    def good_vcre(self) -> bool:
        """Whether content would be off by less than a tenth of the image's diagonal."""
        return self.vcre_px < self.vcre_limit_px


def frame_error(scene: MapfreeScene, frame: str, estimate: Estimate, truth: Pose, rules: MapfreeRules) -> FrameError:
    """Errors of one answer of a scene."""
    camera = scene.camera(frame)
    size = scene.last_size if rules.size_of_last_line else (camera.width, camera.height)
    return FrameError(
        scene=scene.name,
        frame=frame,
        position_m=float(np.linalg.norm(estimate.world_from_cam.translation_m - truth.translation_m)),
        rotation_deg=rotation_angle_deg(estimate.world_from_cam.rotation, truth.rotation),
        vcre_px=vcre_px(estimate.world_from_cam, truth, camera.intrinsic_matrix, size),
        vcre_limit_px=vcre_threshold_px(size),
        confidence=estimate.confidence,
    )


def score_submission(
    scenes: Sequence[MapfreeScene], submission: Submission, rules: MapfreeRules | None = None
) -> dict[str, Any]:
    """The leaderboard's figures, each with its sample size.

    Raises InputError when a scene's poses are withheld.
    """
    rules = rules or MapfreeRules()
    errors: list[FrameError] = []
    n_unanswered = 0
    for scene in scenes:
        answers = submission.get(scene.name)
        step = 1 if not answers and rules.missing_scene_counts_every_frame else rules.query_step
        judged = scene.queries(step)
        found = _scene_errors(scene, answers or {}, judged, rules)
        errors += found
        n_unanswered += len(judged) - len(found)
    return summary(errors, n_unanswered, rules)


def _scene_errors(
    scene: MapfreeScene, answers: Mapping[str, Estimate], judged: Sequence[str], rules: MapfreeRules
) -> list[FrameError]:
    errors = []
    for frame in judged:
        truth = scene.world_from_cam.get(frame)
        if truth is None:
            raise InputError(f"{scene.folder}: no true pose of {frame}; of the test set only the leaderboard has them")
        if frame in answers:
            errors.append(frame_error(scene, frame, answers[frame], truth, rules))
    return errors


def summary(errors: Sequence[FrameError], n_unanswered: int, rules: MapfreeRules) -> dict[str, Any]:
    """Means over scenes of medians, shares over all queries, areas under the precision curves."""
    n_queries = len(errors) + n_unanswered
    confidence = [error.confidence for error in errors]
    good_pose = [error.good_pose(rules) for error in errors]
    good_vcre = [error.good_vcre for error in errors]
    return {
        "n_scenes": len({error.scene for error in errors}),
        "n_queries": n_queries,
        "n_answered": len(errors),
        "answered_share": len(errors) / n_queries if n_queries else float("nan"),
        "position_median_m": _mean_of_medians(errors, "position_m"),
        "rotation_median_deg": _mean_of_medians(errors, "rotation_deg"),
        "vcre_median_px": _mean_of_medians(errors, "vcre_px"),
        "pose_precision": share_correct(good_pose, n_unanswered),
        "pose_auc": precision_recall(confidence, good_pose, n_unanswered).area,
        "vcre_precision": share_correct(good_vcre, n_unanswered),
        "vcre_auc": precision_recall(confidence, good_vcre, n_unanswered).area,
    }


def _mean_of_medians(errors: Sequence[FrameError], field: str) -> float:
    by_scene: dict[str, list[float]] = {}
    for error in errors:
        by_scene.setdefault(error.scene, []).append(float(getattr(error, field)))
    return float(np.mean([np.median(values) for values in by_scene.values()])) if by_scene else float("nan")
