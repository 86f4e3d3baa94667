"""The measurement model of the joint georeference: where a click's ray meets the ground, on the map, with exact
derivatives.

A click's ray from the camera c along b is cut with the ground plane under its image, n·(p − base) = −(h + step): h is
the base's height, n the base's z axis, tilted by a small per-image error. A mark of known height that need not lie
on the ground is cut with its horizontal plane instead. The residual is that point on the map minus the clicked mark,
with pixel noise, map noise and height noise carried to it. Solving on the map rather than in the image keeps a wrong
mark that happens to lie near the camera from getting a huge tolerance. Perturbing on the world side as in
`anchors.alignment`, with q = s·R·p:   δ(q + t) = δt + δθ×q + q·δσ + s·R·δp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import point_jacobian
from geocorrect.geometry.similarity import Similarity
from geocorrect.geometry.so3 import skew
from geocorrect.georeference.problem import Float, Mask, Problem

N_COMMON = 8
"""Common unknowns: translation (3), rotation (3), log scale, base height; then (tilt, tilt, step) per image."""
TRANSLATION, ROTATION, LOG_SCALE, BASE_HEIGHT = slice(0, 3), slice(3, 6), 6, 7
UNKNOWN_VARIANCE = 1e12
MIN_FALL = 1e-3
MIN_SIGMA = 1e-9
FREE_HEIGHT_SIGMA_M = 10.0


@dataclass(frozen=True, eq=False)
class State:
    """The unknowns."""

    world_from_local: Similarity
    base_height_m: float
    ground: Float
    """(I, 3) per image: two tilts of the ground's normal (rad) and its step (m)."""

    def moved(self, step: Float) -> State:
        """The state after a step in the unknowns' order."""
        s, turn = self.world_from_local, Rotation.from_rotvec(step[ROTATION])
        scale = s.scale * float(np.exp(step[LOG_SCALE]))
        moved = Similarity(scale, turn * s.rotation, s.translation_m + step[TRANSLATION])
        ground = self.ground + step[N_COMMON:].reshape(-1, 3)
        return State(moved, self.base_height_m + float(step[BASE_HEIGHT]), ground)


class Geometry(NamedTuple):
    """Vehicle, camera and ray of every click, in the local frame."""

    px: Float
    """(N, 2) present estimate of the true pixel."""
    base_m: Float
    """(N, 3)."""
    axes: Float
    """(N, 3, 3) of the base, as rows: two in the ground plane, normal."""
    camera_m: Float
    """(N, 3)."""
    ray: Float
    """(N, 3) unit ray of the true pixel; nan where none reaches it."""
    ray_per_px: Float
    """(N, 3, 2) how the ray changes with the pixel."""


class Reached(NamedTuple):
    """Where the rays meet the ground, in the local frame."""

    point_m: Float
    """(N, 3)."""
    reach_m: Float
    """(N,) how far along the ray."""
    fall: Float
    """(N,) of the unit ray towards the plane."""
    normal: Float
    """(N, 3) of the plane."""


class Residuals(NamedTuple):
    """Clicks against marks on the map; rows of clicks out of view are zero."""

    residual: Float
    """(N, 3) m east, north, up; 0 where a height says nothing."""
    jacobian: Float
    """(N, 3, P)."""
    covariance: Float
    """(N, 3, 3); variance UNKNOWN_VARIANCE where a height says nothing."""
    visible: Mask
    """(N,)."""
    per_px: Float
    """(N, 3, 2) change with the true pixel."""
    d2: Float
    """(N,) squared Mahalanobis distance of the present true pixel from click and mark together, never below the
    smallest possible one; inf out of view."""


