"""A laser scan seen through a camera: sub-pixel samples of depth, nearest surface only.

The LiDAR sits above the camera, so it sees behind what hides the background from the camera; projected, those far
points shine through the near surface. A pixel-wise z-buffer cannot tell, because the near surface is sampled
sparsely. A point is taken as hidden when clearly nearer returns lie on both of two opposite sides of it within the
beam spacing: left and right, or above and below. Slanted ground (nearer on one side only) and the background beside a
pole survive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Float, Pose

Mask = NDArray[np.bool_]

MIN_DEPTH_M = 0.5


@dataclass(frozen=True)
class ProjectionOptions:
    """How a scan becomes samples."""

    max_range_m: float = 120.0
    """Returns farther from the LiDAR are dropped."""
    window_deg: float = 0.8
    """Reach of the occlusion test to either side, a little more than the vertical beam spacing (0.4° Velodyne HDL-64,
    0.5–0.7° Ouster)."""
    depth_ratio: float = 1.06
    """A surface hides a point whose depth is more than this times its own …"""
    depth_step_m: float = 0.3
    """… plus this."""


def project_scan(
    points_lidar_m: Float, cam_from_lidar: Pose, camera: Camera, options: ProjectionOptions | None = None
) -> tuple[Float, Float]:
    """Sub-pixel samples of a scan in an image: ((N, 2) float64 pixels, (N,) z-depth in metres).

    points_lidar_m is (M, 3). The camera applies its distortion; a z-buffer leaves one return per pixel; returns hidden
    from the camera are removed. Empty when nothing is visible.
    """
    options = options or ProjectionOptions()
    near = np.einsum("ij,ij->i", points_lidar_m, points_lidar_m) <= options.max_range_m**2
    points = cam_from_lidar.apply(points_lidar_m[near])
    points = points[points[:, 2] > MIN_DEPTH_M]
    px, visible = camera.project(points)
    visible &= camera.contains(px)
    px, z_m = px[visible], points[visible, 2]
    first = nearest_per_pixel(px, z_m, camera)
    px, z_m = px[first], z_m[first]
    keep = ~hidden(px, z_m, camera, options)
    return px[keep], z_m[keep]


def nearest_per_pixel(px: Float, z_m: Float, camera: Camera) -> NDArray[np.intp]:
    """Indices of the nearest sample of each pixel that has any, by pixel; px (N, 2) on the raster, z_m (N,)."""
    column = np.clip(np.rint(px[:, 0]).astype(np.int64), 0, camera.width - 1)
    row = np.clip(np.rint(px[:, 1]).astype(np.int64), 0, camera.height - 1)
    pixel = row * camera.width + column
    order = np.lexsort((z_m, pixel))
    _, first = np.unique(pixel[order], return_index=True)
    return order[first]


def hidden(px: Float, z_m: Float, camera: Camera, options: ProjectionOptions) -> Mask:
    """(N,) whether nearer returns lie on both opposite sides of a sample within the window."""
    reach_px = max(4.0, np.radians(options.window_deg) * camera.focal_y_px)
    return hidden_behind(px, z_m, px, z_m, reach_px, options)


def hidden_behind(
    px: Float, z_m: Float, hiding_px: Float, hiding_z_m: Float, reach_px: float, options: ProjectionOptions
) -> Mask:
    """(N,) whether nearer ones of other samples (M, 2), (M,) lie on both opposite sides within the reach."""
    if not len(px) or not len(hiding_px):
        return np.zeros(len(px), bool)
    cell_px = reach_px / 4.0
    column, row = _cells(px, cell_px)
    hiding_column, hiding_row = _cells(hiding_px, cell_px)
    shape = max(int(row.max()), int(hiding_row.max())) + 1, max(int(column.max()), int(hiding_column.max())) + 1
    nearest = np.full(shape, np.inf)
    np.minimum.at(nearest, (hiding_row, hiding_column), hiding_z_m)
    sides = [_side_minimum(nearest, axis, side) for axis in (0, 1) for side in (-1, 1)]
    both = np.minimum(np.maximum(sides[0], sides[1]), np.maximum(sides[2], sides[3]))[row, column]
    result: Mask = z_m > options.depth_ratio * both + options.depth_step_m
    return result


def _cells(px: Float, cell_px: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(column, row) of the square cells of samples (N, 2)."""
    cells = np.clip((px + 0.5) // cell_px, 0, None).astype(np.int64)
    return cells[:, 0], cells[:, 1]


def _side_minimum(nearest: Float, axis: int, side: int) -> Float:
    """Smallest value among the own cell and the four cells on one side along an axis."""
    reached: Float = minimum_filter1d(nearest, 5, axis=axis, mode="constant", cval=np.inf, origin=-2 * side)
    return reached
