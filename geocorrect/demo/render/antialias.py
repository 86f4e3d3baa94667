"""Smooth silhouettes: pixels where two surfaces meet are seen again along four rays each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.rays import RayGrid
from geocorrect.demo.render.shading import Float32
from geocorrect.demo.render.surfaces import Float, Scene
from geocorrect.demo.render.visibility import SKY, inside

Int32 = NDArray[np.int32]
SUBPIXELS = np.array([[-0.125, -0.375], [0.375, -0.125], [0.125, 0.375], [-0.375, 0.125]])
"""Rotated grid: four offsets (column, row) in pixels with four different abscissae and ordinates."""
NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


def edge_pixels(index: Int32) -> NDArray[np.int64]:
    """(E,) flat indices of pixels whose quad differs from that of a neighbour above, below, left or right."""
    edge = np.zeros(index.shape, bool)
    across, down = index[:, 1:] != index[:, :-1], index[1:] != index[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return np.flatnonzero(edge)


def subpixel_rays(rays: RayGrid, pixels: NDArray[np.int64]) -> Float32:
    """(4, E, 2) rays through the four subpixels of each of the (E,) pixels, by the local slope of the ray grid."""
    centre = np.stack([rays.x.ravel()[pixels], rays.y.ravel()[pixels]], axis=1)
    steps = np.stack([rays.step_x.ravel()[pixels], rays.step_y.ravel()[pixels]], axis=1)
    return (centre + SUBPIXELS[:, None].astype(np.float32) * steps).astype(np.float32)


def quads_of_subpixels(scene: Scene, index: Int32, forms: Float, pixels: NDArray[np.int64], rays: Float32) -> Int32:
    """(4, E) quad seen by each subpixel ray (4, E, 2), chosen among those of the pixel and its four neighbours."""
    height, width = index.shape
    row, column = np.divmod(pixels, width)
    nearest = np.zeros(rays.shape[:2], np.float32)
    best = np.full(rays.shape[:2], SKY, np.int32)
    for right, down in NEIGHBOURS:
        quad = index[np.clip(row + down, 0, height - 1), np.clip(column + right, 0, width - 1)]
        form = np.where((quad == SKY)[:, None, None], 0, forms[quad]).astype(np.float32)
        u, v, inverse_depth = (
            form[:, k, 0] * rays[..., 0] + form[:, k, 1] * rays[..., 1] + form[:, k, 2] for k in range(3)
        )
        hit = inside(u, v, inverse_depth, scene.cut[quad].astype(np.float32)) & (inverse_depth > nearest)
        nearest = np.where(hit, inverse_depth, nearest)
        best = np.where(hit, quad, best)
    return best
