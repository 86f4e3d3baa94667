"""The viewing ray of every pixel of a camera, computed once per camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RayGrid:
    """Rays (x, y, 1) in camera axes, one per pixel centre; distortion is exact, as they come from `Camera.unproject`.

    x, y: (H, W) float32. step_x, step_y: (H, W) float32 change of x to the next column and of y to the next row.
    column_range: (2, W) smallest and largest x of each column; row_range: (2, H) of y in each row.
    """

    camera: Camera
    x: Float32
    y: Float32
    step_x: Float32
    step_y: Float32
    column_range: Float
    row_range: Float

    @classmethod
    def of(cls, camera: Camera) -> RayGrid:
        """Rays of a camera whose whole raster sees forward (z > 0)."""
        rows, columns = np.mgrid[0 : camera.height, 0 : camera.width]
        rays = forward_rays(camera, np.stack([columns.ravel(), rows.ravel()], axis=1))
        x, y = rays.reshape(camera.height, camera.width, 2).transpose(2, 0, 1)
        return cls(
            camera,
            x.astype(np.float32),
            y.astype(np.float32),
            np.abs(np.gradient(x, axis=1)).astype(np.float32),
            np.abs(np.gradient(y, axis=0)).astype(np.float32),
            np.stack([x.min(axis=0), x.max(axis=0)]),
            np.stack([y.min(axis=1), y.max(axis=1)]),
        )


def forward_rays(camera: Camera, pixels: NDArray[np.float64] | NDArray[np.int64]) -> Float:
    """(N, 2) x/z, y/z of the rays through (N, 2) pixels; ValueError where the camera does not see forward."""
    bearings = camera.unproject(np.asarray(pixels, float))
    if not np.isfinite(bearings).all() or bearings[:, 2].min() <= 1e-3:
        raise ValueError("the renderer needs cameras that see forward over their whole raster")
    result: Float = bearings[:, :2] / bearings[:, 2:]
    return result
