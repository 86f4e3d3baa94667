"""Where a local trajectory frame lies on the map: a versioned alignment with its covariance.

The covariance is (6, 6) ordered (translation m, rotation rad), or (7, 7) with the logarithm of the scale last;
translation and rotation perturb on the world side, scale acts on the local coordinates:

    p_world = t + δt + exp(δθ) R · s · exp(δσ) · p_local
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float, Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.geometry.so3 import skew
from geocorrect.io.text_file import read_json


@dataclass(frozen=True, eq=False)
class Alignment:
    """world_from_local of a trajectory frame."""

    frame: Frame
    """The world: an ENU frame."""
    world_from_local: Similarity
    covariance: Float | None = None
    """(6, 6) or (7, 7) as in the module docstring, None when unknown."""
    method: str = "known"
    """How it was found: known, gnss, joint, umeyama."""
    id: str = ""
    """Name of this version; made from the content when not given."""
    residual_m: float = float("nan")
    """Median error of the clicks or GNSS fixes."""

    def __post_init__(self) -> None:
        if self.covariance is not None:
            covariance = np.array(self.covariance, float)
            if covariance.shape not in {(6, 6), (7, 7)} or not np.isfinite(covariance).all():
                raise ValueError(f"alignment covariance must be finite 6×6 or 7×7, got {covariance.shape}")
            covariance.setflags(write=False)
            object.__setattr__(self, "covariance", covariance)
        if not self.id:
            object.__setattr__(self, "id", self.method + "-" + self.fingerprint()[:16])

    @classmethod
    def from_pose(cls, frame: Frame, world_from_local: Pose, method: str = "known") -> Alignment:
        """A rigid alignment; the pose's covariance is the alignment's."""
        return cls(frame, Similarity.from_pose(world_from_local), world_from_local.covariance, method)

    def fingerprint(self) -> str:
        """Hex sha256 of everything that moves an anchor: frame origin, transform (to 1e-12), covariance."""
        s, f = self.world_from_local, self.frame
        parts: list[Float] = [np.array([f.lon_deg, f.lat_deg, f.height_m, s.scale]), s.translation_m]
        parts.append(s.rotation.as_matrix().ravel().round(12) + 0.0)
        parts += [] if self.covariance is None else [self.covariance.ravel()]
        return hashlib.sha256(np.concatenate(parts).astype("<f8").tobytes()).hexdigest()

    def position_covariance(self, local_m: Float) -> Float:
        """(..., 3, 3) covariance in the world, m², of points (..., 3) of the local frame.

        It grows with the lever arm: rotation × distance across, scale × distance along.
        """
        if self.covariance is None:
            return np.zeros((*local_m.shape, 3))
        return position_covariance(self.covariance, self.world_from_local, local_m)

    def plan_sigma_m(self, local_m: Float) -> Float:
        """(...) predicted 1-sigma plan error of points (..., 3) of the local frame: the larger axis of the ellipse."""
        plan = self.position_covariance(local_m)[..., :2, :2]
        sigma: Float = np.sqrt(np.linalg.eigvalsh(plan)[..., -1])
        return sigma

    def apply(self, local_from_cam: Pose) -> Pose:
        """world_from_cam with the 6×6 covariance of alignment and trajectory, taken as independent."""
        s = self.world_from_local
        moved = s.apply_pose(local_from_cam)
        if self.covariance is None and local_from_cam.covariance is None:
            return moved
        total = np.zeros((6, 6))
        if local_from_cam.covariance is not None:
            turn = np.zeros((6, 6))
            turn[:3, :3] = s.scale * s.rotation.as_matrix()
            turn[3:, 3:] = s.rotation.as_matrix()
            total += turn @ local_from_cam.covariance @ turn.T
        if self.covariance is not None:
            jacobian = np.eye(6, 7)
            jacobian[:3] = point_jacobian(moved.translation_m - s.translation_m)
            jacobian = jacobian[:, : len(self.covariance)]
            total += jacobian @ self.covariance @ jacobian.T
        return moved.with_covariance(total)

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file that `read_alignment` reads back."""
        s, f = self.world_from_local, self.frame
        return {
            "alignment_id": self.id,
            "method": self.method,
            "scale": s.scale,
            "origin": {"name": f.name, "lon_deg": f.lon_deg, "lat_deg": f.lat_deg, "height_m": f.height_m},
            "world_from_local": Pose(s.rotation, s.translation_m).matrix.tolist(),
            "covariance": None if self.covariance is None else self.covariance.tolist(),
            "residual_m": None if np.isnan(self.residual_m) else self.residual_m,
        }


def position_covariance(covariance: Float, world_from_local: Similarity, local_m: Float) -> Float:
    """(..., 3, 3) covariance in the world of local points (..., 3) under that of an alignment."""
    jacobian = point_jacobian(world_from_local.apply(local_m) - world_from_local.translation_m)
    jacobian = jacobian[..., : len(covariance)]
    result: Float = jacobian @ covariance @ np.swapaxes(jacobian, -1, -2)
    return result


def point_jacobian(arm_m: Float) -> Float:
    """(..., 3, 7) derivative of a point in the world with translation, rotation and log scale of an alignment.

    arm_m: (..., 3) s·R·p of the point, metres, its lever arm from the image of the local origin.
    """
    jacobian = np.zeros((*arm_m.shape, 7))
    jacobian[..., :3] = np.eye(3)
    jacobian[..., 3:6] = -skew(arm_m)
    jacobian[..., 6] = arm_m
    return jacobian


def covariance_at_origin(covariance: Float, arm_m: Float) -> Float:
    """A (7, 7) covariance that was found with the local origin moved to a point p, about the local origin itself.

    arm_m: (3,) a = s·R·p, metres: t = t' − a, so δt = δt' + [a]×δθ − a·δσ.
    """
    jacobian = np.eye(7)
    jacobian[:3] = point_jacobian(-arm_m)
    result: Float = jacobian @ covariance @ jacobian.T
    return result


def read_alignment(path: Path) -> Alignment:
    """Alignment from a JSON file, such as `geocorrect georeference --json` writes.

    Fields: `origin` (name, lon_deg, lat_deg, height_m), `world_from_local` (4×4, rotation and translation in metres),
    and optionally `scale`, `covariance`, `method`, `alignment_id`, `residual_m`. InputError names file and field.
    """
    data = read_json(path, "no such alignment file")
    try:
        origin = data["origin"]
        frame = Frame(str(origin["name"]), origin["lon_deg"], origin["lat_deg"], origin.get("height_m", 0.0))
        pose = Pose.from_matrix(data["world_from_local"])
        similarity = Similarity(float(data.get("scale", 1.0)), pose.rotation, pose.translation_m)
        covariance, residual_m = data.get("covariance"), data.get("residual_m")
        return Alignment(
            frame, similarity, None if covariance is None else np.array(covariance, float),
            str(data.get("method", "known")), str(data.get("alignment_id", "")),
            float("nan") if residual_m is None else float(residual_m),
        )  # fmt: skip
    except KeyError as error:
        raise InputError(f"{path}: field {error} is missing; see `geocorrect anchors add --help`") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
