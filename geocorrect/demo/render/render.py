"""What a camera sees: visibility, shading, sky and smooth silhouettes put together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.rays import RayGrid
from geocorrect.demo.render.shading import shade
from geocorrect.demo.render.sky import Sky
from geocorrect.demo.render.surfaces import Scene
from geocorrect.demo.render.visibility import SKY, Int32, along_rays, inside, visible_quads
from geocorrect.geometry.pose import Pose
from geocorrect.records import Float, Float32

SUBPIXELS = np.array([[-0.125, -0.375], [0.375, -0.125], [0.125, 0.375], [-0.375, 0.125]], np.float32)
"""Rotated grid: four offsets (column, row) in pixels with four different abscissae and ordinates."""
NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


def render(scene: Scene, sky: Sky, grid: RayGrid, world_from_cam: Pose) -> Float32:
    """(H, W, 3) RGB 0…255 float32 of the scene, before anything that a real camera adds."""
    forms = scene.ray_forms(world_from_cam)
    index = visible_quads(scene, forms, grid, world_from_cam)
    turn = world_from_cam.rotation.as_matrix().astype(np.float32)

    def colour(quads: Int32, rays: Float32, steps: Float32) -> Float32:
        """(N, 3) RGB along rays (N, 2) that meet quads (N,)."""
        built = quads != SKY
        result = np.empty((len(quads), 3), np.float32)
        ahead = np.concatenate([rays[~built], np.ones((int((~built).sum()), 1), np.float32)], axis=1)
        result[~built] = sky.colour(ahead @ turn.T)
        result[built] = shade(scene, forms, quads[built], rays[built], steps[built])
        return result

    rays, steps = grid.rays.reshape(-1, 2), grid.steps.reshape(-1, 2)
    picture = colour(index.ravel(), rays, steps)
    edges = _edge_pixels(index)
    if len(edges):  # smooth silhouettes: these pixels are seen again along four rays each
        fine_rays = rays[edges] + SUBPIXELS[:, None] * steps[edges]
        fine_quads = _quads_of_subpixels(scene, index, forms, edges, fine_rays)
        fine_steps = np.tile(steps[edges] * np.float32(0.5), (4, 1))
        picture[edges] = colour(fine_quads.ravel(), fine_rays.reshape(-1, 2), fine_steps).reshape(4, -1, 3).mean(axis=0)
    return picture.reshape(*index.shape, 3)


def _edge_pixels(index: Int32) -> NDArray[np.int64]:
    """(E,) flat indices of pixels whose quad differs from that of a neighbour above, below, left or right."""
    edge = np.zeros(index.shape, bool)
    across, down = index[:, 1:] != index[:, :-1], index[1:] != index[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return np.flatnonzero(edge)


def _quads_of_subpixels(scene: Scene, index: Int32, forms: Float, pixels: NDArray[np.int64], rays: Float32) -> Int32:
    """(4, E) quad seen by each subpixel ray (4, E, 2), chosen among those of the pixel and its four neighbours."""
    height, width = index.shape
    row, column = np.divmod(pixels, width)
    nearest = np.zeros(rays.shape[:2], np.float32)
    best = np.full(rays.shape[:2], SKY, np.int32)
    for right, down in NEIGHBOURS:
        quad = index[np.clip(row + down, 0, height - 1), np.clip(column + right, 0, width - 1)]
        form = np.where((quad == SKY)[:, None, None], 0, forms[quad])
        u, v, inverse_depth = along_rays(form, rays)
        hit = inside(u, v, inverse_depth, scene.cut[quad].astype(np.float32)) & (inverse_depth > nearest)
        nearest = np.where(hit, inverse_depth, nearest)
        best = np.where(hit, quad, best)
    return best
