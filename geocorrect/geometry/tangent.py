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


def tangent_to_px(camera: Camera, px: Float, rays: Float) -> Float:
    """(N, 2, 3) linear map from a small offset of the unit rays (N, 3) to pixels, from the camera's own numeric
    derivative at each pixel (N, 2); 0 where there is none.
    """
    half_u, half_v = np.eye(2) / 2
    after_u, before_u, after_v, before_v = unit_rays(
        camera, np.concatenate([px + half_u, px - half_u, px + half_v, px - half_v])
    ).reshape(4, -1, 3)
    along_u, along_v = after_u - before_u, after_v - before_v
    u, v = (step - rays * np.einsum("ni,ni->n", rays, step)[:, None] for step in (along_u, along_v))
    uu, uv, vv = (np.einsum("ni,ni->n", first, second) for first, second in ((u, u), (u, v), (v, v)))
    determinant = uu * vv - uv**2
    usable = np.isfinite(determinant) & (np.abs(determinant) > 1e-30)
    scale = np.divide(1.0, determinant, out=np.zeros_like(determinant), where=usable)[:, None]
    inverse = np.stack([(vv[:, None] * u - uv[:, None] * v) * scale, (uu[:, None] * v - uv[:, None] * u) * scale], 1)
    inverse[~usable] = 0.0
    return inverse
