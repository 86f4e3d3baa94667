"""The similarity that takes predicted poses to known ones, from their rotations and their centres together.

Unlike a fit of centres alone (`similarity.umeyama`) it needs neither three views nor views off one line: the drive of a
car has neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.geometry.so3 import nearest_rotation

Float = NDArray[np.float64]
ITERATIONS = 30


@dataclass(frozen=True)
class PoseWeights:
    """How well the predicted poses are believed, and what fixes a scale."""

    centre_sigma_m: float = 0.3
    """Expected error of a predicted centre, metres."""
    rotation_sigma_deg: float = 1.0
    """Expected error of a predicted rotation, degrees."""
    min_spread_m: float = 0.5
    """Root mean square distance of the known centres from their mean below which they fix no scale, metres."""


@dataclass(frozen=True, eq=False)
class PoseSimilarityFit:
    """The fitted transform and what is left over."""

    target_from_source: Similarity
    """Takes the predicted frame to the known one."""
    centre_residual_m: Float
    """(K,) distances of the transformed predicted centres from the known ones."""
    rotation_residual_deg: Float
    """(K,) angles between the transformed predicted rotations and the known ones."""
    is_scale_known: bool
    """Whether the centres fixed the scale; it is 1 otherwise."""
    spread_m: float
    """Root mean square distance of the known centres from their mean."""


def fit_pose_similarity(
    target: Sequence[Pose], source: Sequence[Pose], weights: PoseWeights | None = None
) -> PoseSimilarityFit:
    """Least squares over rotations and centres, each in units of its sigma, by turns for rotation and scale.

    target: K ≥ 1 known poses target_from_view; source: the same views, source_from_view. Views whose predicted centres
    coincide, or run against the known ones, fix no scale.
    """
    if len(target) != len(source) or not target:
        raise ValueError(f"expected the same views twice, got {len(target)} and {len(source)}")
    weights = weights or PoseWeights()
    known, predicted = (np.array([pose.translation_m for pose in poses]) for poses in (target, source))
    known_mean, predicted_mean = known.mean(axis=0), predicted.mean(axis=0)
    known_off, predicted_off = known - known_mean, predicted - predicted_mean
    spread_m = float(np.sqrt((known_off**2).sum(axis=1).mean()))
    predicted_square = float((predicted_off**2).sum())
    from_rotations = sum(t.rotation.as_matrix() @ s.rotation.as_matrix().T for t, s in zip(target, source, strict=True))
    from_rotations = from_rotations / (2.0 * np.radians(weights.rotation_sigma_deg) ** 2)
    from_centres = known_off.T @ predicted_off / weights.centre_sigma_m**2

    is_scale_known = len(target) > 1 and spread_m >= weights.min_spread_m and predicted_square > 1e-12
    scale, rotation = 1.0, nearest_rotation(from_rotations)
    for _ in range(ITERATIONS if is_scale_known else 1):
        if is_scale_known:
            fitted = float((rotation * (known_off.T @ predicted_off)).sum()) / predicted_square
            is_scale_known = fitted > 0.0
            scale = fitted if is_scale_known else 1.0
        rotation = nearest_rotation(from_rotations + scale * from_centres)
    found = Similarity(scale, Rotation.from_matrix(rotation), known_mean - scale * rotation @ predicted_mean)
    return PoseSimilarityFit(
        target_from_source=found,
        centre_residual_m=np.linalg.norm(known - found.apply(predicted), axis=1),
        rotation_residual_deg=np.array(
            [
                np.degrees((t.rotation.inv() * found.rotation * s.rotation).magnitude())
                for t, s in zip(target, source, strict=True)
            ]
        ),
        is_scale_known=is_scale_known,
        spread_m=spread_m,
    )
