"""What a camera sees: visibility, shading, sky and smooth silhouettes put together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.surfaces import Scene
from geocorrect.demo.render.textures import Sky
from geocorrect.demo.render.visibility import SKY, Int32, RayGrid, along, inside, visible_quads
from geocorrect.geometry.pose import Pose
from geocorrect.records import Float, Float32, ImageArray

SUBPIXELS = np.array([[-0.125, -0.375], [0.375, -0.125], [0.125, 0.375], [-0.375, 0.125]], np.float32)
"""Rotated grid: four offsets (column, row) in pixels with four different abscissae and ordinates."""
NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))
_CHUNK = 30000
"""cv2.remap takes fewer than 32768 places in a row."""


def render(scene: Scene, sky: Sky, grid: RayGrid, world_from_cam: Pose) -> Float32:
    """(H, W, 3) RGB 0…255 float32 of the scene, before anything that a real camera adds."""
    forms = scene.ray_forms(world_from_cam)
    index = visible_quads(scene, forms, grid, world_from_cam)
    rays, steps = grid.rays.reshape(2, -1), grid.steps.reshape(2, -1)
    edges = _edge_pixels(index)  # smooth silhouettes: these pixels are seen again along four rays each
    edge_steps = steps[:, edges][:, None]
    fine_rays = rays[:, edges][:, None] + SUBPIXELS.T[:, :, None] * edge_steps
    fine_quads = _quads_of_subpixels(scene, index, forms, edges, fine_rays)
    fine_steps = np.broadcast_to(edge_steps * np.float32(0.5), fine_rays.shape)
    colours = _colours(
        scene, sky, forms, world_from_cam,
        np.concatenate([index.ravel(), fine_quads.ravel()]),
        np.concatenate([rays, fine_rays.reshape(2, -1)], axis=1),
        np.concatenate([steps, fine_steps.reshape(2, -1)], axis=1),
    )  # fmt: skip
    picture, fine = colours[: index.size], colours[index.size :].reshape(4, -1, 3)
    picture[edges] = fine.mean(axis=0)
    return picture.reshape(*index.shape, 3)


def _colours(
    scene: Scene, sky: Sky, forms: Float, world_from_cam: Pose, quads: Int32, rays: Float32, steps: Float32
) -> Float32:
    """(N, 3) RGB along rays (2, N) that meet quads (N,); quad by quad, so that every array is small."""
    order = np.argsort(quads.astype(np.uint16), kind="stable")  # 16 bits: numpy sorts them by radix
    ordered = quads.take(order)
    x, y, step_x, step_y = (values.take(order) for values in (*rays, *steps))
    found = np.empty((len(quads), 3), np.float32)
    for start, end in pairwise([0, *np.flatnonzero(np.diff(ordered)) + 1, len(ordered)]):
        quad, part = int(ordered[start]), slice(start, end)
        if quad == SKY:
            turn = world_from_cam.rotation.as_matrix().astype(np.float32)
            found[part] = sky.colour(np.stack([x[part], y[part], np.ones_like(x[part])], axis=1) @ turn.T)
        else:
            seen = shade(scene, forms, quad, (x[part], y[part]), (step_x[part], step_y[part]))
            np.multiply(seen, np.float32(scene.shade[quad]), out=found[part])
    colours = np.empty_like(found)
    colours[order] = found
    return colours


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
    """(4, E) quad seen by each subpixel ray (2, 4, E), chosen among those of the pixel and its four neighbours."""
    height, width = index.shape
    row, column = np.divmod(pixels, width)
    nearest = np.zeros(rays.shape[1:], np.float32)
    best = np.full(rays.shape[1:], SKY, np.int32)
    flat = np.append(forms, np.zeros((1, 3, 3)), axis=0).astype(np.float32)  # the last, which SKY finds, hits nothing
    cut = np.append(scene.cut, 0).astype(np.float32)

    def offer(quad: Int32, which: NDArray[np.int64]) -> None:
        """Quads (K,), each to the subpixels of one pixel."""
        m, at = flat[quad], rays[:, :, which]
        u, v, inverse_depth = (m[:, k, 0] * at[0] + m[:, k, 1] * at[1] + m[:, k, 2] for k in range(3))
        hit = inside(u, v, inverse_depth, cut[quad]) & (inverse_depth > nearest[:, which])
        nearest[:, which] = np.where(hit, inverse_depth, nearest[:, which])
        best[:, which] = np.where(hit, quad, best[:, which])

    offered = [index[row, column]]
    offer(offered[0], np.arange(len(pixels)))
    for right, down in NEIGHBOURS:
        quad = index[np.clip(row + down, 0, height - 1), np.clip(column + right, 0, width - 1)]
        new = np.flatnonzero(np.logical_and.reduce([quad != other for other in offered]))
        offer(quad[new], new)
        offered.append(quad)
    return best


def shade(
    scene: Scene, forms: Float, quad: int, rays: tuple[Float32, Float32], steps: tuple[Float32, Float32]
) -> ImageArray:
    """(N, 3) RGB of the texture where rays, x and y, (N,) each, hit a quad; steps is the pixel pitch of the rays.

    Each pixel reads one texel of the level whose texels are as long and as wide as its own footprint along the axes of
    the texture (`Texture.level`): streets and façades run away from a camera along these axes, mostly.
    """
    form = forms[quad].astype(np.float32)
    left, top, width, height = scene.texel_window[quad].astype(np.float32)
    texture = scene.textures[scene.texture_index[quad]]
    depth = np.float32(1) / along(form[2], *rays)
    pitch = steps[0] * depth, steps[1] * depth
    places, chosen = [], []
    for axis, first, size, levels in ((0, left, width, texture.columns), (1, top, height, texture.rows)):
        at = along(form[axis], *rays)
        at *= depth
        level = _level(form[axis], form[2], at, pitch, size, levels.last)
        at *= size
        at += first
        at *= levels.share.take(level)
        at -= np.float32(0.5)
        np.maximum(at, 0, out=at)
        np.minimum(at, levels.end_px.take(level), out=at)
        at += levels.start_px.take(level)
        places.append(at)
        chosen.append(level)
    for key in np.flatnonzero(np.bincount(chosen[0] * _MOST_LEVELS + chosen[1])).tolist():
        texture.level(*divmod(key, _MOST_LEVELS))  # is filled in where it is not yet
    seen = np.empty((len(depth), 3), np.uint8)
    for start in range(0, len(seen), _CHUNK):
        part = slice(start, start + _CHUNK)
        cv2.remap(texture.levels, places[0][None, part], places[1][None, part], cv2.INTER_LINEAR, dst=seen[None, part])
    return seen


_MOST_LEVELS = 16
"""More than a texture has on a side, which is shorter than 2¹⁵."""


def _level(
    axis: Float32, last: Float32, at: Float32, pitch: tuple[Float32, Float32], size: np.float32, most: int
) -> NDArray[np.int32]:
    """(N,) level of one side of a texture: the rounded logarithm, base 2, of the texels that a pixel covers."""
    reach = (axis[0] - at * last[0]) * pitch[0]
    other = (axis[1] - at * last[1]) * pitch[1]
    reach *= reach
    other *= other
    reach += other
    reach *= size * size
    level: NDArray[np.int32] = reach.view(np.int32) >> 23  # the exponent of a float, raised by 127
    level -= 126
    level >>= 1  # half the logarithm of a square, rounded
    np.maximum(level, 0, out=level)
    return np.minimum(level, most, out=level)


@dataclass(frozen=True)
class Exposure:
    """How one picture was taken."""

    stops: float = 0.0
    """Against the normal exposure."""
    warmth: float = 0.0
    """> 0 redder, < 0 bluer."""
    contrast: float = 1.0
    """1 = as seen."""
    vignette: float = 0.15
    """Share of light lost in the corners."""
    noise: float = 2.0
    """Standard deviation in grey levels."""
    defocus_px: float = 0.5
    """Gaussian sigma."""
    motion_px: float = 0.0
    """Length of the smear."""
    motion_deg: float = 0.0
    """Its direction in the image."""


def photograph(radiance: Float32, exposure: Exposure, seed: tuple[int, ...]) -> ImageArray:
    """(H, W, 3) RGB uint8 of a rendered view (0…255 float32)."""
    picture = radiance
    if exposure.defocus_px > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), exposure.defocus_px), np.float32)
    if exposure.motion_px >= 1:
        picture = np.asarray(cv2.filter2D(picture, -1, _smear(exposure.motion_px, exposure.motion_deg)), np.float32)
    gain = 2.0 ** (exposure.stops / 2.2) * np.array([1 + exposure.warmth, 1.0, 1 - exposure.warmth], np.float32)
    falloff = _falloff(picture.shape[:2], exposure.vignette)[..., None]
    picture = picture * (falloff * (np.float32(exposure.contrast) * gain.astype(np.float32)))
    picture += np.float32(128 - 128 * exposure.contrast + 0.5)
    grey = np.sqrt(np.clip(np.arange(-0.5, 255.5), 0, 255) / 128)
    strength = (exposure.noise * (0.6 + 0.4 * grey)).astype(np.float32)
    noise = np.random.default_rng(seed).standard_normal(picture.shape, np.float32)
    noise *= cv2.LUT(cv2.convertScaleAbs(np.maximum(picture, 0)), strength)
    picture += noise
    return np.asarray(np.clip(picture, 0, 255, out=picture), np.uint8)


def _smear(length_px: float, angle_deg: float) -> Float32:
    """Line kernel, symmetric about its centre so that nothing moves."""
    half = int(np.ceil(length_px / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    end = length_px / 2 * np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    for step in np.linspace(-1, 1, 8 * half + 1):
        x, y = half + step * end
        kernel[round(y), round(x)] += 1
    return np.asarray(kernel / kernel.sum(), np.float32)


def _falloff(shape: tuple[int, int], corner_loss: float) -> Float32:
    """(H, W) share of light that reaches each pixel."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) * (side / np.hypot(*shape)) for side in shape)
    return np.asarray(1 - np.float32(corner_loss) * (x**2 + (y**2)[:, None]), np.float32)
