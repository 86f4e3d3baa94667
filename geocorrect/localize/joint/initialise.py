"""Where the ray bundle adjustment starts: pose hypotheses from single anchors, from the pool, and from shared tracks.

A shared track is a query pixel that two or more anchors match: their known poses triangulate it without any depth, also
when all camera centres lie on one line (where pairwise epipolar constraints say nothing about scale).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.calibration.tracks import track_index
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize import pnp
from geocorrect.localize.joint.problem import Problem
from geocorrect.localize.joint.residuals import MAX_LOG_DISTANCE, MIN_LOG_DISTANCE, State, query_rays, residual_values
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import JointOptions, LocalizeOptions, pixel_scale

Float = NDArray[np.float64]
Int = NDArray[np.intp]

MIN_TRIANGULATION_RAD = 0.01
"""Rays that meet at a flatter angle give no usable distance at one pixel of noise."""
UNKNOWN_LOG_DISTANCE = float(np.log(15.0))
"""Start of a track that neither anchors nor depth place: across a street."""
DISTANCE_OFFSETS = (-0.35, 0.0, 0.35)
"""Log offsets tried about a depth-based track distance: the range of a depth network's scale errors."""


def choose_rows(observations: Sequence[Observations], limit: int, seed: int) -> list[Int]:
    """Up to `limit` rows per anchor: tracks seen by several anchors first, then those with depth, then at random.

    Of an anchor's matches with one query pixel a single one remains. A smaller limit chooses among a larger one's rows.
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
    points = [o.points_m - origin_m for o in observations]
    rays = np.concatenate([o.query_rays for o in observations])
    pnp_options = replace(
        options.pnp,
        min_iterations=options.joint.hypothesis_min_iterations,
        max_iterations=options.joint.hypothesis_iterations,
    )
    tight, wide = options.joint.single_px * scale, options.joint.pooled_px * scale

    def pose(query_rays: Float, points_m: Float, tolerance_px: float) -> Pose | None:
        robust = pnp.absolute_pose(query_rays, points_m, focal, tolerance_px, pnp_options, seed)
        return None if robust is None else robust.world_from_cam

    singles = [pose(o.query_rays, p, tight) for o, p in zip(observations, points, strict=True)]
    found = list(singles)
    if len(observations) > 1:
        found.append(pose(rays, np.concatenate(points), wide))
        found.append(pose(*triangulate_shared(observations, origin_m), tight))
    return [pose for pose in found if pose is not None], singles


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
        0.0,
        np.zeros(k),
        np.zeros((k, 3)),
        np.tile(np.eye(3), (k, 1, 1)),
        np.zeros(problem.n_tracks),
    )
    return with_distances(problem, state, sigma_px, options)


def with_distances(problem: Problem, state: State, sigma_px: float, options: JointOptions) -> State:
    """The state with each of the problem's tracks at the candidate distance that its observations like best."""
    candidates = _candidate_distances(problem, state)
    bounded = np.clip(np.nan_to_num(candidates, nan=UNKNOWN_LOG_DISTANCE), MIN_LOG_DISTANCE, MAX_LOG_DISTANCE)
    cost = np.where(np.isfinite(candidates), _track_cost(problem, state, bounded, sigma_px, options), np.inf)
    best = np.argmin(cost, axis=0)
    return replace(state, log_distance=np.take_along_axis(bounded, best[None], axis=0)[0])


def _candidate_distances(problem: Problem, state: State) -> Float:
    """(4, T) log distances: triangulated against the anchors, and from depth with offsets; nan where there is none."""
    directions = state.rotation @ query_rays(problem, state)
    world_ray = np.take(directions, problem.track, axis=1)
    seen = np.empty_like(problem.seen_ray)
    for n, rows in enumerate(problem.rows):
        seen[:, rows] = problem.rotations[n].T @ problem.seen_ray[:, rows]
    offset = np.take((problem.centres - state.centre).T, problem.anchor, axis=1)
    across = _cross(world_ray, seen)
    squared = (across**2).sum(axis=0)
    numerator = (_cross(offset, seen) * across).sum(axis=0)
    total = np.bincount(problem.track, squared, problem.n_tracks)
    along = np.bincount(problem.track, numerator, problem.n_tracks) / np.maximum(total, 1e-12)
    triangulated = np.where(
        (along > 0.3) & (total > MIN_TRIANGULATION_RAD**2 / 4), np.log(np.maximum(along, 0.3)), np.nan
    )

    reach_m = np.exp(problem.log_depth) / problem.seen_ray[2]
    distance = ((offset + seen * reach_m) * world_ray).sum(axis=0)
    known = np.isfinite(distance) & (distance > 0.3)
    count = np.bincount(problem.track[known], minlength=problem.n_tracks)
    logs = np.bincount(problem.track[known], np.log(distance[known]), problem.n_tracks)
    from_depth = np.where(count > 0, logs / np.maximum(count, 1), np.nan)
    return np.stack([triangulated, *(from_depth + step for step in DISTANCE_OFFSETS)])


def _cross(a: Float, b: Float) -> Float:
    """(3, M) × (3, M)."""
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _track_cost(problem: Problem, state: State, log_distance: Float, sigma_px: float, options: JointOptions) -> Float:
    """(C, T) robust cost of the observations of each track at candidate distances (C, T)."""
    pixel, off = residual_values(problem, state, log_distance)
    squared = (pixel**2).sum(axis=1) / (3 * sigma_px) ** 2
    cost = squared / (1 + squared)
    depth = problem.known_depth(off / np.maximum(problem.depth_sigma, 0.15))
    cost += 0.2 * depth**2 / (4 + depth**2)
    total: Float = (problem.by_track @ cost.T).T
    return total


def anchor_support(
    problem: Problem, state: State, sigma_px: float, options: JointOptions, counted: Float | None = None
) -> float:
    """Σ over anchors of s/(s + support_half), s = matches within 3 sigma; along epipolar lines only depth objects.

    counted: (K,) 0 for anchors that have no say.
    """
    pixel, depth = residual_values(problem, state, state.log_distance)
    squared = (pixel**2).sum(axis=0) / sigma_px**2
    support = np.bincount(problem.anchor, 1.0 / (1.0 + squared / 9.0) ** 2, problem.n_anchors)
    # A depth far outside its prior range is as bad as a pixel residual.
    off = np.abs(problem.known_depth(depth)) > 1.0
    support -= np.bincount(problem.anchor, off / (1.0 + squared / 9.0) ** 2, problem.n_anchors)
    share = support / (support + options.support_half)
    return float(share.sum() if counted is None else counted @ share)
