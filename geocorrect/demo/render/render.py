"""What a camera sees: visibility, shading, sky and smooth silhouettes put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.surfaces import Scene
from geocorrect.demo.render.textures import Sky, bilinear
from geocorrect.demo.render.visibility import SKY, Int32, RayGrid, along_rays, inside, visible_quads
from geocorrect.geometry.pose import Pose
from geocorrect.records import Float, Float32, ImageArray

SUBPIXELS = np.array([[-0.125, -0.375], [0.375, -0.125], [0.125, 0.375], [-0.375, 0.125]], np.float32)
"""Rotated grid: four offsets (column, row) in pixels with four different abscissae and ordinates."""
NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
_MOST_LEVELS = 32
"""Above the level of any pixel: a reach of 2³² texels is none."""


def render(scene: Scene, sky: Sky, grid: RayGrid, world_from_cam: Pose) -> Float32:
    """(H, W, 3) RGB 0…255 float32 of the scene, before anything that a real camera adds."""
    forms = scene.ray_forms(world_from_cam)
    index = visible_quads(scene, forms, grid, world_from_cam)
    turn = world_from_cam.rotation.as_matrix().astype(np.float32)

    def colour(quads: Int32, rays: Float32, steps: Float32) -> Float32:
        """(N, 3) RGB along rays (N, 2) that meet quads (N,); quad by quad, so that every array is small."""
        result = np.empty((len(quads), 3), np.float32)
        order = np.argsort(quads.astype(np.uint16), kind="stable")  # 16 bits: numpy sorts them by radix
        ordered = quads[order]
        for start, end in pairwise([0, *np.flatnonzero(np.diff(ordered)) + 1, len(ordered)]):
            pixels, quad = order[start:end], ordered[start]
            if quad == SKY:
                ahead = np.concatenate([rays[pixels], np.ones((len(pixels), 1), np.float32)], axis=1)
                result[pixels] = sky.colour(ahead @ turn.T)
            else:
                result[pixels] = shade(scene, forms, int(quad), rays[pixels], steps[pixels])
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


def shade(scene: Scene, forms: Float, quad: int, rays: Float32, steps: Float32) -> Float32:
    """(N, 3) RGB 0…255 of the points where rays (N, 2) hit a quad; steps (N, 2) is the pixel pitch of the rays.

    Each pixel reads one texel of the level whose texels are as long and as wide as its own footprint along the axes of
    the texture (`Texture.level`): streets and façades run away from a camera along these axes, mostly.
    """
    form = forms[quad].astype(np.float32)
    left, top, width, height = scene.texel_window[quad].astype(np.float32)
    u, v, inverse_depth = along_rays(form, rays)
    u, v = u / inverse_depth, v / inverse_depth
    per_ray = steps / inverse_depth[:, None]
    reach_u, reach_v = (
        size * np.hypot((axis[0] - at * form[2, 0]) * per_ray[:, 0], (axis[1] - at * form[2, 1]) * per_ray[:, 1])
        for axis, at, size in ((form[0], u, width), (form[1], v, height))
    )
    levels = [np.rint(np.log2(np.maximum(reach, 1))).astype(np.int16) for reach in (reach_u, reach_v)]
    texture = scene.textures[scene.texture_index[quad]]
    colour = np.empty((len(rays), 3), np.float32)
    for pixels, across, down in _alike(*levels):
        picture = texture.level(across, down)
        scale_x, scale_y = picture.shape[1] / texture.width_px, picture.shape[0] / texture.height_px
        x, y = (left + u[pixels] * width) * scale_x - 0.5, (top + v[pixels] * height) * scale_y - 0.5
        colour[pixels] = bilinear(picture, np.stack([x, y], axis=1).astype(np.float32))
    return colour * np.float32(scene.shade[quad])


def _alike(across: NDArray[np.int16], down: NDArray[np.int16]) -> Iterator[tuple[NDArray[np.int64] | slice, int, int]]:
    """Pixels of equal level, with it."""
    key = across * np.int16(_MOST_LEVELS) + down
    if key.min() == key.max():
        yield slice(None), int(across[0]), int(down[0])
        return
    order = np.argsort(key, kind="stable")
    for start, end in pairwise([0, *np.flatnonzero(np.diff(key[order])) + 1, len(key)]):
        yield order[start:end], int(across[order[start]]), int(down[order[start]])


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
    picture = picture * (_falloff(picture.shape[:2], exposure.vignette)[..., None] * gain.astype(np.float32))
    picture = 128 + np.float32(exposure.contrast) * (picture - 128)
    strength = exposure.noise * (0.6 + 0.4 * np.sqrt(np.clip(picture, 0, 255) / 128))
    picture += strength * np.random.default_rng(seed).standard_normal(picture.shape, np.float32)
    return np.asarray(np.clip(picture + np.float32(0.5), 0, 255), np.uint8)


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


@dataclass(frozen=True)
class LidarModel:
    """An Ouster OS1-64-like sensor."""

    beams: int = 64
    columns: int = 1024
    half_field_deg: float = 16.6
    """Elevation of the highest beam; the lowest looks down as far."""
    max_range_m: float = 100.0
    min_range_m: float = 0.8
    range_sigma_m: float = 0.02
    drop_out: float = 0.04
    """Probability per return."""

    def directions(self) -> Float:
        """(beams, columns, 3) unit vectors in LiDAR axes (x ahead, y left, z up), columns clockwise from the back."""
        elevation = np.radians(np.linspace(self.half_field_deg, -self.half_field_deg, self.beams))[:, None]
        azimuth = np.pi - 2 * np.pi * (np.arange(self.columns) + 0.5) / self.columns
        level = np.cos(elevation)
        rows = np.broadcast_to(np.sin(elevation), (self.beams, self.columns))
        return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), rows], axis=-1)


def scan(scene: Scene, model: LidarModel, world_from_lidar: Pose, seed: tuple[int, ...]) -> Float32:
    """(beams · columns, 4) x, y, z, intensity in LiDAR axes, row by row; rays without a return are zeros."""
    directions = model.directions()
    forms = scene.ray_forms(world_from_lidar)
    inverse_range = np.full(directions.shape[:2], 1 / model.max_range_m)
    facing = np.zeros(directions.shape[:2])
    corners = scene.corners_in(world_from_lidar)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    x, y, z = np.ascontiguousarray(np.moveaxis(directions, -1, 0))
    for quad in np.flatnonzero(forms.any(axis=(1, 2)) & _within_beams(corners, model)):
        for columns in _columns(corners[quad], model.columns):
            u, v, inverse = (m[0] * x[:, columns] + m[1] * y[:, columns] + m[2] * z[:, columns] for m in forms[quad])
            hit = inside(u, v, inverse, scene.cut[quad]) & (inverse > inverse_range[:, columns])
            np.copyto(inverse_range[:, columns], inverse, where=hit)
            rows, hits = np.nonzero(hit)
            facing[:, columns][rows, hits] = directions[:, columns][rows, hits] @ normals[quad]
    returned = inverse_range > 1 / model.max_range_m
    return _measured(model, directions, np.where(returned, 1 / inverse_range, 0.0), facing, np.random.default_rng(seed))


def _within_beams(corners: Float, model: LidarModel) -> NDArray[np.bool_]:
    """(Q,) whether a quad may be met: not all of its corners (Q, 4, 3) lie over, or all under, the sensor's beams."""
    steepest = np.tan(np.radians(model.half_field_deg)) * np.hypot(corners[..., 0], corners[..., 1])
    height = corners[..., 2]
    return np.asarray((height <= steepest).any(axis=1) & (height >= -steepest).any(axis=1))


