"""The last step: smooth errors of matcher and depth as unknowns with priors, which makes the covariance honest.

A thousand matches do not average away an error that they share. Each such error is a 5×4 cosine basis with a prior
amplitude (METHOD §3.4): a shift of the query's pixels and an error of the depth that all anchors share (a
field over the query's image, because neighbouring anchors see the same surfaces), and for every anchor a
shift of its pixels and an error of its own depth. Considering them would add their variance to a pose that
ignored them; estimating them together with the pose is the optimal linear estimate under the same model, and
its posterior is the covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.localize.covariance import cosine_basis, wave_amplitudes
from geocorrect.localize.joint_problem import GLOBAL, PER_ANCHOR, Problem, State
from geocorrect.localize.joint_solve import Solved, design, robust_weights
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions, pixel_scale

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Polished:
    """State after the linear step and (6, 6) covariance of the pose.

    depth_scale: (K,) log of predicted over true depth per anchor, own and shared part together;
    depth_scale_narrowing: (K,) its posterior sigma over its prior sigma.
    """

    state: State
    covariance: Float
    depth_scale: Float
    depth_scale_narrowing: Float


@dataclass(frozen=True, eq=False)
class _Rows:
    """Whitened residuals (M, 3), their derivatives by the common unknowns (M, 3, C) and λ (M, 3), by each
    anchor's own (a list of (m, 3, A)), the amplitude of the shared depth offset (K,), and the inverse prior
    variances: common (C,), own (K, A).
    """

    residual: Float
    common: Float
    by_track: Float
    own: list[Float]
    shared_scale: Float
    common_prior: Float
    own_prior: Float


def polish(
    problem: Problem,
    solved: Solved,
    observations: Sequence[Observations],
    camera: Camera,
    prior: Float,
    options: LocalizeOptions,
) -> Polished | None:
    """One Gauss–Newton step over pose, nuisances and smooth fields; None when the pose is not determined."""
    rows = _whitened(problem, solved, observations, camera, prior, options)
    information, gradient = _normal_equations(problem, solved.state, rows)
    try:
        covariance = np.asarray(np.linalg.inv(information), np.float64)
    except np.linalg.LinAlgError:
        return None
    step: Float = np.asarray(covariance @ gradient, np.float64)
    if not np.isfinite(step).all() or (np.diag(covariance)[:6] <= 0).any():
        return None
    own_start = rows.common.shape[2] + rows.own_prior.shape[1] * np.arange(problem.n_anchors)
    own_steps = [step[at : at + PER_ANCHOR] for at in own_start]
    shared = np.concatenate([step[:GLOBAL], *own_steps])
    state = solved.state.stepped(shared, np.zeros(problem.n_tracks))
    scale, narrowing = _depth_scale(rows, state, step, covariance, own_start)
    return Polished(state, (covariance[:6, :6] + covariance[:6, :6].T) / 2, scale, narrowing)


def _depth_scale(
    rows: _Rows, state: State, step: Float, covariance: Float, own_start: NDArray[np.intp]
) -> tuple[Float, Float]:
    """(K,) log depth scale, own offset minus the shared one (the signs of their derivatives), and its narrowing."""
    waves = (rows.common.shape[2] - GLOBAL + 2) // 3
    shared_at = rows.common.shape[2] - waves  # the shared depth field comes last, its constant first
    amplitude = rows.shared_scale
    variance = np.diag(covariance)[own_start] + amplitude**2 * covariance[shared_at, shared_at]
    variance = variance - 2 * amplitude * covariance[own_start, shared_at]
    prior = 1.0 / rows.own_prior[:, 0] + amplitude**2
    return state.beta - amplitude * step[shared_at], np.sqrt(np.maximum(variance, 0.0) / prior)


def _whitened(
    problem: Problem,
    solved: Solved,
    observations: Sequence[Observations],
    camera: Camera,
    prior: Float,
    options: LocalizeOptions,
) -> _Rows:
    """Residuals and derivatives with the fields' columns, scaled by the square roots of the weights."""
    noise = options.covariance
    # Smooth errors grow and shrink with the matcher: the residuals tell how good it is on this query.
    quality = solved.sigma_px / solved.nominal_px
    shared, own, by_track = design(problem, solved.state, solved.at)
    # The smooth part of the depth error is modelled here, so the depths are weighed by their own sigma.
    plain = replace(problem, depth_inflation=np.ones_like(problem.depth_inflation))
    weights = robust_weights(plain, solved.at, solved.sigma_px, 1.0, solved.active, options.joint)
    root = np.sqrt(np.stack([weights.pixel, weights.pixel, weights.depth], axis=1))
    residual = root * np.concatenate([solved.at.pixel, np.nan_to_num(solved.at.depth)[:, None]], axis=1)
    sigma = np.nan_to_num(problem.depth_sigma) * noise.depth_field_share

    waves = wave_amplitudes(camera)
    basis = cosine_basis(problem.query_px, camera)[problem.track]
    # A shift of the query's pixel is a shift of the principal point for this ray alone, the other way round.
    shift = np.einsum("nip,nw->nipw", shared[:, :, 7:9], basis[:, 1:]).reshape(len(basis), 3, -1)
    common_sigma = np.array([o.common_log_sigma for o in observations])[problem.anchor]
    depth_field = np.zeros((len(basis), 3, len(waves)))
    amplitude = np.sqrt(noise.depth_shared) * sigma[:, None] * waves
    amplitude[:, 0] = np.hypot(amplitude[:, 0], np.sqrt(noise.depth_shared) * common_sigma)
    depth_field[:, 2] = basis * amplitude
    common = np.concatenate([shared, shift, depth_field], axis=2) * root[:, :, None]
    shift_sigma = quality * noise.query_field_px * pixel_scale(camera) * waves[1:]
    common_prior = np.concatenate([prior[:GLOBAL], np.tile(shift_sigma**-2, 2), np.ones(len(waves))])

    blocks, own_prior = [], []
    for n, o in enumerate(observations):
        part = slice(problem.starts[n], problem.starts[n + 1])
        own_waves = wave_amplitudes(o.anchor.camera)
        smooth = cosine_basis(problem.anchor_px[part], o.anchor.camera) * own_waves
        w = len(own_waves)
        fields = np.zeros((len(smooth), 3, 3 * w))
        field_px = quality * noise.anchor_field_px * pixel_scale(o.anchor.camera)
        fields[:, 0, :w] = fields[:, 1, w : 2 * w] = smooth * field_px
        fields[:, 2, 2 * w :] = smooth * np.sqrt(1 - noise.depth_shared) * sigma[part, None]
        blocks.append(np.concatenate([own[part], fields], axis=2) * root[part, :, None])
        own_prior.append(np.concatenate([prior[GLOBAL + PER_ANCHOR * n :][:PER_ANCHOR], np.ones(3 * w)]))
    starts = problem.starts[:-1]
    return _Rows(residual, common, by_track * root, blocks, amplitude[starts, 0], common_prior, np.array(own_prior))


