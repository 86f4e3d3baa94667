"""Which quad each pixel sees: a z-buffer over linear forms, one bounding box per quad."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.rays import RayGrid
from geocorrect.demo.render.surfaces import Float, Scene
from geocorrect.geometry.pose import Pose

Int32 = NDArray[np.int32]
Floating = NDArray[np.floating]
NEAR_M = 0.05
SKY = -1
SEAM = 1e-4
"""Quads reach this fraction over their edges, so that rounding opens no gap between neighbours."""


def visible_quads(scene: Scene, forms: Float, rays: RayGrid, world_from_cam: Pose) -> Int32:
    """(H, W) index of the nearest quad along each pixel's ray, SKY where none is; forms from `Scene.ray_forms`."""
    nearest = np.zeros(rays.x.shape, np.float32)
    index = np.full(rays.x.shape, SKY, np.int32)
    candidates, boxes = _bounding_boxes(scene.corners_in(world_from_cam), forms, rays)
    for quad, (left, right, top, bottom) in zip(candidates, boxes, strict=True):
        window = slice(top, bottom), slice(left, right)
        u, v, inverse_depth = _evaluate(forms[quad], rays.x[window], rays.y[window])
        hit = inside(u, v, inverse_depth, float(scene.cut[quad])) & (inverse_depth > nearest[window])
        np.copyto(nearest[window], inverse_depth, where=hit)
        np.copyto(index[window], np.int32(quad), where=hit)
    return index


def inside(u: Floating, v: Floating, inverse_depth: Floating, cut: Floating | float) -> NDArray[np.bool_]:
    """Whether forms of `Scene.ray_forms` (u, v not yet divided by the last) hit the quad in front of the sensor.

    cut: 1 where only the triangle u + v ≤ 1 counts, else 0 (see `Scene`).
    """
    margin = SEAM * inverse_depth
    low, high = np.minimum(u, v), np.maximum(u, v)
    hit: NDArray[np.bool_] = (inverse_depth > 0) & (low >= -margin) & (high + cut * low <= inverse_depth + margin)
    return hit


def _evaluate(form: Float, x: NDArray[np.float32], y: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    coefficients = form.astype(np.float32)
    return [row[0] * x + row[1] * y + row[2] for row in coefficients]


def _bounding_boxes(corners_cam: Float, forms: Float, rays: RayGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Quads that may be seen, and the pixel box of each (left, right, top, bottom; ends exclusive)."""
    facing = forms.any(axis=(1, 2)) & (corners_cam[..., 2].max(axis=1) > NEAR_M)
    quads = np.nonzero(facing)[0]
    ranges = np.array([_normalised_range(corners) for corners in corners_cam[quads]]).reshape(-1, 4)
    columns = _overlap(rays.column_range, ranges[:, 0], ranges[:, 1])
    rows = _overlap(rays.row_range, ranges[:, 2], ranges[:, 3])
    seen = (columns[:, 1] > columns[:, 0]) & (rows[:, 1] > rows[:, 0])
    return quads[seen], np.concatenate([columns, rows], axis=1)[seen]


def _normalised_range(corners: Float) -> tuple[float, float, float, float]:
    """Smallest and largest x/z and y/z of a quad, cut off at NEAR_M."""
    if corners[:, 2].min() < NEAR_M:
        corners = _cut_at_near(corners)
    x, y = corners[:, 0] / corners[:, 2], corners[:, 1] / corners[:, 2]
    return float(x.min()), float(x.max()), float(y.min()), float(y.max())


def _cut_at_near(corners: Float) -> Float:
    """The part of a polygon in front of the near plane (Sutherland–Hodgman)."""
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
    first = meets.argmax(axis=1)
    last = meets.shape[1] - meets[:, ::-1].argmax(axis=1)
    result = np.stack([first, last], axis=1)
    result[~meets.any(axis=1)] = 0
    return result