def geometry_of(problem: Problem, px: Float | None = None) -> Geometry:
    """Poses and rays of the clicks; px: (N, 2) true pixels, the clicked ones by default."""
    px = problem.px if px is None else px
    base_m, axes, camera_m, turn = problem.poses
    steps = np.array([[0.0, 0.0], [0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    rays = np.full((5, len(problem), 3), np.nan)
    camera_of = np.array([problem.cameras.index(image.camera) for image in problem.images])[problem.image_index]
    for number, camera in enumerate(problem.cameras):
        own = camera_of == number
        rays[:, own] = camera.unproject((px[own] + steps[:, None]).reshape(-1, 2)).reshape(5, -1, 3)
    rays = np.einsum("nij,knj->kni", turn, rays)
    return Geometry(px, base_m, axes, camera_m, rays[0], np.stack([rays[1] - rays[2], rays[3] - rays[4]], axis=2))


def reach(problem: Problem, geometry: Geometry, state: State) -> Reached:
    """Where every click's ray meets its plane; nan where it does not (above the horizon)."""
    ground = state.ground[problem.image_index]
    normal = geometry.axes[:, 2] + ground[:, :1] * geometry.axes[:, 0] + ground[:, 1:2] * geometry.axes[:, 1]
    above = np.einsum("ij,ij->i", normal, geometry.camera_m - geometry.base_m) + state.base_height_m + ground[:, 2]
    level = ~problem.on_ground
    if level.any():
        s = state.world_from_local
        vertical = s.rotation.as_matrix()[2]
        up = s.scale * geometry.camera_m @ vertical + s.translation_m[2]
        normal = np.where(level[:, None], vertical, normal)
        above = np.where(level, (up - problem.target_m[:, 2]) / s.scale, above)
    fall = np.einsum("ij,ij->i", normal, geometry.ray)
    ahead = (fall * above < 0) & (np.abs(fall) > MIN_FALL)
    along = np.full(len(problem), np.nan)
    along[ahead] = -above[ahead] / fall[ahead]
    return Reached(geometry.camera_m + along[:, None] * geometry.ray, along, fall, normal)


def evaluate(problem: Problem, geometry: Geometry, state: State) -> Residuals:
    """Residuals on the map with their derivatives and noise."""
    met = reach(problem, geometry, state)
    visible = ~np.isnan(met.point_m[:, 0])
    point = np.where(visible[:, None], met.point_m, geometry.camera_m)
    s = state.world_from_local
    turn = s.scale * s.rotation.as_matrix()
    q = point @ turn.T
    has_height = problem.on_ground_height
    residual = q + s.translation_m - problem.target_m
    residual[~has_height, 2] = 0.0
    jacobian = _jacobian(problem, geometry, state, met, q)
    jacobian[~has_height, 2] = 0.0
    map_noise, per_px = _map_noise(problem, geometry, turn), _per_px(geometry, met, turn)
    off_px = problem.px - geometry.px
    solved = np.linalg.solve(map_noise, residual[:, :, None])[:, :, 0]
    d2 = np.einsum("ni,ni->n", residual, solved) + np.sum(off_px**2, axis=1) / problem.sigma_px**2
    used_per_px = per_px.copy()
    used_per_px[~has_height, 2] = 0.0
    residual = residual + np.einsum("nij,nj->ni", used_per_px, off_px)
    pixel_noise = problem.sigma_px[:, None, None] ** 2 * used_per_px @ used_per_px.transpose(0, 2, 1)
    return Residuals(
        np.where(visible[:, None], residual, 0.0),
        np.where(visible[:, None, None], jacobian, 0.0),
        np.where(visible[:, None, None], map_noise + pixel_noise, np.eye(3)),
        visible,
        np.where(visible[:, None, None], per_px, 0.0),
        np.where(visible, d2, np.inf),
    )


def prior(problem: Problem, state: State) -> tuple[Float, Float]:
    """Whitened residuals (K,) and jacobian (K, P) of what is known before any click."""
    priors, s = problem.priors, state.world_from_local
    up = s.rotation.apply(problem.up_local)
    unit = np.eye(N_COMMON + state.ground.size)
    lean = np.zeros((3, len(unit)))
    lean[:, ROTATION] = -skew(up)
    tilt_sigma, ground_tilt_sigma = np.radians([priors.tilt_sigma_deg, priors.ground_tilt_sigma_deg])
    known = [
        (up[0], lean[0], tilt_sigma),
        (up[1], lean[1], tilt_sigma),
        (np.log(s.scale), unit[LOG_SCALE], priors.scale_sigma),
        (state.base_height_m - priors.base_height_m, unit[BASE_HEIGHT], priors.base_height_sigma_m),
    ]
    if not problem.height_known.any():
        known.append((s.translation_m[2], unit[2], FREE_HEIGHT_SIGMA_M))
    ground_sigma = np.tile([ground_tilt_sigma, ground_tilt_sigma, priors.ground_step_sigma_m], len(state.ground))
    known += zip(state.ground.ravel(), unit[N_COMMON:], ground_sigma, strict=True)
    value, rows, sigma = (np.array(column) for column in zip(*known, strict=True))
    sigma = np.maximum(sigma, MIN_SIGMA)
    return value / sigma, rows / sigma[:, None]


def relaxed(problem: Problem, geometry: Geometry, state: State) -> Geometry:
    """The true pixels moved to where click and mark together want them; those that would leave the ground stay."""
    found = evaluate(problem, geometry, state)
    pull = np.linalg.solve(found.covariance, found.residual[:, :, None])
    moved_px = problem.px - problem.sigma_px[:, None] ** 2 * (found.per_px.transpose(0, 2, 1) @ pull)[:, :, 0]
    trial = geometry_of(problem, np.where(found.visible[:, None], moved_px, geometry.px))
    kept = np.isfinite(reach(problem, trial, state).reach_m) | ~found.visible
    if kept.all():
        return trial
    return geometry_of(problem, np.where(kept[:, None], trial.px, geometry.px))


def _jacobian(problem: Problem, geometry: Geometry, state: State, met: Reached, q: Float) -> Float:
    """(N, 3, P) derivative of the point on the map with every unknown."""
    s = state.world_from_local
    result = np.zeros((len(problem), 3, N_COMMON + 3 * len(problem.images)))
    result[:, :, :BASE_HEIGHT] = point_jacobian(q)
    ray = s.scale * geometry.ray @ s.rotation.as_matrix().T
    along_ray = -ray / met.fall[:, None]
    ground, level = problem.on_ground, ~problem.on_ground
    result[ground, :, BASE_HEIGHT] = along_ray[ground]
    offset = np.where(np.isfinite(met.point_m), met.point_m, 0.0) - geometry.base_m
    rows, first = np.flatnonzero(ground), (N_COMMON + 3 * problem.image_index)[ground]
    for k in (0, 1):
        tilt = np.einsum("ij,ij->i", geometry.axes[:, k], offset)
        result[rows, :, first + k] = (along_ray * tilt[:, None])[ground]
    result[rows, :, first + 2] = along_ray[ground]
    # a mark's point must keep its height: slide along the ray by what the others would lift it
    lift = result[level, 2, :]
    result[level] -= (ray[level] / ray[level, 2:])[:, :, None] * lift[:, None, :]
    return result


def _per_px(geometry: Geometry, met: Reached, turn: Float) -> Float:
    """(N, 3, 2) how the point on the map moves with the pixel."""
    slide = np.einsum("ij,ijk->ik", met.normal, geometry.ray_per_px) / met.fall[:, None]
    along = np.nan_to_num(met.reach_m)[:, None, None]
    moved: Float = turn @ np.nan_to_num(along * (geometry.ray_per_px - geometry.ray[:, :, None] * slide[:, None, :]))
    return moved


def _map_noise(problem: Problem, geometry: Geometry, turn: Float) -> Float:
    """(N, 3, 3) noise of the mark: its place on the map, and its height where that matters."""
    covariance = np.zeros((len(problem), 3, 3))
    covariance[:, 0, 0] = covariance[:, 1, 1] = problem.sigma_map_m**2
    covariance[:, 2, 2] = np.where(problem.on_ground_height, problem.sigma_height_m**2, UNKNOWN_VARIANCE)
    level = ~problem.on_ground
    ray = geometry.ray[level] @ turn.T
    shift = np.nan_to_num(ray[:, :2] / ray[:, 2:])
    covariance[level, :2, :2] += problem.sigma_height_m[level, None, None] ** 2 * shift[:, :, None] * shift[:, None, :]
    return covariance


def marks_in_images(problem: Problem, geometry: Geometry, state: State) -> Float:
    """(N, 2) pixels where the map marks should appear, nan out of view: for the report, not for the solution."""
    s = state.world_from_local
    vertical = s.rotation.as_matrix()[2] / s.scale
    known = problem.height_known
    target = np.where(known[:, None], problem.target_m, np.nan_to_num(problem.target_m * [1.0, 1.0, 0.0]))
    foot = (target - s.translation_m) @ s.rotation.as_matrix() / s.scale
    normal = reach(problem, geometry, state).normal
    ground = state.base_height_m + state.ground[problem.image_index, 2]
    up = -(ground + np.einsum("ij,ij->i", normal, foot - geometry.base_m)) / (normal @ vertical)
    local = foot + np.where(known, 0.0, up)[:, None] * vertical
    px = np.full((len(problem), 2), np.nan)
    for number, image in enumerate(problem.images):
        own = problem.image_index == number
        if own.any():
            px[own], _ = image.camera.project(image.local_from_cam.inverse().apply(local[own]))
    return px


def plan_shift_m(first: Similarity, second: Similarity, local_m: Float) -> float:
    """Largest plan distance between where two alignments put local points (K, 3), metres."""
    return float(np.linalg.norm((first.apply(local_m) - second.apply(local_m))[:, :2], axis=1).max())
