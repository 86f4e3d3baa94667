"""Similarity transforms (Sim3) and their closed-form fit (Umeyama 1991) with a degeneracy test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.geometry.so3 import nearest_rotation

Float = NDArray[np.float64]
Freedom = Literal["similarity", "rigid", "yaw"]
MIN_SPREAD_RATIO = 1e-3
"""Points whose second largest spread is a smaller share of the largest lie on a line."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """A similarity a_from_b: `p_a = scale · R · p_b + t`."""

    scale: float
    """Length in frame a of a unit of frame b, above 0."""
    rotation: Rotation
    """R, one scipy rotation."""
    translation_m: Float
    """(3,) t in the axes of frame a."""

    def __post_init__(self) -> None:
        translation = np.array(self.translation_m, dtype=np.float64)
        if translation.shape != (3,) or not np.isfinite(translation).all():
            raise ValueError(f"translation must be 3 finite numbers, got {self.translation_m!r}")
        if not np.isfinite(self.scale) or self.scale <= 0:
            raise ValueError(f"scale must be a positive number, got {self.scale}")
        translation.setflags(write=False)
        object.__setattr__(self, "translation_m", translation)

    @classmethod
    def identity(cls) -> Similarity:
        """The transform that changes nothing."""
        return cls(1.0, Rotation.identity(), np.zeros(3))

    @classmethod
    def from_pose(cls, pose: Pose) -> Similarity:
        """A rigid transform as a similarity of scale 1."""
        return cls(1.0, pose.rotation, pose.translation_m)

    def apply(self, points_m: ArrayLike) -> Float:
        """Map points (..., 3) from frame b to frame a."""
        p = np.asarray(points_m, float)
        result: Float = self.scale * (p @ self.rotation.as_matrix().T) + self.translation_m
        return result

    def apply_pose(self, b_from_c: Pose) -> Pose:
        """a_from_c of a pose b_from_c; lengths inside frame c stay as they are (metric camera)."""
        return Pose(self.rotation * b_from_c.rotation, self.apply(b_from_c.translation_m))

    def inverse(self) -> Similarity:
        """b_from_a."""
        r_inv = self.rotation.inv()
        return Similarity(1 / self.scale, r_inv, -(r_inv.as_matrix() @ self.translation_m) / self.scale)

    def __matmul__(self, other: Similarity) -> Similarity:
        """a_from_c = a_from_b @ b_from_c."""
        return Similarity(self.scale * other.scale, self.rotation * other.rotation, self.apply(other.translation_m))


class DegenerateError(ValueError):
    """The points do not determine the transform asked for (too few, coincident, or on one line)."""


def umeyama(
    target_m: ArrayLike, source_m: ArrayLike, freedom: Freedom = "similarity", weights: ArrayLike | None = None
) -> Similarity:
    """Least-squares `target ≈ s R source + t` (Umeyama 1991, eq. 38–43), origin removed first.

    Args:
        target_m: (N, 3) points.
        source_m: (N, 3) the same points in the other frame.
        freedom: `rigid` fixes s = 1; `yaw` also allows only a rotation about z, which a straight drive still fixes.
        weights: (N,) ≥ 0; all equal by default.

    Raises:
        DegenerateError: the points do not fix the transform (for `yaw`: all coincide in plan; else: either cloud is as
            good as a line).
    """
    target, source = np.asarray(target_m, float), np.asarray(source_m, float)
    if target.shape != source.shape or target.ndim != 2 or target.shape[1] != 3:
        raise ValueError(f"expected two (N, 3) arrays, got {target.shape} and {source.shape}")
    if not (np.isfinite(target).all() and np.isfinite(source).all()):
        raise ValueError("points must be finite")
    w = _normalised_weights(weights, len(source))
    target_mean, source_mean = w @ target, w @ source
    t, s = target - target_mean, source - source_mean
    _refuse_degenerate(s, w, freedom)
    _refuse_degenerate(t, w, freedom)
    cross = (t * w[:, None]).T @ s
    if freedom == "yaw":
        rotation = Rotation.from_rotvec([0, 0, np.arctan2(cross[1, 0] - cross[0, 1], cross[0, 0] + cross[1, 1])])
    else:
        rotation = Rotation.from_matrix(nearest_rotation(cross))
    scale = 1.0
    if freedom == "similarity":
        scale = float(np.sum(rotation.as_matrix() * cross) / np.sum(w[:, None] * s**2))
    return Similarity(scale, rotation, target_mean - scale * rotation.apply(source_mean))


def _normalised_weights(weights: ArrayLike | None, count: int) -> Float:
    w = np.ones(count) if weights is None else np.asarray(weights, float)
    if w.shape != (count,) or not np.isfinite(w).all() or (w < 0).any():
        raise ValueError(f"weights must be {count} finite numbers ≥ 0")
    if not w.any():
        raise DegenerateError(f"{count} points with any weight; nothing to fit")
    normalised: Float = w / w.sum()
    return normalised


def _refuse_degenerate(centred: Float, weights: Float, freedom: Freedom) -> None:
    if freedom == "yaw":
        if len(centred) < 2 or float(np.sum(weights[:, None] * centred[:, :2] ** 2)) < 1e-12:
            raise DegenerateError("a turn about the vertical needs two points apart in plan")
        return
    if len(centred) < 3:
        raise DegenerateError(f"{len(centred)} points; a {freedom} transform needs at least 3")
    spread = np.linalg.svd(centred * np.sqrt(weights)[:, None], compute_uv=False)
    if spread[0] < 1e-9 or spread[1] < MIN_SPREAD_RATIO * spread[0]:
        raise DegenerateError(
            f"points lie on one line (spreads {spread[0]:.3g} m and {spread[1]:.3g} m): "
            "the turn about that line is free; add a point off the line or use yaw only"
        )


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