def _normal_equations(problem: Problem, state: State, rows: _Rows) -> tuple[Float, Float]:
    """(H, b) over common and own unknowns with the λ eliminated."""
    n_common, n_own = rows.common.shape[2], rows.own_prior.shape[1]
    size = n_common + n_own * problem.n_anchors
    diagonal = np.concatenate([rows.common_prior, rows.own_prior.ravel()])
    information, gradient = np.diag(diagonal), np.zeros(size)
    deviations = state.deviations()
    gradient[:GLOBAL] = -rows.common_prior[:GLOBAL] * deviations[:GLOBAL]
    coupling = np.zeros((problem.n_tracks, size))
    track_information = np.full(problem.n_tracks, 1e-6)
    track_gradient = np.zeros(problem.n_tracks)
    for n in range(problem.n_anchors):
        part = slice(problem.starts[n], problem.starts[n + 1])
        start = n_common + n_own * n
        own_deviations = deviations[GLOBAL + PER_ANCHOR * n :][:PER_ANCHOR]
        gradient[start : start + PER_ANCHOR] = -rows.own_prior[n, :PER_ANCHOR] * own_deviations
        columns = np.r_[0:n_common, start : start + n_own]
        block = np.concatenate([rows.common[part], rows.own[n]], axis=2)
        flat, residual, along = block.reshape(-1, len(columns)), rows.residual[part], rows.by_track[part]
        information[np.ix_(columns, columns)] += flat.T @ flat
        gradient[columns] -= flat.T @ residual.ravel()
        tracks = problem.track[part]
        coupling[np.ix_(tracks, columns)] += np.einsum("nij,ni->nj", block, along)
        track_information[tracks] += np.einsum("ni,ni->n", along, along)
        track_gradient[tracks] -= np.einsum("ni,ni->n", along, residual)
    scaled = coupling / track_information[:, None]
    return information - scaled.T @ coupling, gradient - scaled.T @ track_gradient
