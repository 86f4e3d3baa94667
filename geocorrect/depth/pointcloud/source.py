"""Depth of an anchor from the point clouds around it: what its camera saw of them, hidden surfaces left out.

A cloud holds every side of every house, from many positions of the scanner; what the camera did not see must not shine
through what it saw. Near surfaces are sparse in the picture, far ones dense, so a pixel-wise z-buffer is not enough:
each point hides what lies behind it between itself and its neighbours, as far as its surface surely continues (the
reach that the index measured), in pixels at its depth. The test is that of scans, one window size after the other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.scan_projection import MIN_DEPTH_M, ProjectionOptions, hidden_behind, nearest_per_pixel
from geocorrect.depth.base import DepthDeclaration, options_digest
from geocorrect.depth.pointcloud.index import CELL_M
from geocorrect.depth.pointcloud.options import PointCloudOptions
from geocorrect.depth.pointcloud.store import Cell, CloudStore, Place
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.pose import Pose
from geocorrect.records import Anchor, DepthMap, Float, Float32, ImageArray

SMALLEST_WINDOW_PX, MAX_REACH_RAD = 4.0, 0.35
"""A surface that reaches farther in the picture hides within that."""


class PointCloudDepth:
    """DepthSource that renders an index of point clouds."""

    def __init__(self, options: PointCloudOptions) -> None:
        self.options = options
        self.store = CloudStore(options.folder, options.cache_mib * 2**20)
        kept = replace(options, folder=PointCloudOptions.folder, cache_mib=PointCloudOptions.cache_mib)
        self.fingerprint = f"pointcloud-{options_digest(kept)}-{self.store.content[:16]}"
        self.declaration = declare_pointcloud(options)

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Sparse samples of measured depth; of the image only the size is checked.

        Raises:
            InputError: no point lies before the camera, a file of the index is damaged, the camera is a panorama, or
                the image's size is not the camera's.
        """
        camera, o = anchor.camera, self.options
        if camera.projection is Projection.SPHERICAL:
            raise InputError(f"anchor {anchor.id}: a panorama has no depth along an axis; add its faces as anchors")
        if image.shape[:2] != (camera.height, camera.width):
            raise InputError(
                f"{anchor.path}: the image is {image.shape[1]}×{image.shape[0]} pixels, its camera is "
                f"{camera.width}×{camera.height}; fix the calibration's resolution"
            )
        px, z_m = self._samples(anchor.world_from_cam, camera)
        if not len(z_m):
            raise InputError(
                f"anchor {anchor.id}: no point of {o.folder} lies within {o.max_range_m:g} m before its camera; index "
                "the clouds of its street, or check the height reference of both"
            )
        log_sigma: Float32 = np.hypot(o.noise_m / z_m, o.noise_ratio).astype(np.float32)
        return DepthMap("pointcloud", is_oracle=True, samples_px=px, samples_z_m=z_m, log_sigma=log_sigma)

    def _samples(self, world_from_cam: Pose, camera: Camera) -> tuple[Float, Float]:
        """((N, 2) pixels, (N,) z-depth) of the points that the camera sees."""
        field = _Field(world_from_cam, camera, self.options.max_range_m)
        seen = [field.project(self.store.cell(place)) for place in self._before(field)]
        if not seen:
            return np.zeros((0, 2)), np.zeros(0)
        px, z_m, reach_px = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        kept = nearest_per_pixel(px, z_m, camera)
        px, z_m, reach_px = px[kept], z_m[kept], reach_px[kept]
        visible = ~_hidden(px, z_m, reach_px)
        return px[visible], z_m[visible]

    def _before(self, field: _Field) -> list[Place]:
        """Cells that the camera may see; one that it sees nothing of is never read."""
        places = self.store.places_within(field.centre_m, self.options.max_range_m)
        return [place for place in places if field.meets(place, *self.store.heights_m(place))]


