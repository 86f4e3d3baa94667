"""The last step: smooth errors of matcher and depth as unknowns with priors, which makes the covariance honest.

A thousand matches do not average away an error that they share. Each such error is a 5×4 cosine series with prior
amplitudes (`docs/method.md`): a shift of the query's pixels and an error of the depth that all anchors share (a field
over the query's image, because neighbouring anchors see the same surfaces), and for every anchor a shift of its pixels
and an error of its own depth. Merely considering them would add their variance to a pose that ignored them; estimating
them together with the pose is the optimal linear estimate under the same model, and its posterior is the covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from geocorrect.geometry.camera import Camera
from geocorrect.localize.covariance import cosine_basis, wave_amplitudes
from geocorrect.localize.joint.normal import LAMBDA, OWN, RESIDUAL, Weights, placement, whiten
from geocorrect.localize.joint.problem import GLOBAL, LENS, PER_ANCHOR, UNCALIBRATED_LOG_SIGMA, Problem
from geocorrect.localize.joint.residuals import State
from geocorrect.localize.joint.solve import Solved, robust_weights
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions, pixel_scale

Float = NDArray[np.float64]
Int = NDArray[np.intp]

POSE = 6


@dataclass(frozen=True, eq=False)
class Refined:
    """The state after the linear step, and what is known of it."""

    state: State
    """Pose and nuisances."""
    covariance: Float
    """(6, 6) of the pose."""
    lens_covariance: Float
    """(4, 4) of log focal length, principal point (px) and bend."""
    by_lens: Float
    """(6, 6) the part of the pose's covariance that knowing the lens would take away."""
    depth_scale: Float
    """(K,) log of predicted over true depth per anchor, own and shared part together."""
    depth_scale_sigma: Float
    """(K,) its prior standard deviation."""
    depth_scale_narrowing: Float
    """(K,) its posterior standard deviation over that."""
    record_sigmas2: Float
    """(K,) squared length of the correction of each anchor's recorded pose, per degree of freedom, in units of what the
    matches should move it by if its stated noise is right (Baarda 1968): 1 on average."""
    record_shift_sigmas2: Float
    """(K,) the same of its position alone."""
    record_turn_sigmas2: Float
    """(K,) the same of its rotation alone."""
    by_records: Float
    """(6, K, 2, 3) change of the pose per unit of an error (m, rad) in each anchor's recorded translation and rotation,
    anchor's frame."""


@dataclass(frozen=True, eq=False)
class _Layout:
    """Order of the unknowns: common [GLOBAL, query's pixel shift 2(W − 1), shared depth field W], then per anchor
    own [PER_ANCHOR, pixel field u W, v W, depth field W].
    """

    waves: int
    """W, of every field."""

    @property
    def shared_depth(self) -> int:
        """First column of the shared depth field: the offset that all anchors share."""
        return GLOBAL + 2 * (self.waves - 1)

    @property
    def n_common(self) -> int:
        """Unknowns that all anchors share."""
        return self.shared_depth + self.waves

    @property
    def n_own(self) -> int:
        """Unknowns of one anchor."""
        return PER_ANCHOR + 3 * self.waves

    def start(self, n: int) -> int:
        """First column of anchor n."""
        return self.n_common + self.n_own * n

    def columns(self, component: int) -> Int:
        """Columns of one anchor's block (common, then own) on which the residual u (0), v (1) or depth (2) depends."""
        own = self.n_common + PER_ANCHOR
        field = np.arange(self.waves) + own + component * self.waves
        common = np.arange(self.n_common if component == 2 else self.shared_depth)
        return np.concatenate([common, np.arange(self.n_common, own), field])


