"""Robust refinement of one start: graduated non-convexity, then a hard refit on the clicks that agree.

Each click is judged by its Mahalanobis distance on the map: map noise plus pixel noise carried to the ground.
The robust loss is Geman–McClure, d²·μc²/(μc² + d²), with μ graduated down to 1 (Blake & Zisserman; Yang et al. 2020),
so that a start a few metres off still sees every click. The ground disturbance of each image is estimated along, which
keeps clicks of one image from counting as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geocorrect.georeference.joint.model import Geometry, Residuals, State, evaluate, plan_shift_m, prior, relaxed
from geocorrect.georeference.problem import Float, Index, Mask, Problem

INLIER_D2 = 9.21
"""99 % of χ² with 2 degrees of freedom: the scale of the robust loss."""
OUTLIER_D2 = 13.82
"""99.9 % of χ² with 2 degrees of freedom: beyond it a click is called an outlier."""
GRADUATION = (64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0)
SAME_BASIN_M = 0.3


@dataclass(frozen=True, eq=False)
class Refined:
    """A local optimum."""

    state: State
    inlier: Mask
    """(N,)."""
    d2: Float
    """(N,) squared Mahalanobis distance of every click."""
    covariance: Float
    """(P, P) of the unknowns."""
    score: float
    """Truncated cost, comparable between optima of one problem."""
    freedom: int
    """Degrees of freedom left to the inliers."""
    reduced_chi2: float


def refine(problem: Problem, geometry: Geometry, start: State, known: Sequence[Refined] = ()) -> Refined | None:
    """The local optimum reached from a start; deterministic.

    None when it is heading for one of the known ones, or so far from every click that nothing holds it.
    """
    try:
        return _refined(problem, geometry, start, known)
    except np.linalg.LinAlgError:
        return None


def _refined(problem: Problem, geometry: Geometry, state: State, known: Sequence[Refined]) -> Refined | None:
    for mu in GRADUATION:
        state, geometry = _minimise(problem, geometry, state, mu * INLIER_D2, 3)
    here = state.world_from_local
    if any(plan_shift_m(here, other.state.world_from_local, geometry.camera_m) < SAME_BASIN_M for other in known):
        return None
    geometry = settled(problem, geometry, state)
    inlier = evaluate(problem, geometry, state).d2 < OUTLIER_D2
    for _ in range(10):
        state, geometry = _minimise(problem, geometry, state, inlier, 15)
        geometry = settled(problem, geometry, state)
        found = evaluate(problem, geometry, state).d2 < OUTLIER_D2
        if (found == inlier).all():
            break
        inlier = found
    return _finished(problem, geometry, state, inlier)


def settled(problem: Problem, geometry: Geometry, state: State, iterations: int = 6) -> Geometry:
    """The true pixels for a fixed state."""
    for _ in range(iterations):
        geometry = relaxed(problem, geometry, state)
    return geometry


def _geman_mcclure(d2: Float, scale: float) -> Float:
    weight: Float = (scale / (scale + np.where(np.isfinite(d2), d2, np.inf))) ** 2
    return weight


def _minimise(
    problem: Problem, geometry: Geometry, state: State, weighting: float | Mask, iterations: int
) -> tuple[State, Geometry]:
    """Iteratively reweighted Levenberg–Marquardt; weighting: scale of the robust loss, or the only clicks to fit."""
    damping = 1e-6
    for _ in range(iterations):
        geometry = relaxed(problem, geometry, state)
        linear = evaluate(problem, geometry, state)
        weight = _geman_mcclure(linear.d2, weighting) if isinstance(weighting, float) else weighting.astype(float)
        weight = weight * linear.visible
        normal, gradient, cost = _normal_equations(problem, state, linear, weight)
        for _ in range(5):
            step = np.asarray(-np.linalg.solve(normal + damping * np.diag(np.diag(normal)), gradient), np.float64)
            trial = state.moved(step)
            if _cost(problem, geometry, trial, linear, weight) <= cost * (1 + 1e-12):
                damping = max(damping / 10, 1e-9)
                break
            damping *= 10
        else:
            break
        state = trial
        if float(np.abs(step).max()) < 1e-9:
            break
    return state, geometry


def _whitened(problem: Problem, linear: Residuals, weight: Float, rows: Float) -> Float:
    """(3N, K) weighted and whitened rows (N, 3, K); clicks on one mark are correlated by its map error."""
    scaled = rows * np.sqrt(weight)[:, None, None]
    out = np.linalg.solve(np.linalg.cholesky(linear.covariance), scaled)
    marks, counts = np.unique(problem.landmark, return_counts=True)
    for mark in marks[counts > 1]:
        own = np.flatnonzero((problem.landmark == mark) & linear.visible)
        if len(own) > 1:
            factor = np.linalg.cholesky(_shared_covariance(problem, linear, own))
            out[own] = np.linalg.solve(factor, scaled[own].reshape(3 * len(own), -1)).reshape(len(own), 3, -1)
    return out.reshape(3 * len(out), -1)


def _shared_covariance(problem: Problem, linear: Residuals, own: Index) -> Float:
    """(3n, 3n) covariance of the clicks on one mark: its map error is common to all of them."""
    n = len(own)
    result = np.zeros((n, 3, n, 3))
    result[:, [0, 1], :, [0, 1]] = problem.sigma_map_m[own].min() ** 2 * 0.999
    result[np.arange(n), :, np.arange(n)] = linear.covariance[own]
    return result.reshape(3 * n, 3 * n)


def _normal_equations(problem: Problem, state: State, linear: Residuals, weight: Float) -> tuple[Float, Float, float]:
    """Information (P, P), gradient (P,), cost."""
    rows = np.concatenate([linear.jacobian, linear.residual[:, :, None]], axis=2)
    rows = _whitened(problem, linear, weight, rows)
    jacobian, residual = rows[:, :-1], rows[:, -1]
    known, known_rows = prior(problem, state)
    normal = jacobian.T @ jacobian + known_rows.T @ known_rows
    gradient = jacobian.T @ residual + known_rows.T @ known
    return normal, gradient, float(residual @ residual + known @ known)


def _cost(problem: Problem, geometry: Geometry, state: State, linear: Residuals, weight: Float) -> float:
    """Cost of another state under the same weights and noise; infinite when a weighted click loses the ground."""
    trial = evaluate(problem, geometry, state)
    if (~trial.visible & (weight > 1e-3)).any():
        return float("inf")
    rows = _whitened(problem, linear, weight, trial.residual[:, :, None])
    known, _ = prior(problem, state)
    return float(np.sum(rows**2) + known @ known)


def _finished(problem: Problem, geometry: Geometry, state: State, inlier: Mask) -> Refined:
    linear = evaluate(problem, geometry, state)
    normal, _, cost = _normal_equations(problem, state, linear, inlier * linear.visible.astype(float))
    freedom = max(1, 2 * int(inlier.sum()) - 4)
    known, _ = prior(problem, state)
    score = float(np.minimum(linear.d2, OUTLIER_D2).sum() + known @ known)
    return Refined(
        state, inlier, linear.d2, np.asarray(np.linalg.inv(normal), np.float64), score, freedom, cost / freedom
    )
