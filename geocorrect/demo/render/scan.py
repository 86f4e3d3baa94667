"""One sweep of a spinning LiDAR by exact ray casting: 64 beams, organised cloud, noise and drop-outs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.surfaces import Scene
from geocorrect.demo.render.visibility import inside
from geocorrect.geometry.pose import Pose
from geocorrect.records import Float, Float32


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
    for quad in np.nonzero(forms.any(axis=(1, 2)))[0]:
        columns = _columns(corners[quad], model.columns)
        rays = directions[:, columns]
        u, v, inverse = np.moveaxis(rays @ forms[quad].T, -1, 0)
        hit = inside(u, v, inverse, scene.cut[quad]) & (inverse > inverse_range[:, columns])
        rows, hits = np.nonzero(hit)
        inverse_range[rows, columns[hits]] = inverse[hit]
        facing[rows, columns[hits]] = rays[hit] @ normals[quad]
    returned = inverse_range > 1 / model.max_range_m
    return _measured(model, directions, np.where(returned, 1 / inverse_range, 0.0), facing, np.random.default_rng(seed))


def _columns(corners: Float, n_columns: int) -> NDArray[np.int64]:
    """Columns that may meet a quad: those between its extreme azimuths; all when it passes over or under the sensor."""
    flat = corners[:, :2]
    following = np.roll(flat, -1, axis=0)
    turns = flat[:, 0] * following[:, 1] - flat[:, 1] * following[:, 0]
    around = bool((turns >= -1e-9).all() or (turns <= 1e-9).all()) and float(np.abs(turns).max()) > 1e-6
    centre = np.arctan2(flat[:, 1].mean(), flat[:, 0].mean())
    relative = (np.arctan2(flat[:, 1], flat[:, 0]) - centre + np.pi) % (2 * np.pi) - np.pi
    if (around and np.ptp(relative) > 2.0) or np.ptp(relative) > np.pi:
        return np.arange(n_columns)
    first = int(np.floor((np.pi - centre - relative.max()) / (2 * np.pi) * n_columns - 1))
    last = int(np.ceil((np.pi - centre - relative.min()) / (2 * np.pi) * n_columns + 1))
    return np.arange(first, min(last, first + n_columns - 1) + 1) % n_columns


def _measured(model: LidarModel, directions: Float, range_m: Float, facing: Float, rng: np.random.Generator) -> Float32:
    """Range noise, drop-outs (more at grazing incidence), intensity that falls with incidence and distance."""
    lost = rng.random(range_m.shape) < model.drop_out + 0.5 * np.clip(0.08 - facing, 0, 1) / 0.08
    lost |= (range_m < model.min_range_m) | (range_m > model.max_range_m)
    noisy = range_m + rng.normal(0, model.range_sigma_m, range_m.shape)
    intensity = 220 * facing / (1 + range_m / 25) * rng.uniform(0.8, 1.2, range_m.shape)
    cloud = np.concatenate([directions * noisy[..., None], intensity[..., None]], axis=-1)
    cloud[lost] = 0.0
    return cloud.reshape(-1, 4).astype(np.float32)
