"""Rigid poses (SE3) with covariance transport.

`a_from_b` maps points of frame b into frame a; in a composition neighbours must agree:
`world_from_cam = world_from_base @ base_from_cam`.

Covariances are 6×6, ordered (translation m, rotation rad), for the perturbation on the world (left) side

    R' = Exp(δθ) · R,      t' = t + δt

so the translation block is the position covariance in the axes of frame a, whatever the lever arm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.so3 import skew

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform a_from_b: `p_a = R p_b + t`."""

    rotation: Rotation
    """R, one scipy rotation."""
    translation_m: Float
    """(3,) t in the axes of frame a; of a `world_from_cam` the camera centre."""
    covariance: Float | None = None
    """(6, 6) as in the module docstring; None when unknown."""

    def __post_init__(self) -> None:
        translation = np.array(self.translation_m, dtype=np.float64)
        if translation.shape != (3,) or not np.isfinite(translation).all():
            raise ValueError(f"translation must be 3 finite numbers, got {self.translation_m!r}")
        if not np.isfinite(self.rotation.as_quat()).all() or not self.rotation.single:
            raise ValueError("rotation must be one finite rotation")
        translation.setflags(write=False)
        object.__setattr__(self, "translation_m", translation)
        if self.covariance is not None:
            object.__setattr__(self, "covariance", _checked_covariance(self.covariance))

    @classmethod
    def identity(cls) -> Pose:
        """The transform that changes nothing."""
        return cls(Rotation.identity(), np.zeros(3))

    @classmethod
    def from_matrix(cls, matrix: ArrayLike, tolerance: float = 1e-4) -> Pose:
        """From a (4, 4) or (3, 4) matrix; the rotation is re-orthonormalised if off by less than `tolerance`."""
        m = np.asarray(matrix, float)
        if m.shape not in {(4, 4), (3, 4)} or not np.isfinite(m).all():
            raise ValueError(f"expected a finite 4×4 or 3×4 matrix, got shape {m.shape}")
        if m.shape == (4, 4) and not np.allclose(m[3], [0, 0, 0, 1]):
            raise ValueError(f"last row of a rigid transform must be 0 0 0 1, got {m[3]}")
        r = m[:3, :3]
        if np.abs(r @ r.T - np.eye(3)).max() > tolerance or np.linalg.det(r) < 0:
            raise ValueError("the 3×3 block is not a rotation (not orthonormal, or mirrored)")
        return cls(Rotation.from_matrix(r), m[:3, 3])

    @classmethod
    def from_quaternion(cls, quaternion_xyzw: ArrayLike, translation_m: ArrayLike) -> Pose:
        """From a unit quaternion (x, y, z, w), normalised here, and a translation."""
        q = np.asarray(quaternion_xyzw, float)
        if q.shape != (4,) or not np.isfinite(q).all() or not 0.99 < np.linalg.norm(q) < 1.01:
            raise ValueError(f"expected a unit quaternion x y z w, got {q}")
        return cls(Rotation.from_quat(q), np.asarray(translation_m, float))

    @property
    def matrix(self) -> Float:
        """(4, 4) homogeneous matrix."""
        m = np.eye(4)
        m[:3, :3] = self.rotation.as_matrix()
        m[:3, 3] = self.translation_m
        return m

    @property
    def quaternion_xyzw(self) -> Float:
        """(4,) unit quaternion with w ≥ 0, so that equal rotations have equal numbers."""
        q: Float = self.rotation.as_quat(canonical=True)
        return q

    def apply(self, points_m: ArrayLike) -> Float:
        """Map points (..., 3) from frame b to frame a."""
        p = np.asarray(points_m, float)
        # Not a matrix product: BLAS rounds a single point differently from the same point among others, and a photo's
        # result must not depend on how many are stored with it.
        x, y, z = (p[..., axis, None] for axis in range(3))
        r = self.rotation.as_matrix()
        result: Float = x * r[:, 0] + y * r[:, 1] + z * r[:, 2] + self.translation_m
        return result

    def inverse(self) -> Pose:
        """b_from_a, covariance carried along."""
        r_inv = self.rotation.inv()
        r = r_inv.as_matrix()
        covariance = None
        if self.covariance is not None:
            jacobian = np.zeros((6, 6))
            jacobian[:3, :3] = -r
            jacobian[:3, 3:] = -r @ skew(self.translation_m)
            jacobian[3:, 3:] = -r
            covariance = jacobian @ self.covariance @ jacobian.T
        return Pose(r_inv, -(r @ self.translation_m), covariance)

    def __matmul__(self, other: Pose) -> Pose:
        """a_from_c = a_from_b @ b_from_c; covariances of the two are taken as independent."""
        r = self.rotation.as_matrix()
        moved = r @ other.translation_m
        covariance = None
        if self.covariance is not None or other.covariance is not None:
            covariance = np.zeros((6, 6))
            if self.covariance is not None:
                left = np.eye(6)
                left[:3, 3:] = -skew(moved)
                covariance += left @ self.covariance @ left.T
            if other.covariance is not None:
                right = np.zeros((6, 6))
                right[:3, :3] = right[3:, 3:] = r
                covariance += right @ other.covariance @ right.T
        return Pose(self.rotation * other.rotation, moved + self.translation_m, covariance)

    def perturbed(self, tangent: ArrayLike) -> Pose:
        """Add a (6,) perturbation (δt m, δθ rad) on the world side."""
        d = np.asarray(tangent, float)
        return Pose(Rotation.from_rotvec(d[3:]) * self.rotation, self.translation_m + d[:3], self.covariance)

    def minus(self, other: Pose) -> Float:
        """The (6,) perturbation that turns `other` into this pose."""
        rotation = (self.rotation * other.rotation.inv()).as_rotvec()
        return np.concatenate([self.translation_m - other.translation_m, rotation])

    def with_covariance(self, covariance: ArrayLike | None) -> Pose:
        """The same pose with another (6, 6) covariance."""
        return Pose(self.rotation, self.translation_m, None if covariance is None else np.asarray(covariance, float))


def _checked_covariance(covariance: Float) -> Float:
    c = np.array(covariance, dtype=np.float64)
    if c.shape != (6, 6) or not np.isfinite(c).all():
        raise ValueError(f"pose covariance must be a finite 6×6 matrix, got shape {c.shape}")
    c = 0.5 * (c + c.T)
    if np.linalg.eigvalsh(c)[0] < -1e-9 * float(np.abs(c).max()):
        raise ValueError("pose covariance is not positive semi-definite")
    c.setflags(write=False)
    return c


def rotation_angle_deg(first: Rotation, second: Rotation) -> float:
    """Angle between two rotations in degrees, 0…180."""
    return float(np.degrees((first * second.inv()).magnitude()))


def interpolate(first: Pose, second: Pose, fraction: float) -> Pose:
    """Pose between two poses: linear in translation, geodesic in rotation; fraction in [0, 1]."""
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction {fraction} is outside [0, 1]: this would extrapolate")
    step = (second.rotation * first.rotation.inv()).as_rotvec()
    translation = (1 - fraction) * first.translation_m + fraction * second.translation_m
    return Pose(Rotation.from_rotvec(fraction * step) * first.rotation, translation)
