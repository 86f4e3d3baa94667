"""Levenberg–Marquardt with the track distances eliminated (Schur complement of 1×1 blocks) and graduated
robust weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.joint_problem import (
    GLOBAL,
    PER_ANCHOR,
    Linearised,
    Problem,
    State,
    residuals,
)
from geocorrect.localize.options import JointOptions

Float = NDArray[np.float64]

OWN = slice(GLOBAL, GLOBAL + PER_ANCHOR)
"""Columns of an observation's own anchor in `design`."""
LAMBDA = GLOBAL + PER_ANCHOR
"""Column of the track's log distance in `design`."""
WIDTH = LAMBDA + 1


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of the squared residuals: pixel (M,) 1/px²; depth (M,) per log depth², 0 where unknown.
    support: (M,) 0…1.
    """

    pixel: Float
    depth: Float
    support: Float


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """H (D, D), b (D,), coupling W (T, D), track information h (T,), track gradient g (T,)."""

    information: Float
    gradient: Float
    coupling: Float
    track_information: Float
    track_gradient: Float


def robust_weights(
    problem: Problem, at: Linearised, sigma_px: float, inflation: float, active: Float, options: JointOptions
) -> Weights:
    """Geman–McClure on pixels; Cauchy on depth, times the pixel support so that a mismatch brings no depth.

    active: (K,) 0…1 switches of the anchors.
    """
    gamma2 = (options.robust_px * inflation) ** 2
    squared = np.einsum("ni,ni->n", at.pixel, at.pixel) / sigma_px**2
    support = (gamma2 / (gamma2 + squared)) ** 2 * active[problem.anchor] * at.ahead
    known = np.isfinite(at.depth)
    sigma = np.nan_to_num(problem.depth_sigma, nan=1.0) * problem.depth_inflation
    ratio = np.where(known, np.nan_to_num(at.depth) / sigma, 0.0)
    depth = np.zeros_like(ratio)
    depth[known] = support[known] / (1 + ratio[known] ** 2 / (options.robust_depth * inflation) ** 2)
    depth[known] /= sigma[known] ** 2
    return Weights(support / sigma_px**2, depth, support)


def normal_equations(
    problem: Problem, state: State, at: Linearised, weights: Weights, prior_information: Float
) -> NormalEquations:
    """The weighted normal equations; prior_information (D,) pulls deviations to zero."""
    return assemble(problem, state, whiten(problem, state, at, weights), prior_information)


def whiten(problem: Problem, state: State, at: Linearised, weights: Weights) -> Float:
    """(M, 3, WIDTH + 1) `design` with the residual as last column, each row times the root of its weight."""
    whitened = np.empty((len(problem.track), 3, WIDTH + 1))
    whitened[:, :, :WIDTH] = design(problem, state, at)
    whitened[:, :2, WIDTH] = at.pixel
    whitened[:, 2, WIDTH] = np.nan_to_num(at.depth)
    whitened[:, :2] *= np.sqrt(weights.pixel)[:, None, None]
    whitened[:, 2] *= np.sqrt(weights.depth)[:, None]
    return whitened


def assemble(problem: Problem, state: State, whitened: Float, prior_information: Float) -> NormalEquations:
    """Normal equations of whitened rows and priors, anchor by anchor."""
    size = GLOBAL + PER_ANCHOR * problem.n_anchors
    information = np.diag(prior_information)
    gradient = -prior_information * state.deviations()
    expected, by_pose = problem.pose_prior.rows(state.rotation, state.centre)
    information[:6, :6] += by_pose.T @ by_pose
    gradient[:6] -= by_pose.T @ expected
    by_distance = np.einsum("nij,ni->nj", whitened, whitened[:, :, LAMBDA])
    coupling = np.zeros((problem.n_tracks, size))
    coupling[:, :GLOBAL] = problem.by_track @ by_distance[:, :GLOBAL]
    for n in range(problem.n_anchors):
        rows = slice(problem.starts[n], problem.starts[n + 1])
        flat = whitened[rows].reshape(-1, WIDTH + 1)
        products = flat.T @ flat
        mine = slice(GLOBAL + PER_ANCHOR * n, GLOBAL + PER_ANCHOR * (n + 1))
        information[:GLOBAL, :GLOBAL] += products[:GLOBAL, :GLOBAL]
        information[mine, mine] += products[OWN, OWN]
        information[:GLOBAL, mine] = products[:GLOBAL, OWN]
        information[mine, :GLOBAL] = products[OWN, :GLOBAL]
        gradient[:GLOBAL] -= products[:GLOBAL, WIDTH]
        gradient[mine] -= products[OWN, WIDTH]
        coupling[problem.track[rows], mine] = by_distance[rows, OWN]
    track_sums = problem.by_track @ by_distance[:, LAMBDA:]
    return NormalEquations(information, gradient, coupling, 1e-6 + track_sums[:, 0], -track_sums[:, 1])


def design(problem: Problem, state: State, at: Linearised) -> Float:
    """(M, 3, 17) derivatives of (u, v, log depth): by the globals [0:9], by the own anchor [9:16], by λ [16]."""
    block = np.empty((len(problem.track), 3, WIDTH))
    by_world = np.empty_like(at.by_point)
    for n, turned in enumerate(state.turn @ problem.rotations):
        rows = slice(problem.starts[n], problem.starts[n + 1])
        np.dot(at.by_point[rows].reshape(-1, 3), turned, out=by_world[rows].reshape(-1, 3))
    ray = at.ray_world[problem.track]
    block[:, :, 0:3] = by_world
    _cross(ray, by_world, block[:, :, 3:6])
    # The query ray's own derivatives, in the world and at the track's distance.
    by_lens = np.empty((problem.n_tracks, 3, 3))
    by_lens[:, :, 0] = problem.d_focal + state.focal * problem.dd_focal
    by_lens[:, :, 1:] = problem.d_principal
    turned_lens = np.exp(state.log_distance)[:, None, None] * np.einsum("ij,njk->nik", state.rotation, by_lens)
    np.einsum("nij,njk->nik", by_world, turned_lens[problem.track], out=block[:, :, 6:9])
    block[:, :, GLOBAL] = [0.0, 0.0, -1.0]
    block[:, :, 10:13] = at.by_point
    # Y = Exp(ω) T X + v: the lever arm of ω is the point before the move.
    _cross(at.point - state.move[problem.anchor], at.by_point, block[:, :, 13:16])
    np.einsum("nij,nj->ni", by_world, ray, out=block[:, :, LAMBDA])
    return block


def _cross(lever: Float, rows: Float, out: Float) -> None:
    """Row by row, lever (M, 3) × each of the rows (M, 3, 3), into out (M, 3, 3)."""
    x, y, z = lever[:, 0, None], lever[:, 1, None], lever[:, 2, None]
    a, b, c = rows[:, :, 0], rows[:, :, 1], rows[:, :, 2]
    out[:, :, 0] = y * c - z * b
    out[:, :, 1] = z * a - x * c
    out[:, :, 2] = x * b - y * a


def reduce_tracks(system: NormalEquations, damping: float) -> tuple[Float, Float]:
    """(H, b) with the λ eliminated; damping multiplies both diagonals (Levenberg–Marquardt)."""
    root = np.sqrt(1.0 / (system.track_information * (1 + damping) + 1e-9))
    scaled = system.coupling * root[:, None]
    information = system.information - scaled.T @ scaled
    information[np.diag_indices_from(information)] += damping * np.diag(system.information) + 1e-12
    return information, system.gradient - scaled.T @ (root * system.track_gradient)


def solve_step(system: NormalEquations, damping: float) -> tuple[Float, Float]:
    """Step of the shared unknowns (D,) and of the λ (T,)."""
    information, gradient = reduce_tracks(system, damping)
    shared = np.asarray(np.linalg.solve(information, gradient), np.float64)
    along: Float = (system.track_gradient - system.coupling @ shared) / (
        system.track_information * (1 + damping) + 1e-9
    )
    bounded: Float = np.clip(along, -1.0, 1.0)
    return shared, bounded


def weighted_cost(problem: Problem, state: State, at: Linearised, weights: Weights, prior: Float) -> float:
    """The quadratic that a step must lower, with the weights held fixed (majoriser of the robust cost)."""
    deviations = state.deviations()
    pixel = weights.pixel @ np.einsum("ni,ni->n", at.pixel, at.pixel)
    expected, _ = problem.pose_prior.rows(state.rotation, state.centre)
    depth = weights.depth @ np.nan_to_num(at.depth) ** 2
    return float(pixel + depth + prior @ deviations**2 + expected @ expected)


@dataclass(frozen=True, eq=False)
class Solved:
    """End of the robust iterations: state, residuals and weights there, pixel sigma found and
    expected, anchors' switches (K,).
    """

    state: State
    at: Linearised
    weights: Weights
    sigma_px: float
    nominal_px: float
    active: Float


def minimise(
    problem: Problem, state: State, prior_information: Float, sigma_px: float, options: JointOptions
) -> Solved:
    """Graduated robust Levenberg–Marquardt from a hypothesis; anchors that lose their support are switched off as
    a whole.
    """
    noise = _Noise(sigma_px, sigma_px, np.ones(problem.n_anchors))
    return _graduated(problem, state, prior_information, noise, options.graduation, options)


def refine(problem: Problem, state: State, prior_information: Float, found: Solved, options: JointOptions) -> Solved:
    """The last levels again from `state`, with more matches than `found` was solved with; its noise and its switched
    off anchors are kept.
    """
    noise = _Noise(found.sigma_px, found.nominal_px, found.active)
    return _graduated(problem, state, prior_information, noise, options.final_graduation, options)


@dataclass(frozen=True, eq=False)
class _Noise:
    """Pixel sigma found and expected, and the anchors' switches (K,)."""

    sigma_px: float
    nominal_px: float
    active: Float


