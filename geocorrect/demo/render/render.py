"""What a camera sees: visibility, shading, sky and smooth silhouettes put together."""

from __future__ import annotations

import numpy as np

from geocorrect.demo.render.antialias import edge_pixels, quads_of_subpixels, subpixel_rays
from geocorrect.demo.render.rays import RayGrid
from geocorrect.demo.render.shading import Float32, shade
from geocorrect.demo.render.sky import Sky
from geocorrect.demo.render.surfaces import Float, Scene
from geocorrect.demo.render.visibility import SKY, Int32, visible_quads
from geocorrect.geometry.pose import Pose


def render(scene: Scene, sky: Sky, rays: RayGrid, world_from_cam: Pose) -> Float32:
    """(H, W, 3) RGB 0…255 float32 of the scene, before anything that a real camera adds."""
    forms = scene.ray_forms(world_from_cam)
    index = visible_quads(scene, forms, rays, world_from_cam)
    directions = np.stack([rays.x.ravel(), rays.y.ravel()], axis=1)
    steps = np.stack([rays.step_x.ravel(), rays.step_y.ravel()], axis=1)
    look = _Look(scene, sky, forms, world_from_cam)
    picture = look.colour(index.ravel(), directions, steps)
    edges = edge_pixels(index)
    if len(edges):
        sub_rays = subpixel_rays(rays, edges)
        sub_quads = quads_of_subpixels(scene, index, forms, edges, sub_rays)
        fine = look.colour(sub_quads.ravel(), sub_rays.reshape(-1, 2), np.tile(steps[edges] * np.float32(0.5), (4, 1)))
        picture[edges] = fine.reshape(4, -1, 3).mean(axis=0)
    return picture.reshape(*index.shape, 3)


class _Look:
    """The colour along rays of one camera, once it is known which quad they meet."""

    def __init__(self, scene: Scene, sky: Sky, forms: Float, world_from_cam: Pose) -> None:
        self._scene, self._sky, self._forms = scene, sky, forms
        self._turn = world_from_cam.rotation.as_matrix().astype(np.float32)

    def colour(self, quads: Int32, rays: Float32, steps: Float32) -> Float32:
        """(N, 3) RGB of rays (N, 2) that meet quads (N,)."""
        result = np.empty((len(quads), 3), np.float32)
        open_sky = quads == SKY
        ahead = np.concatenate([rays[open_sky], np.ones((int(open_sky.sum()), 1), np.float32)], axis=1)
        result[open_sky] = self._sky.colour(ahead @ self._turn.T)
        built = ~open_sky
        result[built] = shade(self._scene, self._forms, quads[built], rays[built], steps[built])
        return result
