"""Which quad each pixel sees: a z-buffer over linear forms, one bounding box per quad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.surfaces import Scene
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records import Float, Float32

Int32 = NDArray[np.int32]
Floating = NDArray[np.floating]
NEAR_M = 0.05
SKY = -1
SEAM = 1e-4
"""Quads reach this fraction over their edges, so that rounding opens no gap between neighbours."""


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


def visible_quads(scene: Scene, forms: Float, grid: RayGrid, world_from_cam: Pose) -> Int32:
    """(H, W) index of the nearest quad along each pixel's ray, SKY where none is; forms from `Scene.ray_forms`."""
    nearest = np.zeros(grid.rays.shape[:2], np.float32)
    index = np.full(nearest.shape, SKY, np.int32)
    x, y = np.ascontiguousarray(np.moveaxis(grid.rays, -1, 0))
    corners = scene.corners_in(world_from_cam)
    candidates, boxes = _bounding_boxes(corners, forms, grid)
    closest = 1 / np.maximum(corners[candidates, :, 2].min(axis=1), NEAR_M)
    for each in np.argsort(-closest, kind="stable"):  # from near to far, so that most of what is hidden costs nothing
        quad, (left, right, top, bottom) = candidates[each], boxes[each]
        window = slice(top, bottom), slice(left, right)
        if nearest[window].min() > closest[each]:
            continue
        u, v, inverse_depth = (m[0] * x[window] + (m[1] * y[window] + m[2]) for m in forms[quad].astype(np.float32))
        hit = inside(u, v, inverse_depth, float(scene.cut[quad])) & (inverse_depth > nearest[window])
        np.copyto(nearest[window], inverse_depth, where=hit)
        np.copyto(index[window], np.int32(quad), where=hit)
    return index


def along_rays(forms: Float | Float32, rays: Float32) -> list[Float32]:
    """u, v, inverse depth (see `Scene.ray_forms`) along rays (..., 2); forms (..., 3, 3): one for all or one each."""
    m = forms.astype(np.float32)
    return [m[..., k, 0] * rays[..., 0] + m[..., k, 1] * rays[..., 1] + m[..., k, 2] for k in range(3)]


def inside(u: Floating, v: Floating, inverse_depth: Floating, cut: Floating | float) -> NDArray[np.bool_]:
    """Whether forms of `Scene.ray_forms` (u, v not yet divided by the last) hit the quad in front of the sensor.

    cut: 1 where only the triangle u + v ≤ 1 counts, else 0 (see `Scene`).
    """
    margin = SEAM * inverse_depth
    low, high = np.minimum(u, v), np.maximum(u, v)
    hit: NDArray[np.bool_] = (inverse_depth > 0) & (low >= -margin) & (high + cut * low <= inverse_depth + margin)
    return hit


def _bounding_boxes(corners_cam: Float, forms: Float, grid: RayGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Quads that may be seen, and the pixel box of each (left, right, top, bottom; ends exclusive)."""
    quads = np.flatnonzero(forms.any(axis=(1, 2)) & (corners_cam[..., 2].max(axis=1) > NEAR_M))
    slopes = [corners[:, :2] / corners[:, 2:] for corners in map(_cut_at_near, corners_cam[quads])]
    low, high = (np.array([f(slope, axis=0) for slope in slopes]).reshape(-1, 2) for f in (np.min, np.max))
    columns = _overlap(grid.column_range, low[:, 0], high[:, 0])
    rows = _overlap(grid.row_range, low[:, 1], high[:, 1])
    seen = (columns[:, 1] > columns[:, 0]) & (rows[:, 1] > rows[:, 0])
    return quads[seen], np.concatenate([columns, rows], axis=1)[seen]


def _cut_at_near(corners: Float) -> Float:
    """The part of a polygon in front of the near plane (Sutherland–Hodgman)."""
    if corners[:, 2].min() >= NEAR_M:
        return corners
    kept = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if start[2] >= NEAR_M:
            kept.append(start)
        if (start[2] >= NEAR_M) != (end[2] >= NEAR_M):
            kept.append(start + (NEAR_M - start[2]) / (end[2] - start[2]) * (end - start))
    return np.array(kept)


def _overlap(pixel_range: Float, low: Float, high: Float) -> NDArray[np.int64]:
    """(Q, 2) first and last + 1 pixel line whose range of ray slopes meets each interval; (0, 0) when none does."""
    meets = (pixel_range[1] >= low[:, None]) & (pixel_range[0] <= high[:, None])
    last = meets.shape[1] - meets[:, ::-1].argmax(axis=1)
    return np.where(meets.any(axis=1)[:, None], np.stack([meets.argmax(axis=1), last], axis=1), 0)
