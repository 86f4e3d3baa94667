"""Starting points for the joint solution: every pair of clicks proposes a rotation and a shift, all clicks vote.

Two ground marks in two images fix yaw and translation of a trajectory of known scale. All pairs (or a fixed sample of
them) are tried for several heights of the base; the best proposals that differ from one another are refined, so that a
wrong basin is compared with the right one instead of being fallen into.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.similarity import Similarity
from geocorrect.georeference.joint.model import Geometry, State, plan_shift_m, reach
from geocorrect.georeference.joint.refine import INLIER_D2
from geocorrect.georeference.problem import Float, Index, Problem

MAX_PAIRS = 4000
HEIGHT_STEPS = (0.0, -1.0, 1.0, -2.0, 2.0)
HEIGHT_SPACING_M = 0.25
MIN_PAIR_DISTANCE_M = 3.0
DISTINCT_M = 1.0


def starts(problem: Problem, geometry: Geometry, count: int = 6, seed: int = 0) -> list[State]:
    """The best `count` distinct proposals, best first; empty when no two clicks see the ground apart."""
    level = level_rotation(problem.up_local)
    spacing_m = min(HEIGHT_SPACING_M, problem.priors.base_height_sigma_m)
    proposals: list[tuple[float, float, State]] = []
    for height_step in HEIGHT_STEPS:
        base_height_m = problem.priors.base_height_m + height_step * spacing_m
        proposals += _proposals(problem, geometry, level, base_height_m, seed)
    proposals.sort(key=lambda proposal: proposal[:2])
    chosen: list[State] = []
    for _, _, state in proposals:
        places = [other.world_from_local for other in chosen]
        if all(plan_shift_m(state.world_from_local, place, geometry.camera_m) > DISTINCT_M for place in places):
            chosen.append(state)
        if len(chosen) == count:
            break
    return chosen


def level_rotation(up_local: Float) -> Rotation:
    """The smallest rotation that makes the local vertical vertical."""
    axis = np.cross(up_local, [0.0, 0.0, 1.0])
    sine = float(np.linalg.norm(axis))
    if sine < 1e-12:
        return Rotation.identity()
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, up_local[2]))


def _proposals(
    problem: Problem, geometry: Geometry, level: Rotation, base_height_m: float, seed: int
) -> list[tuple[float, float, State]]:
    """(score, base height deviation, state) of every consistent pair at one base height."""
    unplaced = State(Similarity.identity(), base_height_m, np.zeros((len(problem.images), 3)))
    points = level.apply(reach(replace(problem, on_ground=np.ones(len(problem), bool)), geometry, unplaced).point_m)
    usable = np.isfinite(points).all(axis=1)
    if usable.sum() < 2:
        return []
    noise = _plan_noise_m(problem, geometry, points, base_height_m)
    plan, target = points[:, :2], problem.target_m[:, :2]
    first, second = _pairs(np.flatnonzero(usable), seed)
    local, world = plan[second] - plan[first], target[second] - target[first]
    length_local, length_world = np.linalg.norm(local, axis=1), np.linalg.norm(world, axis=1)
    slack = 3.0 * np.hypot(noise[first], noise[second]) + 0.01 * length_world
    fits = (np.abs(length_local - length_world) < slack) & (length_world > MIN_PAIR_DISTANCE_M)
    if not fits.any():
        return []
    first, second = first[fits], second[fits]
    yaw = np.arctan2(world[fits, 1], world[fits, 0]) - np.arctan2(local[fits, 1], local[fits, 0])
    turn = np.stack([np.cos(yaw), -np.sin(yaw), np.sin(yaw), np.cos(yaw)], axis=1).reshape(-1, 2, 2)
    middle = 0.5 * (plan[first] + plan[second])
    shift = 0.5 * (target[first] + target[second]) - np.einsum("kij,kj->ki", turn, middle)
    moved = np.einsum("kij,nj->kni", turn, plan[usable]) + shift[:, None]
    d2 = np.sum((moved - target[usable]) ** 2, axis=2) / noise[usable] ** 2
    score = np.minimum(d2, INLIER_D2).sum(axis=1)
    best = np.argsort(score, kind="stable")[:40]
    known = problem.height_known
    up = float(np.median(problem.target_m[known, 2])) if known.any() else 0.0
    lift = up - float(np.median(points[usable, 2]))
    deviation_m = abs(base_height_m - problem.priors.base_height_m)
    proposals = []
    for k in best:
        rotation = Rotation.from_rotvec([0.0, 0.0, yaw[k]]) * level
        placed = Similarity(1.0, rotation, np.append(shift[k], lift))
        proposals.append((float(score[k]), deviation_m, replace(unplaced, world_from_local=placed)))
    return proposals


def _pairs(usable: Index, seed: int) -> tuple[Index, Index]:
    first, second = np.triu_indices(len(usable), 1)
    if len(first) > MAX_PAIRS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(first), MAX_PAIRS, replace=False))
        first, second = first[chosen], second[chosen]
    return usable[first], usable[second]


def _plan_noise_m(problem: Problem, geometry: Geometry, points: Float, base_height_m: float) -> Float:
    """(N,) rough 1-sigma error of a click's ground point against the map: map, pixel and ground tilt at that range."""
    range_m = np.linalg.norm(points - level_rotation(problem.up_local).apply(geometry.camera_m), axis=1)
    focal = np.array([image.camera.focal_y_px for image in problem.images])[problem.image_index]
    tilt = np.hypot(problem.sigma_px / focal, np.radians(problem.priors.ground_tilt_sigma_deg))
    along = range_m**2 / max(base_height_m - 0.5, 0.5) * tilt
    noise: Float = np.hypot(problem.sigma_map_m, along)
    return noise