def _columns(corners: Float, n_columns: int) -> list[slice]:
    """Columns that may meet a quad: those between its extreme azimuths; all when it passes over or under the sensor."""
    flat = corners[:, :2]
    following = flat[[1, 2, 3, 0]]
    turns = flat[:, 0] * following[:, 1] - flat[:, 1] * following[:, 0]
    around = bool((turns >= -1e-9).all() or (turns <= 1e-9).all()) and float(np.abs(turns).max()) > 1e-6
    centre = np.arctan2(flat[:, 1].mean(), flat[:, 0].mean())
    relative = (np.arctan2(flat[:, 1], flat[:, 0]) - centre + np.pi) % (2 * np.pi) - np.pi
    leftmost, rightmost = relative.max(), relative.min()
    width = leftmost - rightmost
    if (around and width > 2.0) or width > np.pi:
        return [slice(0, n_columns)]
    first = int(np.floor((np.pi - centre - leftmost) / (2 * np.pi) * n_columns - 1))
    last = int(np.ceil((np.pi - centre - rightmost) / (2 * np.pi) * n_columns + 1))
    start = first % n_columns
    end = start + min(last - first, n_columns - 1) + 1
    return [slice(start, min(end, n_columns)), *([slice(0, end - n_columns)] if end > n_columns else [])]


def _measured(model: LidarModel, directions: Float, range_m: Float, facing: Float, rng: np.random.Generator) -> Float32:
    """Range noise, drop-outs (more at grazing incidence), intensity that falls with incidence and distance."""
    lost = rng.random(range_m.shape) < model.drop_out + 0.5 * np.clip(0.08 - facing, 0, 1) / 0.08
    lost |= (range_m < model.min_range_m) | (range_m > model.max_range_m)
    noisy = range_m + rng.normal(0, model.range_sigma_m, range_m.shape)
    intensity = 220 * facing / (1 + range_m / 25) * rng.uniform(0.8, 1.2, range_m.shape)
    cloud = np.concatenate([directions * noisy[..., None], intensity[..., None]], axis=-1)
    cloud[lost] = 0.0
    return cloud.reshape(-1, 4).astype(np.float32)
