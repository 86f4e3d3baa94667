"""Rays in every direction as a rig of six pinholes (the faces of a cube) with one centre.

Solvers that work on the plane z = 1 see only what is ahead of a camera. A panorama looks everywhere: each of its rays
belongs to the face that looks its way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Float = NDArray[np.float64]

CUBE = Rotation.from_euler("yx", [[0, 0], [-90, 0], [180, 0], [90, 0], [0, -90], [0, 90]], degrees=True)
"""face_from_cam of the six faces: ahead, right, behind, left, and the two along the vertical axis."""
NEAR_DIRECTION_COS = np.cos(np.radians(60.0))
"""Rays within 60° of a direction count as near it."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Rays, each in the face of the cube that sees it most directly."""

    index: NDArray[np.intp]
    """(N,) face of each ray, an index of `CUBE`."""
    in_face: Float
    """(N, 3) the rays in the axes of their faces."""

    @classmethod
    def of(cls, rays: Float) -> Faces:
        """The faces of unit rays (N, 3) of the camera frame."""
        turned = np.einsum("fij,nj->fni", CUBE.as_matrix(), rays)
        index = np.argmax(turned[:, :, 2], axis=0)
        return cls(index, turned[index, np.arange(len(rays))])

    def turned(self, vectors: Float) -> Float:
        """(N, 3) other vectors of the camera frame, each in the axes of the same ray's face."""
        return np.asarray(np.einsum("nij,nj->ni", CUBE.as_matrix()[self.index], vectors))


def ahead_from_cam(rays: Float) -> Rotation:
    """The rotation that brings the direction where most of the rays (N, 3) point to the optical axis."""
    known = rays[np.isfinite(rays).all(axis=1)]
    if not len(known):
        return Rotation.identity()
    counts = np.bincount(Faces.of(known).index, minlength=len(CUBE))
    main = CUBE[int(np.argmax(counts))].inv().apply([0.0, 0.0, 1.0])
    near = known[known @ main > NEAR_DIRECTION_COS]
    direction = near.mean(axis=0) if len(near) else main
    turn, _ = Rotation.align_vectors([[0.0, 0.0, 1.0]], [direction / np.linalg.norm(direction)])
    return turn
