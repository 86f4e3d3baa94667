"""Values of the joint problem's unknowns, the residuals there, and their derivatives by the point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry import so3
from geocorrect.geometry.pose import Pose
from geocorrect.localize.joint.problem import GLOBAL, PER_ANCHOR, Problem

Float = NDArray[np.float64]

BEHIND_PX = 1e4
"""Residual of a point behind its anchor: it gets no weight."""
MIN_LOG_DISTANCE, MAX_LOG_DISTANCE = np.log(0.3), np.log(1000.0)


@dataclass(frozen=True, eq=False)
class State:
    """Current values of the unknowns (`problem`)."""

    rotation: Float
    """(3, 3) world_from_query."""
    centre: Float
    """(3,) of the query's camera in the shifted world."""
    focal: float
    """φ, log of estimated over given focal length."""
    principal: Float
    """(2,) shift p of the principal point, px."""
    bend: float
    """b, distortion that the given lens does not have."""
    beta: Float
    """(K,) log-depth offset β of each anchor."""
    move: Float
    """(K, 3) correction v of each anchor's position, in its camera frame."""
    turn: Float
    """(K, 3, 3) correction of each anchor's rotation, in its camera frame."""
    log_distance: Float
    """(T,) λ."""

    def stepped(self, shared: Float, log_distance_step: Float) -> State:
        """State after a step of the shared unknowns (GLOBAL + PER_ANCHOR·K,) and of the λ (T,)."""
        per_anchor = shared[GLOBAL:].reshape(-1, PER_ANCHOR)
        return State(
            so3.exp(shared[None, 3:6])[0] @ self.rotation,
            self.centre + shared[:3],
            float(np.clip(self.focal + shared[6], -0.5, 0.5)),
            self.principal + shared[7:9],
            float(np.clip(self.bend + shared[9], -0.3, 0.3)),
            self.beta + per_anchor[:, 0],
            self.move + per_anchor[:, 1:4],
            so3.exp(per_anchor[:, 4:7]) @ self.turn,
            np.clip(self.log_distance + log_distance_step, MIN_LOG_DISTANCE, MAX_LOG_DISTANCE),
        )

    @property
    def world_from_query(self) -> Pose:
        """Pose of the query in the shifted world."""
        return Pose(Rotation.from_matrix(self.rotation), self.centre)

    @cached_property
    def deviations(self) -> Float:
        """(GLOBAL + PER_ANCHOR·K,) current values of the unknowns that carry a zero-mean prior; zero for the pose."""
        per_anchor = np.concatenate([self.beta[:, None], self.move, so3.log(self.turn)], axis=1)
        return np.concatenate([np.zeros(6), [self.focal], self.principal, [self.bend], per_anchor.ravel()])


@dataclass(frozen=True, eq=False)
class Linearised:
    """Residuals and their derivatives at a state."""

    pixel: Float
    """(2, M) px."""
    depth: Float
    """(M,) in log depth, nan where unknown."""
    ahead: NDArray[np.bool_]
    """(M,) which points lie ahead of their anchor."""
    by_point: Float
    """(2, 3, M) derivative of (u, v) by the point Y in the anchor's frame."""
    by_depth: Float
    """(M,) derivative of the log depth by Y's z."""
    arm: Float
    """(3, M) from the query's centre to the point, in the anchor's corrected frame."""


def query_rays(problem: Problem, state: State) -> Float:
    """(3, T) query rays at the state's lens (unit to second order)."""
    by_focal = problem.rays0 + state.focal * problem.d_focal + (0.5 * state.focal**2) * problem.dd_focal
    by_u = by_focal + state.principal[0] * problem.d_principal[0]
    by_bend = state.bend * problem.d_bend + (0.5 * state.bend**2) * problem.dd_bend
    return np.asarray(by_u + state.principal[1] * problem.d_principal[1] + by_bend)


def anchor_from_world(problem: Problem, state: State) -> Float:
    """(K, 3, 3) rotations into the anchors' corrected frames."""
    return np.asarray(state.turn @ problem.rotations)


def residuals(problem: Problem, state: State) -> Linearised:
    """Residuals with the derivative by the point in the anchor's frame; the chain rules are `normal`'s."""
    arm, z, pixel, safe, ahead = _projected(problem, state, state.log_distance)
    by_point = (problem.to_px - pixel[:, None] * problem.seen_ray) / safe
    by_depth = -1.0 / z
    if not ahead.all():
        by_point[:, :, ~ahead] = 0.0
        by_depth[~ahead] = 0.0
        pixel[:, ~ahead] = BEHIND_PX
    return Linearised(pixel, _depth_residual(problem, state, z), ahead, by_point, by_depth, arm)


def residual_values(problem: Problem, state: State, log_distance: Float) -> tuple[Float, Float]:
    """(pixel (…, 2, M), depth (…, M)) of `residuals` alone, at candidate distances (…, T) of the tracks."""
    _, z, pixel, _, ahead = _projected(problem, state, log_distance)
    return np.where(ahead[..., None, :], pixel, BEHIND_PX), _depth_residual(problem, state, z)


def _projected(
    problem: Problem, state: State, log_distance: Float
) -> tuple[Float, Float, Float, Float, NDArray[np.bool_]]:
    """(arms from the query's centre to the points in their anchors' frames (…, 3, M); the points' z (…, M), at least
    0.05; pixel residuals (…, 2, M); depth along the seen ray, 1 where the point is not ahead; which are ahead).
    """
    to_point = np.take(query_rays(problem, state) * np.exp(log_distance)[..., None, :], problem.track, axis=-1)
    turned = anchor_from_world(problem, state)
    from_query = turned @ state.rotation
    centre = state.move + np.einsum("nij,nj->ni", turned, state.centre - problem.centres)
    arm, point = np.empty_like(to_point), np.empty_like(to_point)
    for n, rows in enumerate(problem.rows):
        arm[..., rows] = from_query[n] @ to_point[..., rows]
        np.add(arm[..., rows], centre[n, :, None], out=point[..., rows])
    along = (problem.seen_ray * point).sum(axis=-2)
    ahead = along > 0.05
    safe = np.where(ahead, along, 1.0)
    pixel = (problem.to_px * point[..., None, :, :]).sum(axis=-2) / safe[..., None, :]
    return arm, np.maximum(point[..., 2, :], 0.05), pixel, safe, ahead


def _depth_residual(problem: Problem, state: State, z: Float) -> Float:
    return np.asarray(problem.log_depth - np.log(z) - state.beta[problem.anchor])
