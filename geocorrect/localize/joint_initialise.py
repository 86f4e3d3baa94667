"""Where the ray bundle adjustment starts: pose hypotheses from single anchors, from the pool, and from shared tracks.

A shared track is a query pixel that two or more anchors match: their known poses triangulate it without any
depth, also when all camera centres lie on one line (where pairwise epipolar constraints say nothing about scale).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize import pnp
from geocorrect.localize.joint_problem import (
    MAX_LOG_DISTANCE,
    MIN_LOG_DISTANCE,
    Problem,
    State,
    query_rays,
    residual_values,
    track_index,
)
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import JointOptions, LocalizeOptions, pixel_scale

Float = NDArray[np.float64]
Int = NDArray[np.intp]

MIN_TRIANGULATION_RAD = 0.01
"""Rays that meet at a flatter angle give no usable distance at one pixel of noise."""
DISTANCE_OFFSETS = (-0.35, 0.0, 0.35)
"""Log offsets tried about a depth-based track distance: the error range of a depth network's scale."""


def choose_rows(observations: Sequence[Observations], limit: int, seed: int) -> list[Int]:
    """Up to `limit` rows per anchor: tracks seen by several anchors first, then those with depth, then at random.

    An anchor that matches one query pixel twice keeps one of the two.
    """
    rng = np.random.default_rng(seed)
    _, track = track_index(np.concatenate([o.query_px for o in observations]))
    shared = np.bincount(track)[track]
    rows, start = [], 0
    for o in observations:
        mine = slice(start, start + len(o))
        worth = np.minimum(shared[mine], 3) + 0.5 * o.has_depth + rng.random(len(o))
        order = np.argsort(-worth, kind="stable")
        _, once = np.unique(track[mine][order], return_index=True)
        rows.append(np.sort(order[np.sort(once)[:limit]]))
        start += len(o)
    return rows


def hypotheses(
    observations: Sequence[Observations], origin_m: Float, camera: Camera, options: LocalizeOptions, seed: int
) -> tuple[list[Pose], list[Pose | None]]:
    """(all hypotheses, the single-anchor ones by anchor), in the world shifted by origin_m."""
    focal, scale = focal_px(camera), pixel_scale(camera)
    rows = choose_rows(observations, options.joint.max_trial_matches, seed)
    observations = [o.subset(r) for o, r in zip(observations, rows, strict=True)]
    points = [o.points_m - origin_m for o in observations]
    rays = np.concatenate([o.query_rays for o in observations])
    pnp_options = replace(
        options.pnp,
        min_iterations=options.joint.hypothesis_min_iterations,
        max_iterations=options.joint.hypothesis_iterations,
    )
    tight, wide = options.joint.single_px * scale, options.joint.pooled_px * scale
    singles = [
        _pose(pnp.absolute_pose(o.query_rays, p, focal, tight, pnp_options, seed))
        for o, p in zip(observations, points, strict=True)
    ]
    found = list(singles)
    if len(observations) > 1:
        found.append(_pose(pnp.absolute_pose(rays, np.concatenate(points), focal, wide, pnp_options, seed)))
        track_rays, track_points = triangulate_shared(observations, origin_m)
        found.append(_pose(pnp.absolute_pose(track_rays, track_points, focal, tight, pnp_options, seed)))
    return [pose for pose in found if pose is not None], singles


def _pose(found: pnp.RobustPose | None) -> Pose | None:
    return None if found is None else found.world_from_cam


def triangulate_shared(observations: Sequence[Observations], origin_m: Float) -> tuple[Float, Float]:
    """(query rays (N, 3), world points (N, 3)) of the tracks that at least two anchors see under a usable angle."""
    first, track = track_index(np.concatenate([o.query_px for o in observations]))
    directions = np.concatenate([o.anchor_rays @ o.anchor.world_from_cam.rotation.as_matrix().T for o in observations])
    centres = np.concatenate(
        [np.tile(o.anchor.world_from_cam.translation_m - origin_m, (len(o), 1)) for o in observations]
    )
    projector = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    left = np.zeros((len(first), 3, 3))
    right = np.zeros((len(first), 3))
    np.add.at(left, track, projector)
    np.add.at(right, track, np.einsum("nij,nj->ni", projector, centres))
    # The smallest eigenvalue is about the squared angle between the rays: flat intersections are left out.
    spread = np.linalg.eigvalsh(left)[:, 0]
    good = spread > MIN_TRIANGULATION_RAD**2 / 2
    points = np.asarray(np.linalg.solve(left[good], right[good][:, :, None])[:, :, 0], np.float64)
    rays = np.concatenate([o.query_rays for o in observations])[first[good]]
    return rays, points


