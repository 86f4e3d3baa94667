"""Small ray offsets in pixels: residuals in the plane tangent to the observed ray, the same for every lens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera

Float = NDArray[np.float64]


def unit_rays(camera: Camera, pixels: NDArray[np.floating]) -> Float:
    """(N, 3) unit rays of pixels (N, 2); nan where the lens sees nothing."""
    rays = np.asarray(camera.unproject(np.asarray(pixels, float)), float)
    length = np.linalg.norm(rays, axis=-1, keepdims=True)
    unit: Float = np.divide(rays, length, out=np.full_like(rays, np.nan), where=length > 0)
    return unit


def tangent_to_px(camera: Camera, rays: Float) -> Float:
    """(N, 2, 3) linear map from a small offset of unit rays (N, 3) to pixels: the exact derivative of the projection,
    which maps the ray itself to 0; 0 where there is none.
    """
    jacobian = camera.project_with_jacobian(rays)[2]
    across = jacobian - np.einsum("nij,nj->ni", jacobian, rays)[:, :, None] * rays[:, None]
    across[~np.isfinite(across).all(axis=(1, 2))] = 0.0
    return np.asarray(across)
