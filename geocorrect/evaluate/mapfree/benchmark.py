"""The Map-free evaluation of a submission against known poses, as the leaderboard computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geocorrect.errors import InputError
from geocorrect.evaluate.mapfree.scene_files import MapfreeScene
from geocorrect.evaluate.mapfree.scores import precision_recall, share_correct, vcre_px, vcre_threshold_px
from geocorrect.evaluate.mapfree.submission import Estimate, Submission
from geocorrect.geometry.pose import Pose, rotation_angle_deg

QUERY_STEP = 5
"""The single-frame track judges every fifth query, in file order."""


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
