"""An anchor's points as the photo sees them by its pose: where their edges meet those of the picture, it fits."""

from __future__ import annotations

import numpy as np

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records import Anchor, DepthMap, Float

MAX_READ = 60_000
"""Pixels of a dense map that are looked at, evenly spread."""
CELLS = 200
"""Across the longer side of the photo; a cell shows its nearest point."""
HIDDEN_RATIO = 1.5
"""A point so much farther than one in a neighbouring cell is seen through a gap between points, not in the picture."""


def seen_points(anchor: Anchor, depth: DepthMap, world_from_cam: Pose, camera: Camera) -> tuple[Float, Float]:
    """(pixels (N, 2), distance (N,) in metres) of the points of an anchor that a camera sees, nearest first.

    Args:
        anchor: its pose places the points.
        depth: of the anchor.
        world_from_cam: of the camera, in the anchor's frame.
        camera: pixels are those of its raster.
    """
    stride = 1 if depth.z_m is None else max(1, int(np.ceil(np.sqrt(depth.z_m.size / MAX_READ))))
    _, own_m = depth.points(anchor.camera, stride)
    points_m = world_from_cam.inverse().apply(anchor.world_from_cam.apply(own_m))
    px, visible = camera.project(points_m)
    kept = visible & camera.contains(px)
    away_m = np.linalg.norm(points_m[kept], axis=1)
    order = np.argsort(away_m)
    px, away_m = px[kept][order], away_m[order]
    size_px = max(camera.width, camera.height) / CELLS
    cell = np.floor((px + 0.5) / size_px).astype(int)
    _, first = np.unique(cell, axis=0, return_index=True)  # the nearest: they are in order
    first = np.sort(first)
    px, away_m, cell = px[first], away_m[first], cell[first]
    grid = np.full((CELLS + 3, CELLS + 3), np.inf)
    grid[cell[:, 0] + 1, cell[:, 1] + 1] = away_m
    around = [grid[cell[:, 0] + 1 + right, cell[:, 1] + 1 + down] for right in (-1, 0, 1) for down in (-1, 0, 1)]
    shown = away_m <= HIDDEN_RATIO * np.min(around, axis=0)
    return px[shown], away_m[shown]
