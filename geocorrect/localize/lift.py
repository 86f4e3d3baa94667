"""Matches + depth → depth at each match, with its sigma; ambiguous places give nan instead of a guess.

Sparse samples (LiDAR, triangulated tracks): the nearest sample within 2 px gives the depth, the match's own ray gives
the direction, so the sample's pixel offset costs nothing. Where the samples around a match lie on two surfaces
(occlusion, parallax between scanner and camera, object edges) the match is not lifted. Dense maps: bilinear in inverse
depth, which is linear on planes; where it is not, there is an edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocorrect.geometry.camera import Camera
from geocorrect.localize.options import LiftOptions, pixel_scale
from geocorrect.records import DepthMap

Float = NDArray[np.float64]
Int = NDArray[np.intp]

NEIGHBOURS = 6
"""Sparse samples examined around a match: two scan lines of a 64-beam scanner."""


def lift(pixels: NDArray[np.floating], depth: DepthMap, camera: Camera, options: LiftOptions) -> tuple[Float, Float]:
    """(depth_m (N,), log_sigma (N,)) at anchor pixels (N, 2); nan where unknown, ambiguous or out of range."""
    px = np.asarray(pixels, float)
    if len(px) == 0:
        return np.zeros(0), np.zeros(0)
    scale = max(1.0, pixel_scale(camera))
    if depth.samples_px is not None:
        z, sigma = _from_samples(px, depth, scale, options)
    else:
        z, sigma = _from_map(px, depth, options)
        z[_on_edge(px, depth.z_m, round(scale * options.edge_radius_px), options.max_bend)] = np.nan
    outside = ~((z >= options.min_depth_m) & (z <= options.max_depth_m))
    z[outside] = np.nan
    sigma[outside] = np.nan
    return z, sigma


def lift_points(pixels: NDArray[np.floating], depth: DepthMap, depth_m: Float) -> Float | None:
    """(N, 3) points in the anchor's camera frame of a map whose points are off the rays; None for any other.

    Args:
        pixels: (N, 2) of the anchor.
        depth: of the anchor.
        depth_m: (N,) what `lift` found there; the points are nan where it is.
    """
    if depth.points_m is None:
        return None
    px = np.asarray(pixels, float)
    if len(px) == 0:
        return np.zeros((0, 3))
    row, column, weight = _pixels_around(px, depth.points_m.shape[:2])
    corner = depth.points_m[row, column].astype(float)
    # A corner without weight may be unknown.
    direction: Float = np.where(weight[..., None] > 1e-9, weight[..., None] * (corner / corner[..., 2:]), 0.0).sum(
        axis=1
    )
    return direction * depth_m[:, None]


def _from_samples(px: Float, depth: DepthMap, scale: float, options: LiftOptions) -> tuple[Float, Float]:
    assert depth.samples_px is not None
    assert depth.samples_z_m is not None
    known = np.isfinite(depth.samples_z_m) & (depth.samples_z_m > 0)
    samples, z_samples = depth.samples_px[known], depth.samples_z_m[known]
    unknown = np.full(len(px), np.nan)
    if len(samples) == 0:
        return unknown, unknown.copy()
    distance, index = cKDTree(samples).query(px, k=min(NEIGHBOURS, len(samples)))
    distance, index = distance.reshape(len(px), -1), index.reshape(len(px), -1)
    z_near = z_samples[index]
    around = distance <= options.edge_radius_px * scale
    nearest = np.where(around, z_near, np.inf).min(axis=1)
    farthest = np.where(around, z_near, 0.0).max(axis=1)
    usable = (distance[:, 0] <= options.sample_radius_px * scale) & (farthest <= options.max_edge_ratio * nearest)
    z = np.where(usable, z_near[:, 0], np.nan)
    sigma_samples = np.asarray(depth.log_sigma, float)
    sigma = np.full(len(px), float(sigma_samples)) if sigma_samples.ndim == 0 else sigma_samples[known][index[:, 0]]
    # The depth changes between sample and match by at most what it changes between the neighbours.
    slope = np.log(np.where(usable, farthest / np.maximum(nearest, 1e-9), 1.0)) / 2.0
    return z, np.where(usable, np.hypot(sigma, slope), np.nan)


def _from_map(px: Float, depth: DepthMap, options: LiftOptions) -> tuple[Float, Float]:
    assert depth.z_m is not None
    height, width = depth.z_m.shape
    inside = (px[:, 0] >= 0) & (px[:, 1] >= 0) & (px[:, 0] <= width - 1) & (px[:, 1] <= height - 1)
    row, column, weight = _pixels_around(px, (height, width))
    z_corner = depth.z_m[row, column].astype(float)
    good = np.isfinite(z_corner) & (z_corner > 0)
    used = good | (weight < 1e-9)
    low = np.where(good, z_corner, np.inf).min(axis=1)
    high = np.where(good, z_corner, 0.0).max(axis=1)
    usable = inside & used.all(axis=1) & good.any(axis=1) & (high <= options.max_edge_ratio * low)
    inverse = (weight * np.where(good, 1.0 / np.where(good, z_corner, 1.0), 0.0)).sum(axis=1)
    z = np.full(len(px), np.nan)
    z[usable] = 1.0 / inverse[usable]
    return z, np.where(usable, _sigma_at(px, depth), np.nan)


def _pixels_around(px: Float, shape: tuple[int, ...]) -> tuple[Int, Int, Float]:
    """(row, column, bilinear weight) of the four pixels around each of the pixels (N, 2) of a map (H, W), (N, 4)."""
    height, width = shape
    base = np.clip(np.floor(px).astype(int), 0, [max(width - 2, 0), max(height - 2, 0)])
    part = px - base
    down, across = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    row, column = np.minimum(base[:, 1:] + down, height - 1), np.minimum(base[:, :1] + across, width - 1)
    weight = np.where(down, part[:, 1:], 1 - part[:, 1:]) * np.where(across, part[:, :1], 1 - part[:, :1])
    return row, column, weight


def _on_edge(px: Float, z_m: NDArray[np.float32] | None, radius: int, max_bend: float) -> NDArray[np.bool_]:
    """(N,) where a dense map bends: on a plane, however slanted, inverse depth is linear, at an edge it is not.

    Predicted depth is smeared over an edge, so the four pixels around a match do not show it; this looks `radius`
    pixels to all sides. Pixels without a depth show nothing.
    """
    assert z_m is not None
    height, width = z_m.shape
    column, row = np.clip(np.rint(px).astype(int), 0, [width - 1, height - 1]).T

    def inverse(dx: int, dy: int) -> Float:
        z = z_m[np.clip(row + dy, 0, height - 1), np.clip(column + dx, 0, width - 1)].astype(float)
        return np.asarray(np.divide(1.0, z, out=np.full_like(z, np.nan), where=z > 0))

    centre = inverse(0, 0)
    bends = [
        np.abs(inverse(radius * dx, radius * dy) + inverse(-radius * dx, -radius * dy) - 2 * centre) / centre
        for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1))
    ]
    return np.asarray(np.nan_to_num(np.stack(bends), nan=0.0).max(axis=0) > max_bend)


def _sigma_at(px: Float, depth: DepthMap) -> Float:
    sigma = np.asarray(depth.log_sigma, float)
    if sigma.ndim == 0:
        return np.full(len(px), float(sigma))
    column, row = np.clip(np.rint(px).astype(int), 0, [sigma.shape[1] - 1, sigma.shape[0] - 1]).T
    return np.asarray(sigma[row, column])
