"""Rotations as vectors and matrices, in stacks: cross-product matrix, exponential and logarithm of SO(3).

One rotation is scipy's `Rotation`; these serve the solvers' inner loops, which take thousands of small turns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


def skew(vectors: ArrayLike) -> Float:
    """(..., 3, 3) cross-product matrices [v]× of vectors (..., 3)."""
    v = np.asarray(vectors, float)
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    cross = np.zeros((*v.shape, 3))
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -z, y, -x
    cross[..., 1, 0], cross[..., 2, 0], cross[..., 2, 1] = z, -y, x
    return cross


def exp(vectors: Float) -> Float:
    """(K, 3, 3) rotation matrices of rotation vectors (K, 3) in radians, by Rodrigues' formula."""
    angle = np.sqrt((vectors**2).sum(axis=1))
    # sin θ/θ and (1 − cos θ)/θ² without dividing by zero: sinc is exact at 0.
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    cross = skew(vectors)
    return np.asarray(np.eye(3) + first[:, None, None] * cross + second[:, None, None] * (cross @ cross))


def log(matrices: Float) -> Float:
    """(K, 3) rotation vectors in radians of rotation matrices (K, 3, 3) that turn by less than 90°."""
    skewed = matrices - matrices.transpose(0, 2, 1)
    axis = 0.5 * skewed[:, [2, 0, 1], [1, 2, 0]]
    sine = np.minimum(np.sqrt((axis**2).sum(axis=1, keepdims=True)), 1.0)
    angle = np.arcsin(sine)
    return np.asarray(axis * np.divide(angle, sine, out=np.ones_like(sine), where=sine > 1e-12))


def nearest_rotation(matrix: Float) -> Float:
    """The rotation R (3, 3) that makes trace(Rᵀ M) largest for a matrix M (3, 3)."""
    left, _, right = np.linalg.svd(matrix)
    rotation: Float = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    return rotation
