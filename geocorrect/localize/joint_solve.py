"""Levenberg–Marquardt with the track distances eliminated (Schur complement of 1×1 blocks) and graduated
robust weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    """Assemble the weighted normal equations, anchor by anchor; prior_information (D,) pulls deviations to zero."""
    size = GLOBAL + PER_ANCHOR * problem.n_anchors
    coupling = np.zeros((problem.n_tracks, size))
    track_information = np.full(problem.n_tracks, 1e-6)
    track_gradient = np.zeros(problem.n_tracks)
    information = np.diag(prior_information)
    gradient = -prior_information * state.deviations()
    shared, own, by_track = design(problem, state, at)
    root = np.sqrt(np.stack([weights.pixel, weights.pixel, weights.depth], axis=1))
    residual = root * np.concatenate([at.pixel, np.nan_to_num(at.depth)[:, None]], axis=1)
    shared, own, by_track = shared * root[:, :, None], own * root[:, :, None], by_track * root
    for n in range(problem.n_anchors):
        rows = slice(problem.starts[n], problem.starts[n + 1])
        columns = np.r_[0:GLOBAL, GLOBAL + PER_ANCHOR * n : GLOBAL + PER_ANCHOR * (n + 1)]
        block = np.concatenate([shared[rows], own[rows]], axis=2)
        flat, right = block.reshape(-1, block.shape[2]), residual[rows].ravel()
        information[np.ix_(columns, columns)] += flat.T @ flat
        gradient[columns] -= flat.T @ right
        tracks, track_block = problem.track[rows], by_track[rows]
        coupling[np.ix_(tracks, columns)] += np.einsum("nij,ni->nj", block, track_block)
        track_information[tracks] += np.einsum("ni,ni->n", track_block, track_block)
        track_gradient[tracks] -= np.einsum("ni,ni->n", track_block, residual[rows])
    return NormalEquations(information, gradient, coupling, track_information, track_gradient)


def design(problem: Problem, state: State, at: Linearised) -> tuple[Float, Float, Float]:
    """Derivatives of (u, v, log depth): by the globals (M, 3, 9), by the own anchor (M, 3, 7), by λ (M, 3)."""
    by_world = at.by_point @ (state.turn @ problem.rotations)[problem.anchor]
    ray = at.ray_world[problem.track]
    distance = np.exp(state.log_distance)[problem.track]
    shared = np.empty((len(ray), 3, GLOBAL))
    shared[:, :, 0:3] = by_world
    shared[:, :, 3:6] = np.cross(ray[:, None, :], by_world)
    by_ray = (by_world @ state.rotation) * distance[:, None, None]
    ray_by_focal = (problem.d_focal + state.focal * problem.dd_focal)[problem.track]
    shared[:, :, 6] = np.einsum("nij,nj->ni", by_ray, ray_by_focal)
    shared[:, :, 7:9] = by_ray @ problem.d_principal[problem.track]
    own = np.empty((len(ray), 3, PER_ANCHOR))
    own[:, :, 0] = [0.0, 0.0, -1.0]
    own[:, :, 1:4] = at.by_point
    # Y = Exp(ω) T X + v: the lever arm of ω is the point before the move.
    lever = at.point - state.move[problem.anchor]
    own[:, :, 4:7] = np.cross(lever[:, None, :], at.by_point)
    return shared, own, np.einsum("nij,nj->ni", by_world, ray)


def reduce_tracks(system: NormalEquations, damping: float) -> tuple[Float, Float]:
    """(H, b) with the λ eliminated; damping multiplies both diagonals (Levenberg–Marquardt)."""
    inverse = 1.0 / (system.track_information * (1 + damping) + 1e-9)
    scaled = system.coupling * inverse[:, None]
    information = system.information - scaled.T @ system.coupling
    information[np.diag_indices_from(information)] += damping * np.diag(system.information) + 1e-12
    return information, system.gradient - scaled.T @ system.track_gradient


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
    return float(pixel + weights.depth @ np.nan_to_num(at.depth) ** 2 + prior @ deviations**2)


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
    """Graduated robust Levenberg–Marquardt from `state`; anchors that lose their support are switched off as
    a whole.
    """
    nominal_px = sigma_px
    active = np.ones(problem.n_anchors)
    damping = 1e-3
    at = residuals(problem, state)
    for level, inflation in enumerate(options.graduation):
        last = level == len(options.graduation) - 1
        for _ in range(options.final_iterations if last else options.iterations_per_level):
            weights = robust_weights(problem, at, sigma_px, inflation, active, options)
            state, at, damping, moved = _descend(problem, state, at, weights, prior_information, damping)
            if moved < 1e-5:
                break
        if inflation <= 2.0:
            weights = robust_weights(problem, at, sigma_px, inflation, active, options)
            active = _switch(problem, weights, active, options)
            sigma_px = _noise_px(problem, at, weights, nominal_px, options)
    weights = robust_weights(problem, at, sigma_px, options.graduation[-1], active, options)
    return Solved(state, at, weights, sigma_px, nominal_px, active)


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


def with_distances(state: State, log_distance: Float) -> State:
    """The state with other track distances."""
    return replace(state, log_distance=log_distance)
