"""Which quad each pixel sees: a z-buffer over linear forms, one bounding box per quad."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from geocorrect.demo.render.surfaces import Scene
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records import Float, Float32

Int32 = NDArray[np.int32]
Floating = NDArray[np.floating]
NEAR_M = 0.05
KNOT_PX = 8
SKY = -1
_ROWS = 64
SEAM = 1e-4
"""Quads reach this fraction over their edges, so that rounding opens no gap between neighbours."""


@dataclass(frozen=True, eq=False)
class RayGrid:
    """Rays (x, y, 1) in camera axes, one per pixel centre, as they come from `Camera.unproject`.

    A bicubic spline through every KNOT_PX-th pixel gives the others, to hundred-thousandths of a pixel (thousandths in
    the corners of a fisheye): a lens bends smoothly.
    """

    rays: Float32
    """(2, H, W) x and y."""
    steps: Float32
    """(2, H, W) change of x to the next column and of y to the next row."""
    column_range: Float
    """(2, W) smallest and largest x of each column."""
    row_range: Float
    """(2, H) smallest and largest y of each row."""

    @classmethod
    def of(cls, camera: Camera) -> RayGrid:
        """Rays of a camera; ValueError unless its whole raster sees forward (z > 0)."""
        places = [_knots(side) for side in (camera.height, camera.width)]
        rows, columns = np.meshgrid(*places, indexing="ij")
        bearings = camera.unproject(np.stack([columns.ravel(), rows.ravel()], axis=1))
        if not np.isfinite(bearings).all() or bearings[:, 2].min() <= 1e-3:
            raise ValueError("the renderer needs cameras that see forward over their whole raster")
        slopes = (bearings[:, :2] / bearings[:, 2:]).reshape(*rows.shape, 2)
        sides = np.arange(camera.height), np.arange(camera.width)
        x, y = (RectBivariateSpline(*places, slopes[..., axis])(*sides) for axis in (0, 1))
        steps = np.abs(np.stack([np.gradient(x, axis=1), np.gradient(y, axis=0)]))
        column_range, row_range = np.stack([x.min(axis=0), x.max(axis=0)]), np.stack([y.min(axis=1), y.max(axis=1)])
        return cls(np.stack([x, y]).astype(np.float32), steps.astype(np.float32), column_range, row_range)


def _knots(side_px: int) -> Float:
    """Places about KNOT_PX apart from the first to the last pixel."""
    return np.linspace(0, side_px - 1, max(math.ceil(side_px / KNOT_PX), 8))


def visible_quads(scene: Scene, forms: Float, grid: RayGrid, world_from_cam: Pose) -> Int32:
    """(H, W) index of the nearest quad along each pixel's ray, SKY where none is; forms from `Scene.ray_forms`."""
    nearest = np.zeros(grid.rays.shape[1:], np.float32)
    index = np.full(nearest.shape, SKY, np.int32)
    x, y = grid.rays
    corners = scene.corners_in(world_from_cam)
    candidates, boxes = _bounding_boxes(corners, forms, grid)
    closest = 1 / np.maximum(corners[candidates, :, 2].min(axis=1), NEAR_M)
    for each in np.argsort(-closest, kind="stable"):  # from near to far, so that most of what is hidden costs nothing
        quad, (left, right, top, bottom) = candidates[each], boxes[each]
        for start in range(top, bottom, _ROWS):  # a few rows at a time stay in the processor's cache
            window = slice(start, min(start + _ROWS, bottom)), slice(left, right)
            before = nearest[window]
            if before.min() > closest[each]:
                continue
            m = forms[quad].astype(np.float32)
            inverse_depth = along(m[2], x[window], y[window])
            hit = inverse_depth > before
            if not hit.any():
                continue
            u, v = (along(m[k], x[window], y[window]) for k in (0, 1))
            hit &= inside(u, v, inverse_depth, float(scene.cut[quad]))
            np.copyto(before, inverse_depth, where=hit)
            np.copyto(index[window], np.int32(quad), where=hit)
    return index


def along(form: Float32, x: Float32, y: Float32) -> Float32:
    """One of the three forms of `Scene.ray_forms` (3,) along rays (x, y, 1)."""
    value: Float32 = form[0] * x
    value += form[1] * y
    value += form[2]
    return value


def inside(u: Floating, v: Floating, inverse_depth: Floating, cut: Floating | float) -> NDArray[np.bool_]:
    """Whether forms of `Scene.ray_forms` (u, v not yet divided by the last) hit the quad in front of the sensor.

    cut: 1 where only the triangle u + v ≤ 1 counts, else 0 (see `Scene`).
    """
    low, high = np.minimum(u, v), np.maximum(u, v)
    if np.any(cut):
        high += cut * low
    margin = SEAM * inverse_depth
    high -= margin
    hit: NDArray[np.bool_] = inverse_depth > 0
    hit &= high <= inverse_depth
    margin += low
    hit &= margin >= 0
    return hit


def _bounding_boxes(corners_cam: Float, forms: Float, grid: RayGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Quads that may be seen, and the pixel box of each (left, right, top, bottom; ends exclusive)."""
    quads = np.flatnonzero(forms.any(axis=(1, 2)) & (corners_cam[..., 2].max(axis=1) > NEAR_M))
    corners = corners_cam[quads]
    with np.errstate(divide="ignore", invalid="ignore"):  # those that are cut follow
        slopes = corners[..., :2] / corners[..., 2:]
    low, high = slopes.min(axis=1), slopes.max(axis=1)
    for k in np.flatnonzero(corners[..., 2].min(axis=1) < NEAR_M):
        ahead = _cut_at_near(corners[k])
        low[k], high[k] = (f(ahead[:, :2] / ahead[:, 2:], axis=0) for f in (np.min, np.max))
    columns = _overlap(grid.column_range, low[:, 0], high[:, 0])
    rows = _overlap(grid.row_range, low[:, 1], high[:, 1])
    seen = (columns[:, 1] > columns[:, 0]) & (rows[:, 1] > rows[:, 0])
    return quads[seen], np.concatenate([columns, rows], axis=1)[seen]


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
    last = meets.shape[1] - meets[:, ::-1].argmax(axis=1)
    return np.where(meets.any(axis=1)[:, None], np.stack([meets.argmax(axis=1), last], axis=1), 0)