def _graduated(
    problem: Problem,
    state: State,
    prior_information: Float,
    noise: _Noise,
    graduation: tuple[float, ...],
    options: JointOptions,
) -> Solved:
    sigma_px, active = noise.sigma_px, noise.active
    damping = 1e-3
    at = residuals(problem, state)
    for level, inflation in enumerate(graduation):
        last = level == len(graduation) - 1
        for _ in range(options.final_iterations if last else options.iterations_per_level):
            weights = robust_weights(problem, at, sigma_px, inflation, active, options)
            state, at, damping, moved = _descend(problem, state, at, weights, prior_information, damping)
            if moved < options.converged_m:
                break
        if inflation <= 2.0:
            weights = robust_weights(problem, at, sigma_px, inflation, active, options)
            active = _switch(problem, weights, active, options)
            sigma_px = _noise_px(problem, at, weights, noise.nominal_px, options)
    weights = robust_weights(problem, at, sigma_px, graduation[-1], active, options)
    return Solved(state, at, weights, sigma_px, noise.nominal_px, active)


def _descend(
    problem: Problem, state: State, at: Linearised, weights: Weights, prior: Float, damping: float
) -> tuple[State, Linearised, float, float]:
    """One accepted step (or none after six refusals): new state, residuals, damping and how far the camera
    moved in metres.
    """
    system = normal_equations(problem, state, at, weights, prior)
    cost = weighted_cost(problem, state, at, weights, prior)
    for _ in range(6):
        try:
            shared, along = solve_step(system, damping)
        except np.linalg.LinAlgError:
            damping *= 10
            continue
        candidate = state.stepped(shared, along)
        there = residuals(problem, candidate)
        if np.isfinite(shared).all() and weighted_cost(problem, candidate, there, weights, prior) <= cost:
            moved = float(np.linalg.norm(shared[:3]) + np.linalg.norm(shared[3:6]))
            return candidate, there, max(damping * 0.2, 1e-6), moved
        damping = max(damping * 8, 1e-4)
    return state, at, damping, 0.0