class _Field:
    """What one camera sees."""

    def __init__(self, world_from_cam: Pose, camera: Camera, max_range_m: float) -> None:
        self.centre_m, self._camera, self._range_m = world_from_cam.translation_m, camera, max_range_m
        self._axes = world_from_cam.rotation.as_matrix()
        border = _border_px(camera)
        bearings = camera.unproject(border)
        bearings = bearings[np.isfinite(bearings).all(axis=1)]
        narrow = len(bearings) > 0 and bearings[:, 2].min() > 0.05
        slopes = np.abs(bearings[:, :2] / bearings[:, 2:]).max(axis=0) if narrow else np.full(2, np.inf)
        self._slope_x, self._slope_y = (float(v) for v in slopes)
        self._cosine = float(bearings[:, 2].min()) if len(bearings) else -1.0

    def meets(self, place: Place, low_m: float, high_m: float) -> bool:
        """Whether the sphere around a cell reaches into the cone around the camera's field."""
        middle = np.array([(place[0] + 0.5) * CELL_M, (place[1] + 0.5) * CELL_M, (low_m + high_m) / 2])
        offset = middle - self.centre_m
        radius = float(np.hypot(CELL_M / 2**0.5, (high_m - low_m) / 2))
        distance = float(np.linalg.norm(offset))
        if distance <= radius:
            return True
        angle = np.arccos(np.clip(float(offset @ self._axes[:, 2]) / distance, -1.0, 1.0))
        return bool(angle <= np.arccos(self._cosine) + np.arcsin(radius / distance))

    def project(self, cell: Cell) -> tuple[Float, Float, Float]:
        """Pixels, z-depths, and reaches in pixels of the points of a cell on the raster, one for each pixel."""
        shift = (cell.corner_m - self.centre_m) @ self._axes
        points: Float32 = cell.points_m @ self._axes.astype(np.float32) + shift.astype(np.float32)
        x, y, z = points.T
        ahead = (z > MIN_DEPTH_M) & (np.einsum("ij,ij->i", points, points) <= self._range_m**2)
        ahead &= (np.abs(x) <= self._slope_x * z) & (np.abs(y) <= self._slope_y * z)
        near = points[ahead].astype(np.float64)
        px, visible = self._camera.project(near)
        visible &= self._camera.contains(px)
        px, z_m = px[visible], near[visible, 2]
        kept = nearest_per_pixel(px, z_m, self._camera)
        px, z_m = px[kept], z_m[kept]
        return px, z_m, np.minimum(cell.reach_m / z_m, MAX_REACH_RAD) * self._camera.focal_y_px


def declare_pointcloud(options: PointCloudOptions) -> DepthDeclaration:
    """What it is, without its index; every sample has its own error, all of it."""
    return DepthDeclaration(
        needs=("an index of point clouds (`geocorrect depth pointcloud`)",),
        valid_range_m=(MIN_DEPTH_M, options.max_range_m),
        log_sigma=float(np.hypot(options.noise_m / MIN_DEPTH_M, options.noise_ratio)),
        common_log_sigma=0.0,
        is_oracle=True,
    )


def _border_px(camera: Camera) -> Float:
    columns, rows = np.linspace(-0.5, camera.width - 0.5, 33), np.linspace(-0.5, camera.height - 0.5, 33)
    sides = [np.stack([columns, np.full(33, row)], axis=1) for row in rows[[0, -1]]]
    return np.concatenate([*sides, *(np.stack([np.full(33, column), rows], axis=1) for column in columns[[0, -1]])])


def _hidden(px: Float, z_m: Float, reach_px: Float) -> NDArray[np.bool_]:
    """(N,) whether nearer surfaces hide a sample; those of like reach in pixels share a window."""
    result = np.zeros(len(z_m), bool)
    window, lower, options = SMALLEST_WINDOW_PX, 0.0, ProjectionOptions()
    while lower < reach_px.max(initial=0.0):
        hiding = (reach_px > lower) & (reach_px <= window)
        if hiding.any():
            result |= hidden_behind(px, z_m, px[hiding], z_m[hiding], window, options)
        window, lower = 2 * window, window
    return result
