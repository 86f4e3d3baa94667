"""A LiDAR in the synthetic world: one ray per beam and column, and what a real sensor adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.surfaces import Scene
from geocorrect.demo.render.visibility import SKY, inside
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
    corners = scene.corners_in(world_from_lidar)
    inverse_range = np.full(directions.shape[:2], 1 / model.max_range_m)
    index = np.full(directions.shape[:2], SKY)
    x, y, z = np.ascontiguousarray(np.moveaxis(directions, -1, 0))
    rows, (first, last) = _rows(corners, model), _columns(corners, model.columns)
    range_m = _least_range_m(corners)
    candidates = np.flatnonzero(forms.any(axis=(1, 2)) & (range_m < model.max_range_m) & (rows[0] < rows[1]))
    for quad in candidates[np.argsort(range_m[candidates], kind="stable")]:
        m, height = forms[quad], slice(*rows[:, quad])
        for columns in _unwrapped(first[quad], last[quad], model.columns):
            window = height, columns
            before = inverse_range[window]
            if before.min() * range_m[quad] > 1:  # all of it is hidden
                continue
            inverse = m[2, 0] * x[window] + m[2, 1] * y[window] + m[2, 2] * z[window]
            hit = inverse > before
            if not hit.any():
                continue
            u, v = (m[k, 0] * x[window] + m[k, 1] * y[window] + m[k, 2] * z[window] for k in (0, 1))
            hit &= inside(u, v, inverse, scene.cut[quad])
            np.copyto(before, inverse, where=hit)
            np.copyto(index[window], quad, where=hit)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    facing = np.where(index == SKY, 0.0, np.einsum("rck,rck->rc", directions, normals[index]))
    range_m = np.where(index == SKY, 0.0, 1 / inverse_range)
    return _measured(model, directions, range_m, facing, np.random.default_rng(seed))


def _least_range_m(corners: Float) -> Float:
    """(Q,) a distance from the sensor that no point of a quad (Q, 4, 3) falls below: of its plane, of its sphere."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
    plane_m = np.abs(np.einsum("qk,qk->q", normals, corners[:, 0])) / np.linalg.norm(normals, axis=1)
    centre = corners.mean(axis=1)
    radius_m = np.linalg.norm(corners - centre[:, None], axis=2).max(axis=1)
    return np.asarray((1 - 1e-6) * np.maximum(plane_m, np.linalg.norm(centre, axis=1) - radius_m))


def _rows(corners: Float, model: LidarModel) -> NDArray[np.int64]:
    """(2, Q) first and last + 1 beam that may meet each quad (Q, 4, 3), from the levels between which it lies."""
    start, along_edge = corners[..., :2], np.roll(corners[..., :2], -1, axis=1) - corners[..., :2]
    length2 = np.maximum((along_edge**2).sum(axis=-1), 1e-12)
    share = np.clip(-(start * along_edge).sum(axis=-1) / length2, 0, 1)
    near_m = np.linalg.norm(start + share[..., None] * along_edge, axis=-1).min(axis=1)
    near_m[_turns_around(corners)] = 0.0
    far_m = np.linalg.norm(start, axis=-1).max(axis=1)
    top, bottom = corners[..., 2].max(axis=1), corners[..., 2].min(axis=1)
    highest = np.degrees(np.arctan2(top, np.where(top > 0, near_m, far_m)))
    lowest = np.degrees(np.arctan2(bottom, np.where(bottom < 0, near_m, far_m)))
    per_beam_deg = 2 * model.half_field_deg / (model.beams - 1)
    first = np.floor((model.half_field_deg - highest) / per_beam_deg - 0.01)
    last = np.ceil((model.half_field_deg - lowest) / per_beam_deg + 0.01)
    return np.asarray(np.clip([first, last + 1], 0, model.beams), np.int64)


def _turns_around(corners: Float) -> NDArray[np.bool_]:
    """(Q,) whether a quad passes over or under the sensor."""
    flat = corners[..., :2]
    following = np.roll(flat, -1, axis=1)
    turns = flat[..., 0] * following[..., 1] - flat[..., 1] * following[..., 0]
    one_way = (turns >= -1e-9).all(axis=1) | (turns <= 1e-9).all(axis=1)
    return np.asarray(one_way & (np.abs(turns).max(axis=1) > 1e-6))


def _columns(corners: Float, n_columns: int) -> NDArray[np.int64]:
    """(2, Q) first and last column that may meet each quad (Q, 4, 3): all between its extreme azimuths.

    The first may be negative and the last too large: columns go around. All columns where it passes over or under the
    sensor.
    """
    flat = corners[..., :2]
    centre = np.arctan2(flat[..., 1].mean(axis=1), flat[..., 0].mean(axis=1))
    relative = (np.arctan2(flat[..., 1], flat[..., 0]) - centre[:, None] + np.pi) % (2 * np.pi) - np.pi
    leftmost, rightmost = relative.max(axis=1), relative.min(axis=1)
    width = leftmost - rightmost
    everywhere = (_turns_around(corners) & (width > 2.0)) | (width > np.pi)
    first = np.floor((np.pi - centre - leftmost) / (2 * np.pi) * n_columns - 1)
    last = np.ceil((np.pi - centre - rightmost) / (2 * np.pi) * n_columns + 1)
    return np.where(everywhere, [[0], [n_columns - 1]], [first, last]).astype(np.int64)


def _unwrapped(first: int, last: int, n_columns: int) -> list[slice]:
    """Columns first…last as slices of 0…n_columns − 1: two where they go over the seam."""
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