def start_state(problem: Problem, pose: Pose, sigma_px: float, options: JointOptions) -> State:
    """State at a pose hypothesis: each track at the candidate distance that its observations like best."""
    k = problem.n_anchors
    state = State(
        pose.rotation.as_matrix(),
        pose.translation_m,
        0.0,
        np.zeros(2),
        np.zeros(k),
        np.zeros((k, 3)),
        np.tile(np.eye(3), (k, 1, 1)),
        np.zeros(problem.n_tracks),
    )
    return with_distances(problem, state, sigma_px, options)


def with_distances(problem: Problem, state: State, sigma_px: float, options: JointOptions) -> State:
    """The state with each of the problem's tracks at the candidate distance that its observations like best."""
    best_cost = np.full(problem.n_tracks, np.inf)
    best = np.full(problem.n_tracks, np.log(15.0))
    for candidate in _candidate_distances(problem, state):
        bounded = np.clip(np.nan_to_num(candidate, nan=np.log(15.0)), MIN_LOG_DISTANCE, MAX_LOG_DISTANCE)
        cost = _track_cost(problem, replace(state, log_distance=bounded), sigma_px, options)
        better = (cost < best_cost) & np.isfinite(candidate)
        best_cost[better], best[better] = cost[better], bounded[better]
    return replace(state, log_distance=best)


def _candidate_distances(problem: Problem, state: State) -> list[Float]:
    """(T,) log distances: triangulated against the anchors, and from depth with offsets; nan where there is none."""
    directions = query_rays(problem, state) @ state.rotation.T
    world_ray = directions[problem.track]
    seen = np.einsum("nji,nj->ni", problem.rotations[problem.anchor], problem.seen_ray)
    offset = problem.centres[problem.anchor] - state.centre
    across = np.cross(world_ray, seen)
    squared = np.einsum("ni,ni->n", across, across)
    numerator = np.einsum("ni,ni->n", np.cross(offset, seen), across)
    total = np.bincount(problem.track, squared, problem.n_tracks)
    along = np.bincount(problem.track, numerator, problem.n_tracks) / np.maximum(total, 1e-12)
    triangulated = np.where(
        (along > 0.3) & (total > MIN_TRIANGULATION_RAD**2 / 4), np.log(np.maximum(along, 0.3)), np.nan
    )

    z = np.exp(problem.log_depth)
    points = problem.centres[problem.anchor] + seen * (z / problem.seen_ray[:, 2])[:, None]
    distance = np.einsum("ni,ni->n", points - state.centre, world_ray)
    known = np.isfinite(distance) & (distance > 0.3)
    count = np.bincount(problem.track[known], minlength=problem.n_tracks)
    logs = np.bincount(problem.track[known], np.log(distance[known]), problem.n_tracks)
    from_depth = np.where(count > 0, logs / np.maximum(count, 1), np.nan)
    return [triangulated, *(from_depth + step for step in DISTANCE_OFFSETS)]


def _track_cost(problem: Problem, state: State, sigma_px: float, options: JointOptions) -> Float:
    """(T,) robust cost of the observations of each track."""
    pixel, off = residual_values(problem, state)
    squared = np.einsum("ni,ni->n", pixel, pixel) / (3 * sigma_px) ** 2
    cost = squared / (1 + squared)
    depth = np.nan_to_num(off / np.maximum(problem.depth_sigma, 0.15))
    cost += 0.2 * depth**2 / (4 + depth**2)
    total: Float = np.bincount(problem.track, cost, problem.n_tracks).astype(np.float64)
    return total


def anchor_support(problem: Problem, state: State, sigma_px: float, options: JointOptions) -> float:
    """Σ over anchors of s/(s + support_half), s = matches within 3 sigma: along the epipolar line only depth
    could object.
    """
    pixel, depth = residual_values(problem, state)
    squared = np.einsum("ni,ni->n", pixel, pixel) / sigma_px**2
    support = np.bincount(problem.anchor, 1.0 / (1.0 + squared / 9.0) ** 2, problem.n_anchors)
    # A depth far outside its prior range is as bad as a pixel residual.
    off = np.abs(np.nan_to_num(depth)) > 1.0
    support -= np.bincount(problem.anchor, off / (1.0 + squared / 9.0) ** 2, problem.n_anchors)
    return float((support / (support + options.support_half)).sum())
