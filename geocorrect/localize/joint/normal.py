"""The normal equations, and their step with the track distances eliminated (Schur complement of 1×1 blocks).

A small shift t and rotation w of a point about the query's centre, both in the anchor's corrected frame, move it by
t + w × arm. What the query's pose and the anchor's own pose do to the point are such motions, linear in their unknowns
by a matrix that is the same for the whole anchor (adjoint of SE(3)). So the products are summed over the columns of
`whiten` and transformed to the unknowns once per anchor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.so3 import skew
from geocorrect.localize.joint.problem import GLOBAL, LENS, PER_ANCHOR, Problem
from geocorrect.localize.joint.residuals import Linearised, State, anchor_from_world

Float = NDArray[np.float64]

OFFSET, LAMBDA, RESIDUAL = GLOBAL, GLOBAL + 1, GLOBAL + 2
"""Columns of `whiten`: shift t [0:3], rotation w [3:6], lens, depth offset, λ, residual."""
OWN = slice(GLOBAL, GLOBAL + PER_ANCHOR)
"""An anchor's own unknowns in its `placement`."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of the squared residuals."""

    pixel: Float
    """(M,) 1/px²."""
    depth: Float
    """(M,) per squared log depth, 0 where unknown."""
    support: Float
    """(M,) 0…1, the robust weight of the pixels."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Over the D shared unknowns and the T track distances λ."""

    information: Float
    """(D, D) H."""
    gradient: Float
    """(D,) b."""
    coupling: Float
    """(T, D) of the λ with the shared unknowns."""
    track_information: Float
    """(T,) of the λ."""
    track_gradient: Float
    """(T,) of the λ."""


def normal_equations(
    problem: Problem, state: State, at: Linearised, weights: Weights, prior_information: Float
) -> NormalEquations:
    """The weighted normal equations; prior_information (D,) pulls deviations to zero."""
    return assemble(problem, state, whiten(problem, state, at, weights), prior_information)


def whiten(problem: Problem, state: State, at: Linearised, weights: Weights) -> Float:
    """(13, 3, M): derivatives of the residuals (u, v, log depth) by shift, rotation, lens, depth offset and λ, and the
    residuals themselves as last column; each row times the root of its weight.
    """
    root_px, root_depth = np.sqrt(weights.pixel), np.sqrt(weights.depth)
    by_point, by_depth = at.by_point * root_px, at.by_depth * root_depth
    columns = np.empty((RESIDUAL + 1, 3, len(problem.track)))
    x, y, z = at.arm
    a, b, c = by_point.transpose(1, 0, 2)
    columns[0:3, :2] = by_point.transpose(1, 0, 2)
    columns[0:2, 2], columns[2, 2] = 0.0, by_depth
    # The rotation: arm × derivative by the point.
    np.subtract(y * c, z * b, out=columns[3, :2])
    np.subtract(z * a, x * c, out=columns[4, :2])
    np.subtract(x * b, y * a, out=columns[5, :2])
    np.multiply(y, by_depth, out=columns[3, 2])
    np.multiply(-x, by_depth, out=columns[4, 2])
    columns[5, 2] = 0.0
    for column, arm in zip(
        (*range(LENS.start, LENS.stop), LAMBDA), (*_moved_by_lens(problem, state), at.arm), strict=True
    ):
        columns[column, :2] = a * arm[0] + b * arm[1] + c * arm[2]
        np.multiply(by_depth, arm[2], out=columns[column, 2])
    columns[OFFSET, :2], columns[OFFSET, 2] = 0.0, -root_depth
    np.multiply(at.pixel, root_px, out=columns[RESIDUAL, :2])
    np.multiply(problem.known_depth(at.depth), root_depth, out=columns[RESIDUAL, 2])
    return columns


def _moved_by_lens(problem: Problem, state: State) -> Float:
    """(4, 3, M): how the unknowns of the lens move the points, in their anchors' frames."""
    by_focal, by_bend = problem.d_focal + state.focal * problem.dd_focal, problem.d_bend + state.bend * problem.dd_bend
    by_lens = np.stack([by_focal, *problem.d_principal, by_bend])
    moved = np.take(by_lens * np.exp(state.log_distance), problem.track, axis=2)
    from_query = anchor_from_world(problem, state) @ state.rotation
    for n, rows in enumerate(problem.rows):
        moved[:, :, rows] = from_query[n] @ moved[:, :, rows]
    return moved


def placement(problem: Problem, state: State) -> Float:
    """(K, 11, 17) per anchor: from the unknowns (the globals, then the anchor's own) to `whiten`'s columns before λ."""
    turned = anchor_from_world(problem, state)
    lever = np.einsum("nij,nj->ni", turned, state.centre - problem.centres)
    place = np.zeros((problem.n_anchors, LAMBDA, GLOBAL + PER_ANCHOR))
    place[:, 0:3, 0:3] = place[:, 3:6, 3:6] = turned
    place[:, LENS, LENS] = np.eye(GLOBAL - LENS.start)
    place[:, OFFSET, GLOBAL] = 1.0
    place[:, 0:3, GLOBAL + 1 : GLOBAL + 4] = place[:, 3:6, GLOBAL + 4 :] = np.eye(3)
    # The anchor's own rotation is about its own centre: the lever to the query's centre adds a shift.
    place[:, 0:3, GLOBAL + 4 :] = -skew(lever)
    return place


def assemble(problem: Problem, state: State, whitened: Float, prior_information: Float) -> NormalEquations:
    """Normal equations of whitened rows and priors, anchor by anchor."""
    size = GLOBAL + PER_ANCHOR * problem.n_anchors
    information = np.diag(prior_information)
    gradient = -prior_information * state.deviations
    expected, by_pose = problem.pose_prior.rows(state.rotation, state.centre)
    information[:6, :6] += by_pose.T @ by_pose
    gradient[:6] -= by_pose.T @ expected
    by_distance = np.einsum("cim,im->cm", whitened, whitened[LAMBDA])
    coupling = np.zeros((problem.n_tracks, size))
    shared = np.empty((len(problem.track), GLOBAL + 2))
    shared[:, GLOBAL:] = by_distance[LAMBDA:].T
    for n, (rows, place) in enumerate(zip(problem.rows, placement(problem, state), strict=True)):
        flat = whitened[:, :, rows].reshape(RESIDUAL + 1, -1)
        sums = flat @ flat.T
        products = place.T @ sums[:LAMBDA, :LAMBDA] @ place
        pulls = sums[RESIDUAL, :LAMBDA] @ place
        mine = slice(GLOBAL + PER_ANCHOR * n, GLOBAL + PER_ANCHOR * (n + 1))
        information[:GLOBAL, :GLOBAL] += products[:GLOBAL, :GLOBAL]
        information[mine, mine] += products[OWN, OWN]
        information[:GLOBAL, mine] = products[:GLOBAL, OWN]
        information[mine, :GLOBAL] = products[OWN, :GLOBAL]
        gradient[:GLOBAL] -= pulls[:GLOBAL]
        gradient[mine] -= pulls[OWN]
        coupled = by_distance[:LAMBDA, rows].T @ place
        shared[rows, :GLOBAL] = coupled[:, :GLOBAL]
        coupling[problem.track[rows], mine] = coupled[:, OWN]
    summed = problem.by_track @ shared
    coupling[:, :GLOBAL] = summed[:, :GLOBAL]
    return NormalEquations(information, gradient, coupling, 1e-6 + summed[:, GLOBAL], -summed[:, GLOBAL + 1])


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
