"""A second pose close by, on which most of what the first one leaves over agrees: a street behind slow traffic.

Mismatches are off in all directions. Where vehicles at a small part of the anchors' pace have more matches than the
street, or a lens that was found has reconciled the two, what is off is off alike: a pose some centimetres away explains
it to the noise of the matches. Which of the two scenes stands still, their number does not tell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize.joint.initialise import with_distances
from geocorrect.localize.joint.lens import estimated_camera
from geocorrect.localize.joint.problem import Int, build_problem
from geocorrect.localize.joint.settle import Joint, Settled
from geocorrect.localize.joint.solve import Solved, minimise, resume
from geocorrect.localize.observations import focal_px
from geocorrect.localize.verify import sampson_rad

Float = NDArray[np.float64]

MIN_NOISE = 0.1
"""Least noise of the matches, in expected ones (0.13 px at 512 px): a drawn vehicle is matched to less."""
LEFT_OVER, EXPLAINED = 8.0, 2.5
"""Residual in noises from which a match is left over, and up to which another pose explains it."""
FARTHEST = 30.0
"""In expected noises (39 px at 512 px): what is off by more is a mismatch, or somewhere else (`second_place`)."""
MIN_EXPLAINED = 12
"""Fewer agree by chance: a pose has six unknowns. Clean photos of KITTI raw 0002: 11 of 21 left over, once."""
DOUBTED_SHARE, MOTION_SHARE = 0.4, 0.5
"""Of the matches left over: explained after a few iterations, for more of them to be made; and in the end, for a second
motion. KITTI raw 0002, SIFT: at most 0.46 in clean photos, at least 0.53 where traffic had put the photo off."""


def close_motion(joint: Joint, settled: Settled) -> Float:
    """(6, 6) to be added to the pose's covariance for a second pose close by; zero where there is none.

    Both poses are equally likely. Few matches tell how far the second one is, and hardly in which direction: half the
    square of the distance, and of the angle, is added on all axes.
    """
    solved, options = settled.solved, joint.options.joint
    noise_px = _noise_px(joint, solved)
    rows = _left_over(joint, solved, LEFT_OVER * noise_px, FARTHEST * joint.sigma_px)
    none = np.zeros((6, 6))
    if sum(len(own) for own in rows) < MIN_EXPLAINED:
        return none
    problem = build_problem(joint.observations, rows, joint.camera, joint.origin_m)
    start = replace(solved.state, log_distance=np.zeros(problem.n_tracks))
    start = with_distances(problem, start, 3 * solved.sigma_px, options)
    few = replace(options, iterations_per_level=1)
    other = minimise(problem, start, settled.prior, noise_px, few, solved.active)
    if _explained(other, noise_px).mean() < DOUBTED_SHARE:
        return none
    other = resume(problem, other.state, settled.prior, other, options)
    explained = _explained(other, noise_px)
    shift = other.state.world_from_query.minus(settled.refined.state.world_from_query)
    distance_m, angle_rad = np.linalg.norm(shift[:3]), np.linalg.norm(shift[3:])
    is_one = explained.sum() >= MIN_EXPLAINED and explained.mean() >= MOTION_SHARE
    if not is_one or distance_m > joint.options.gate.distant_m:
        return none
    return np.diag([distance_m**2 / 2] * 3 + [angle_rad**2 / 2] * 3)


def _explained(other: Solved, noise_px: float) -> NDArray[np.bool_]:
    return np.asarray(np.linalg.norm(other.at.pixel, axis=0) < EXPLAINED * noise_px)


def _noise_px(joint: Joint, solved: Solved) -> float:
    """Noise of the matches without the lower limit that the solver keeps to, from tracks in two anchors or more.

    Infinite where there are few of them: one anchor's distances follow its matches.
    """
    problem = joint.problem
    several = problem.shared[problem.track]
    inner_px = np.linalg.norm(solved.at.pixel[:, solved.inliers & several], axis=0)
    if len(inner_px) < MIN_EXPLAINED:
        return np.inf
    # The median length of a residual is 1.18 σ, and a distance took one of the four parts of two.
    return max(float(np.median(inner_px)), MIN_NOISE * joint.sigma_px)


def _left_over(joint: Joint, solved: Solved, least_px: float, most_px: float) -> list[Int]:
    """Rows of each anchor's observations that are off by so much; of others, across epipolar lines."""
    problem, state = joint.problem, solved.state
    off_px = np.linalg.norm(solved.at.pixel, axis=0)
    camera = estimated_camera(joint.camera, state)
    found = []
    for n, (o, own) in enumerate(zip(joint.observations, problem.rows, strict=True)):
        distance_px = np.full(len(o), np.nan)
        distance_px[problem.source[own]] = off_px[own]
        others = np.isnan(distance_px)
        if others.any():
            turned = state.turn[n] @ problem.rotations[n]
            centre = problem.centres[n] - turned.T @ state.move[n]
            distance_px[others] = focal_px(o.anchor.camera) * sampson_rad(
                unit_rays(camera, o.query_px[others]),
                o.anchor_rays[others],
                (turned @ state.rotation).T,
                state.rotation.T @ (centre - state.centre),
            )
        is_off = (distance_px > least_px) & (distance_px < most_px) & (solved.active[n] > 0)
        found.append(np.flatnonzero(is_off))
    return found