def refine(
    problem: Problem,
    solved: Solved,
    observations: Sequence[Observations],
    camera: Camera,
    prior: Float,
    options: LocalizeOptions,
) -> Refined | None:
    """One Gauss–Newton step over pose, nuisances and smooth fields; None when the pose is not determined.

    prior: (D,) inverse prior variances of the shared unknowns.
    """
    layout = _Layout(len(wave_amplitudes(camera)))
    fields = _Fields.of(problem, solved, observations, camera, options)
    information, gradient = _normal_equations(problem, solved, layout, fields, prior)
    own_start = np.array([layout.start(n) for n in range(problem.n_anchors)])
    # Only the step and a few columns of the inverse are needed: no full inverse of some hundred unknowns.
    poses = own_start[:, None] + np.arange(1, PER_ANCHOR)
    asked = np.concatenate([np.arange(GLOBAL), [layout.shared_depth], own_start, poses.ravel()])
    right = np.zeros((len(gradient), 1 + len(asked)))
    right[:, 0] = gradient
    right[asked, 1 + np.arange(len(asked))] = 1.0
    try:
        solution = cho_solve(cho_factor(information, lower=True, check_finite=False), right, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    step, columns = solution[:, 0], solution[:, 1:]
    covariance = columns[:GLOBAL, :GLOBAL]
    if not np.isfinite(solution).all() or (np.diag(covariance) <= 0).any():
        return None
    covariance = (covariance + covariance.T) / 2
    own_steps = [step[at : at + PER_ANCHOR] for at in own_start]
    state = solved.state.stepped(np.concatenate([step[:GLOBAL], *own_steps]), np.zeros(problem.n_tracks))
    scales = slice(GLOBAL, GLOBAL + 1 + problem.n_anchors)
    scale, expected, narrowing = _depth_scale(
        state, float(step[layout.shared_depth]), columns[asked[scales], scales], fields.offset_sigma, prior
    )
    records = _record_sigmas2(state, columns[asked[scales.stop :], scales.stop :], prior)
    pose, lens = covariance[:POSE, :POSE], covariance[LENS, LENS]
    by_lens = covariance[:POSE, LENS] @ np.linalg.solve(lens, covariance[LENS, :POSE])
    # The prior holds a correction at zero: where the true one is another, the pose is off by what the prior has to say.
    kept = prior[GLOBAL:].reshape(-1, PER_ANCHOR)[:, 1:].ravel()
    by_records = (columns[:POSE, scales.stop :] * -kept).reshape(POSE, -1, 2, 3)
    return Refined(state, pose, lens, by_lens, scale, expected, narrowing, *records, by_records)


def _record_sigmas2(state: State, covariance: Float, prior: Float) -> tuple[Float, Float, Float]:
    """(K,) `Refined`'s three; covariance: (6K, 6K) of the corrections. What the matches took from the prior's variance
    is the variance of the correction (innovation of a Kalman update).
    """
    n, size = len(state.beta), PER_ANCHOR - 1
    corrections = state.deviations[GLOBAL:].reshape(n, PER_ANCHOR)[:, 1:]
    before = 1.0 / prior[GLOBAL:].reshape(n, PER_ANCHOR)[:, 1:]
    blocks = covariance.reshape(n, size, n, size)[np.arange(n), :, np.arange(n)]
    root = np.sqrt(before)
    taken = np.eye(size) - blocks / (root[:, :, None] * root[:, None])
    # Directions of which the matches know nothing say nothing.
    taken = taken + 1e-3 * np.eye(size)
    scaled = corrections / root
    moved, turned = slice(0, 3), slice(3, 6)
    both = slice(0, size)
    whole, shift, turn = (_sigmas2(scaled[:, part], taken[:, part, part]) for part in (both, moved, turned))
    return whole, shift, turn


def _sigmas2(values: Float, covariance: Float) -> Float:
    """(K,) squared length of K vectors in units of what their covariances (K, D, D) expect, per degree of freedom."""
    weighted = np.linalg.solve(covariance, values[:, :, None])[:, :, 0]
    return np.asarray(np.einsum("ni,ni->n", values, weighted) / values.shape[1])


def _depth_scale(
    state: State, shared_step: float, covariance: Float, amplitude: Float, prior: Float
) -> tuple[Float, Float, Float]:
    """`Refined`'s depth_scale (own offset minus the shared one, by the signs of their derivatives), _sigma, _narrowing.

    covariance: (1 + K, 1 + K) of the shared offset and the anchors' own; amplitude: (K,) of the shared offset.
    """
    variance = np.diag(covariance)[1:] + amplitude**2 * covariance[0, 0]
    variance = variance - 2 * amplitude * covariance[1:, 0]
    expected = 1.0 / prior[GLOBAL::PER_ANCHOR] + amplitude**2
    narrowing = np.sqrt(np.maximum(variance, 0.0) / expected)
    return state.beta - amplitude * shared_step, np.sqrt(expected), narrowing


@dataclass(frozen=True, eq=False)
class _Fields:
    """The smooth fields at the observations: basis times prior amplitude, so that every coefficient's prior is 1."""

    query_shift: Float
    """(W − 1, T) of the query's pixel shift, without amplitude. Its constant part is the principal point."""
    shift_sigma: Float
    """(W − 1,) prior amplitude of the query's shift, px."""
    shared_depth: Float
    """(W, M) of the depth error that all anchors share."""
    own_px: Float
    """(W, M) of an anchor's pixel shift, for u and for v."""
    own_depth: Float
    """(W, M) of an anchor's own depth error."""
    offset_sigma: Float
    """(K,) amplitude of the shared depth offset."""
    weights: Weights
    """Of the residuals, with the depths weighted by their own sigma."""

    @classmethod
    def of(
        cls,
        problem: Problem,
        solved: Solved,
        observations: Sequence[Observations],
        camera: Camera,
        options: LocalizeOptions,
    ) -> _Fields:
        noise = options.covariance
        # Smooth errors grow and shrink with the matcher: the residuals tell how good it is on this query.
        quality = solved.sigma_px / solved.nominal_px
        # Errors that are smooth over the whole image are modelled here; those of calibrated patches are finer.
        raw = np.array([o.common_log_sigma > UNCALIBRATED_LOG_SIGMA for o in observations])[problem.anchor]
        plain = replace(problem, depth_inflation=np.where(raw, 1.0, problem.depth_inflation))
        waves, basis = wave_amplitudes(camera), np.ascontiguousarray(cosine_basis(problem.query_px, camera).T)
        sigma = problem.known_depth(problem.depth_sigma) * noise.depth_field_share
        offset = np.sqrt(noise.depth_shared) * np.array([o.common_log_sigma for o in observations])
        amplitude = np.sqrt(noise.depth_shared) * waves[:, None] * sigma
        amplitude[0] = np.hypot(amplitude[0], offset[problem.anchor])
        smooth = np.empty((len(waves), len(problem.track)))
        field_px = np.empty(len(problem.track))
        for rows, o in zip(problem.rows, observations, strict=True):
            smooth[:, rows] = (
                cosine_basis(problem.anchor_px[rows], o.anchor.camera) * wave_amplitudes(o.anchor.camera)
            ).T
            field_px[rows] = quality * o.smooth_noise * noise.anchor_field_px * pixel_scale(o.anchor.camera)
        return cls(
            basis[1:],
            quality
            * max(o.smooth_noise for o in observations)
            * noise.query_field_px
            * pixel_scale(camera)
            * waves[1:],
            np.take(basis, problem.track, axis=1) * amplitude,
            smooth * field_px,
            smooth * (np.sqrt(1 - noise.depth_shared) * sigma),
            amplitude[0, problem.starts[:-1]],
            robust_weights(plain, solved.at, solved.sigma_px, 1.0, solved.active, options.joint),
        )

    def of_anchor(self, problem: Problem, n: int) -> _AnchorFields:
        """The fields at the rows of one anchor."""
        rows = problem.rows[n]
        own_px, weight_px = self.own_px[:, rows], self.weights.pixel[rows]
        return _AnchorFields(
            np.take(self.query_shift, problem.track[rows], axis=1),
            self.shared_depth[:, rows],
            (own_px, own_px, self.own_depth[:, rows]),
            (weight_px, weight_px, self.weights.depth[rows]),
        )


@dataclass(frozen=True, eq=False)
class _AnchorFields:
    """The fields at one anchor's m observations."""

    query_shift: Float
    """(W − 1, m)."""
    shared_depth: Float
    """(W, m)."""
    own: tuple[Float, Float, Float]
    """(W, m) for each of the residuals u, v and log depth."""
    weights: tuple[Float, Float, Float]
    """(m,) of these residuals."""


def _normal_equations(
    problem: Problem, solved: Solved, layout: _Layout, fields: _Fields, prior: Float
) -> tuple[Float, Float]:
    """(H, b) over common and own unknowns with the λ eliminated."""
    size = layout.start(problem.n_anchors)
    information, gradient = _priors(problem, solved.state, layout, fields, prior)
    whitened = whiten(problem, solved.state, solved.at, fields.weights)
    # Tracks of one anchor alone touch its columns only; the full width is needed for the shared ones.
    shared = problem.shared
    place = np.cumsum(shared) - 1
    coupling = np.zeros((size, int(shared.sum())))
    track_information, track_gradient = np.full(coupling.shape[1], 1e-6), np.zeros(coupling.shape[1])
    for n, (rows, placed) in enumerate(zip(problem.rows, placement(problem, solved.state), strict=True)):
        block = _anchor_block(whitened[:, :, rows], placed, fields.of_anchor(problem, n), layout)
        tracks = problem.track[rows]
        alone = ~shared[tracks]
        root = 1.0 / np.sqrt(1e-6 + block.along_squared[alone])
        scaled = block.coupling[:, alone] * root
        mine = block.information - scaled @ scaled.T
        pull = block.gradient - scaled @ (root * block.along_gradient[alone])
        common, own = slice(0, layout.n_common), slice(layout.start(n), layout.start(n + 1))
        at = place[tracks[~alone]]
        for to, part in ((common, slice(0, layout.n_common)), (own, slice(layout.n_common, None))):
            information[to, common] += mine[part, : layout.n_common]
            information[to, own] += mine[part, layout.n_common :]
            gradient[to] += pull[part]
            coupling[to, at] += block.coupling[part, ~alone]
        track_information[at] += block.along_squared[~alone]
        track_gradient[at] += block.along_gradient[~alone]
    root = 1.0 / np.sqrt(track_information)
    coupling *= root
    return information - coupling @ coupling.T, gradient - coupling @ (root * track_gradient)


def _priors(problem: Problem, state: State, layout: _Layout, fields: _Fields, prior: Float) -> tuple[Float, Float]:
    """(H, b) of the priors: the nuisances start from where they are, the fields from zero."""
    common = np.ones(layout.n_common)
    common[:GLOBAL] = prior[:GLOBAL]
    common[GLOBAL : layout.shared_depth] = np.tile(fields.shift_sigma**-2, 2)
    own = np.ones((problem.n_anchors, layout.n_own))
    own[:, :PER_ANCHOR] = prior[GLOBAL:].reshape(-1, PER_ANCHOR)
    pull = -prior * state.deviations
    gradient = np.zeros(layout.start(problem.n_anchors))
    gradient[:GLOBAL] = pull[:GLOBAL]
    for n, part in enumerate(pull[GLOBAL:].reshape(-1, PER_ANCHOR)):
        gradient[layout.start(n) : layout.start(n) + PER_ANCHOR] = part
    information = np.diag(np.concatenate([common, own.ravel()]))
    expected, by_pose = problem.pose_prior.rows(state.rotation, state.centre)
    information[:POSE, :POSE] += by_pose.T @ by_pose
    gradient[:POSE] -= by_pose.T @ expected
    return information, gradient


@dataclass(frozen=True, eq=False)
class _Block:
    """One anchor's normal equations over its B common and own unknowns and the λ of its m observations."""

    information: Float
    """(B, B)."""
    gradient: Float
    """(B,)."""
    coupling: Float
    """(B, m) with the λ."""
    along_squared: Float
    """(m,) information of the λ."""
    along_gradient: Float
    """(m,) gradient of the λ."""


def _anchor_block(whitened: Float, placed: Float, fields: _AnchorFields, layout: _Layout) -> _Block:
    """Component by component: a pixel field touches one of the three residuals, so most products are zero.

    whitened: (13, 3, m) of the anchor; placed: (11, 17) its `placement`.
    """
    count, size = whitened.shape[2], layout.n_common + layout.n_own
    block = _Block(np.zeros((size, size)), np.zeros(size), np.zeros((size, count)), np.zeros(count), np.zeros(count))
    for component in range(3):
        if not fields.weights[component].any():
            continue  # an anchor without depth
        root = np.sqrt(fields.weights[component])
        d = placed.T @ whitened[:LAMBDA, component]
        # A shift of the query's pixel is a shift of the principal point for this ray alone, with the opposite sign.
        parts = [d[:GLOBAL], d[7] * fields.query_shift, d[8] * fields.query_shift]
        parts += [fields.shared_depth * root] if component == 2 else []
        stacked = np.concatenate([*parts, d[OWN], fields.own[component] * root])
        along, off = whitened[LAMBDA, component], whitened[RESIDUAL, component]
        touched = layout.columns(component)
        block.information[np.ix_(touched, touched)] += stacked @ stacked.T
        block.gradient[touched] -= stacked @ off
        block.coupling[touched] += stacked * along
        np.add(block.along_squared, along**2, out=block.along_squared)
        np.subtract(block.along_gradient, along * off, out=block.along_gradient)
    return block
