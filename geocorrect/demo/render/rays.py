"""The viewing ray of every pixel of a camera, computed once per camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocorrect.geometry.camera import Camera
from geocorrect.records import Float, Float32


@dataclass(frozen=True, eq=False)
class RayGrid:
    """Rays (x, y, 1) in camera axes, one per pixel centre; exact, as they come from `Camera.unproject`."""

    rays: Float32
    """(H, W, 2) x and y."""
    steps: Float32
    """(H, W, 2) change of x to the next column and of y to the next row."""
    column_range: Float
    """(2, W) smallest and largest x of each column."""
    row_range: Float
    """(2, H) smallest and largest y of each row."""

    @classmethod
    def of(cls, camera: Camera) -> RayGrid:
        """Rays of a camera; ValueError unless its whole raster sees forward (z > 0)."""
        rows, columns = np.mgrid[0 : camera.height, 0 : camera.width].astype(float)
        bearings = camera.unproject(np.stack([columns.ravel(), rows.ravel()], axis=1))
        if not np.isfinite(bearings).all() or bearings[:, 2].min() <= 1e-3:
            raise ValueError("the renderer needs cameras that see forward over their whole raster")
        rays = (bearings[:, :2] / bearings[:, 2:]).reshape(camera.height, camera.width, 2)
        x, y = rays[..., 0], rays[..., 1]
        steps = np.abs(np.stack([np.gradient(x, axis=1), np.gradient(y, axis=0)], axis=-1))
        column_range, row_range = np.stack([x.min(axis=0), x.max(axis=0)]), np.stack([y.min(axis=1), y.max(axis=1)])
        return cls(rays.astype(np.float32), steps.astype(np.float32), column_range, row_range)