def _switch(problem: Problem, weights: Weights, active: Float, options: JointOptions) -> Float:
    """Anchors whose mean support has fallen below the limit go dark, unless that would leave none."""
    total = np.bincount(problem.anchor, weights.support, problem.n_anchors)
    count = np.maximum(np.bincount(problem.anchor, minlength=problem.n_anchors), 1)
    keep = (total / count >= options.min_anchor_support) & (active > 0)
    return keep.astype(float) if keep.any() else active


def _noise_px(problem: Problem, at: Linearised, weights: Weights, nominal_px: float, options: JointOptions) -> float:
    """Pixel sigma of the supported residuals, with the freedom that the λ have taken; within a factor of the
    nominal.
    """
    squared = np.einsum("ni,ni->n", at.pixel, at.pixel)
    inlier = weights.support > 0.25
    if inlier.sum() < 20:
        return nominal_px
    freed = len(np.unique(problem.track[inlier & (weights.depth < weights.pixel)]))
    freedom = max(2.0 * inlier.sum() - freed, 0.5 * inlier.sum())
    # Mean square inside the support > 0.25 cut of a normal: about 15 % is cut away at γ = 3.
    sigma = float(np.sqrt(1.15 * squared[inlier].sum() / freedom))
    low, high = options.sigma_range
    return float(np.clip(sigma, low * nominal_px, high * nominal_px))
