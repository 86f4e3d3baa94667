"""Levenberg–Marquardt on the joint problem with graduated robust weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.joint.normal import Weights, normal_equations, solve_step
from geocorrect.localize.joint.problem import Problem
from geocorrect.localize.joint.residuals import Linearised, State, residuals
from geocorrect.localize.options import JointOptions

Float = NDArray[np.float64]
MIN_SUPPORT = 0.25
"""Weight of a pixel residual above which its match counts as an inlier: within γ sigmas."""


def robust_weights(
    problem: Problem,
    at: Linearised,
    sigma_px: float,
    inflation: float,
    active: Float,
    options: JointOptions,
    widest_px: float = np.inf,
) -> Weights:
    """Geman–McClure on pixels; Cauchy on depth, times the pixel support so that a mismatch brings no depth.

    inflation: factor on the robust scales, that of pixels at most widest_px; active: (K,) 0…1 switches of the anchors.
    """
    gamma2 = (options.robust_px * min(inflation, widest_px)) ** 2
    squared = (at.pixel**2).sum(axis=0) / sigma_px**2
    support = (gamma2 / (gamma2 + squared)) ** 2 * active[problem.anchor] * at.ahead
    sigma = problem.depth_sigma * problem.depth_inflation
    ratio = at.depth / sigma
    depth = problem.known_depth(support / ((1 + ratio**2 / (options.robust_depth * inflation) ** 2) * sigma**2))
    return Weights(support / sigma_px**2, depth, support)


def weighted_cost(problem: Problem, state: State, at: Linearised, weights: Weights, prior: Float) -> float:
    """The quadratic that a step must lower, at fixed weights (majoriser of the robust cost)."""
    pixel = weights.pixel @ (at.pixel**2).sum(axis=0)
    expected, _ = problem.pose_prior.rows(state.rotation, state.centre)
    depth = weights.depth @ problem.known_depth(at.depth) ** 2
    return float(pixel + depth + prior @ state.deviations**2 + expected @ expected)


@dataclass(frozen=True, eq=False)
class Noise:
    """What is known of the matches beside the state."""

    sigma_px: float
    """Standard deviation of the pixel residuals, as found."""
    nominal_px: float
    """The same as expected before."""
    active: Float
    """(K,) 0…1 switches of the anchors."""


@dataclass(frozen=True, eq=False)
class Solved(Noise):
    """End of the robust iterations."""

    state: State
    """Where they ended."""
    at: Linearised
    """Residuals there."""
    weights: Weights
    """Weights there."""

    @property
    def inliers(self) -> NDArray[np.bool_]:
        """(M,) observations that support the state."""
        return np.asarray(self.weights.support > MIN_SUPPORT)


def minimise(
    problem: Problem,
    state: State,
    prior_information: Float,
    sigma_px: float,
    options: JointOptions,
    active: Float | None = None,
) -> Solved:
    """Graduated robust Levenberg–Marquardt from a hypothesis; anchors without support are switched off as a whole.

    The graduation of the pixels starts at the scale of the hypothesis' own residuals: a good one is not opened to the
    mismatches that it has already told apart. That of the depths, which err by more than a hypothesis shows, is not
    cut. Nor is a hypothesis left for a worse one: where the end has a higher objective than the start, the descent is
    made again at the last scale. active: (K,) 0 for anchors that stay off; all are used without it.
    """
    noise = Noise(sigma_px, sigma_px, np.ones(problem.n_anchors) if active is None else active)
    at = residuals(problem, state)
    widest_px = max(typical_residual(at, sigma_px), options.graduation[-1])
    schedule = [(inflation, options.iterations_per_level) for inflation in options.graduation]
    solved = _graduated(problem, state, prior_information, noise, schedule, options, widest_px)
    bound = objective(problem, state, at, prior_information, sigma_px, options)
    if objective(problem, solved.state, solved.at, prior_information, sigma_px, options) <= bound:
        return solved
    return _graduated(problem, state, prior_information, noise, schedule, options, options.graduation[-1])


def typical_residual(at: Linearised, sigma_px: float) -> float:
    """Median length of the pixel residuals in sigmas."""
    return float(np.median(np.linalg.norm(at.pixel, axis=0))) / sigma_px


def objective(
    problem: Problem, state: State, at: Linearised, prior: Float, sigma_px: float, options: JointOptions
) -> float:
    """The robust cost at the last scale of the graduation, all anchors counted: what makes two ends comparable."""
    gamma2 = options.robust_px**2
    squared = np.where(at.ahead, (at.pixel**2).sum(axis=0) / sigma_px**2, np.inf)
    share = gamma2 / (gamma2 + squared)
    off = problem.known_depth(at.depth / (problem.depth_sigma * problem.depth_inflation))
    depth = options.robust_depth**2 * np.log1p(off**2 / options.robust_depth**2)
    expected, _ = problem.pose_prior.rows(state.rotation, state.centre)
    return float(gamma2 * (1 - share).sum() + share**2 @ depth + prior @ state.deviations**2 + expected @ expected)


def resume(problem: Problem, state: State, prior_information: Float, found: Noise, options: JointOptions) -> Solved:
    """The last levels again from `state`, with more matches than `found` was solved with, and with its noise."""
    schedule = [(inflation, options.iterations_per_level) for inflation in options.final_graduation[:-1]]
    schedule.append((options.final_graduation[-1], options.final_iterations))
    return _graduated(problem, state, prior_information, found, schedule, options)


def _graduated(
    problem: Problem,
    state: State,
    prior_information: Float,
    noise: Noise,
    schedule: Sequence[tuple[float, int]],
    options: JointOptions,
    widest_px: float = np.inf,
) -> Solved:
    """schedule: the inflation of the robust scales and how many iterations it lasts, level by level; that of pixels is
    at most widest_px.
    """
    sigma_px, active = noise.sigma_px, noise.active
    damping = 1e-3
    at = residuals(problem, state)
    for inflation, iterations in schedule:
        for _ in range(iterations):
            weights = robust_weights(problem, at, sigma_px, inflation, active, options, widest_px)
            state, at, damping, moved = _descend(problem, state, at, weights, prior_information, damping)
            if moved < options.converged_m:
                break
        if inflation <= 2.0:
            weights = robust_weights(problem, at, sigma_px, inflation, active, options, widest_px)
            active = _switch(problem, weights, active, options)
            sigma_px = _noise_px(problem, at, weights, noise.nominal_px, options)
    weights = robust_weights(problem, at, sigma_px, schedule[-1][0], active, options)
    return Solved(sigma_px, noise.nominal_px, active, state, at, weights)


def _descend(
    problem: Problem, state: State, at: Linearised, weights: Weights, prior: Float, damping: float
) -> tuple[State, Linearised, float, float]:
    """One accepted step (none after six refusals): new state, residuals, damping, the camera's shift (m plus rad)."""
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
    """Anchors whose mean support has fallen below the limit are switched off, unless that would leave none."""
    total = np.bincount(problem.anchor, weights.support, problem.n_anchors)
    count = np.maximum(np.bincount(problem.anchor, minlength=problem.n_anchors), 1)
    keep = (total / count >= options.min_anchor_support) & (active > 0)
    return keep.astype(float) if keep.any() else active


def _noise_px(problem: Problem, at: Linearised, weights: Weights, nominal_px: float, options: JointOptions) -> float:
    """Pixel sigma of the supported residuals, less the freedom that the λ took; within a factor of the nominal."""
    squared = (at.pixel**2).sum(axis=0)
    inlier = weights.support > MIN_SUPPORT
    if inlier.sum() < 20:
        return nominal_px
    freed = len(np.unique(problem.track[inlier & (weights.depth < weights.pixel)]))
    freedom = max(2.0 * inlier.sum() - freed, 0.5 * inlier.sum())
    # Mean square inside the support cut of a normal: about 15 % is cut away at γ = 3.
    sigma = float(np.sqrt(1.15 * squared[inlier].sum() / freedom))
    low, high = options.sigma_range
    return float(np.clip(sigma, low * nominal_px, high * nominal_px))
