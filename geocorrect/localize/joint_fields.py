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
from scipy.linalg import cho_factor, cho_solve

from geocorrect.geometry.camera import Camera
from geocorrect.localize.covariance import cosine_basis, wave_amplitudes
from geocorrect.localize.joint_problem import GLOBAL, PER_ANCHOR, UNCALIBRATED_LOG_SIGMA, Problem, State
from geocorrect.localize.joint_solve import LAMBDA, OWN, Solved, Weights, design, robust_weights
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions, pixel_scale

Float = NDArray[np.float64]
Int = NDArray[np.intp]

POSE = 6


@dataclass(frozen=True, eq=False)
class Polished:
    """State after the linear step and (6, 6) covariance of the pose.

    depth_scale: (K,) log of predicted over true depth per anchor, own and shared part together; depth_scale_sigma:
    (K,) its prior sigma; depth_scale_narrowing: (K,) its posterior sigma over that.
    """

    state: State
    covariance: Float
    depth_scale: Float
    depth_scale_sigma: Float
    depth_scale_narrowing: Float


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where the unknowns stand: common [GLOBAL, query's pixel shift 2(W − 1), shared depth field W], then per anchor
    own [PER_ANCHOR, pixel field u W, v W, depth field W].
    """

    waves: int

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
        """Columns of a block of one anchor (common, then own) that the pixel residual u (0), v (1) or the depth (2)
        depends on.
        """
        own = self.n_common + PER_ANCHOR
        field = np.arange(self.waves) + own + component * self.waves
        common = np.arange(self.n_common if component == 2 else self.shared_depth)
        return np.concatenate([common, np.arange(self.n_common, own), field])


def polish(
    problem: Problem,
    solved: Solved,
    observations: Sequence[Observations],
    camera: Camera,
    prior: Float,
    options: LocalizeOptions,
) -> Polished | None:
    """One Gauss–Newton step over pose, nuisances and smooth fields; None when the pose is not determined."""
    layout = _Layout(len(wave_amplitudes(camera)))
    fields = _Fields.of(problem, solved, observations, camera, options)
    information, gradient = _normal_equations(problem, solved, layout, fields, prior)
    own_start = np.array([layout.start(n) for n in range(problem.n_anchors)])
    # Only the step and a few columns of the inverse are asked for: no full inverse of some hundred unknowns.
    asked = np.concatenate([np.arange(POSE), [layout.shared_depth], own_start])
    right = np.zeros((len(gradient), 1 + len(asked)))
    right[:, 0] = gradient
    right[asked, 1 + np.arange(len(asked))] = 1.0
    try:
        solution = cho_solve(cho_factor(information, lower=True, check_finite=False), right, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    step, columns = solution[:, 0], solution[:, 1:]
    covariance = columns[:POSE, :POSE]
    if not np.isfinite(solution).all() or (np.diag(covariance) <= 0).any():
        return None
    own_steps = [step[at : at + PER_ANCHOR] for at in own_start]
    state = solved.state.stepped(np.concatenate([step[:GLOBAL], *own_steps]), np.zeros(problem.n_tracks))
    scale, expected, narrowing = _depth_scale(
        state, float(step[layout.shared_depth]), columns[asked[POSE:], POSE:], fields.offset_sigma, prior
    )
    return Polished(state, (covariance + covariance.T) / 2, scale, expected, narrowing)


def _depth_scale(
    state: State, shared_step: float, covariance: Float, amplitude: Float, prior: Float
) -> tuple[Float, Float, Float]:
    """(K,) log depth scale, own offset minus the shared one (the signs of their derivatives), its prior sigma and its
    narrowing.

    covariance: (1 + K, 1 + K) of the shared offset and the anchors' own; amplitude: (K,) of the shared offset.
    """
    variance = np.diag(covariance)[1:] + amplitude**2 * covariance[0, 0]
    variance = variance - 2 * amplitude * covariance[1:, 0]
    expected = 1.0 / prior[GLOBAL::PER_ANCHOR] + amplitude**2
    narrowing = np.sqrt(np.maximum(variance, 0.0) / expected)
    return state.beta - amplitude * shared_step, np.sqrt(expected), narrowing


@dataclass(frozen=True, eq=False)
class _Fields:
    """The smooth fields at the observations, each a basis times its prior amplitude, so that the prior of every
    coefficient but the query's shift is 1.

    query_shift: (T, W − 1) basis of the query's pixel shift, its sigma (W − 1,) px; shared_depth: (M, W);
    own_px: (M, W) anchor's pixel field; own_depth: (M, W); offset_sigma: (K,) amplitude of the shared depth offset.
    weights: of the residuals, with the depths weighed by their own sigma.
    """

    query_shift: Float
    shift_sigma: Float
    shared_depth: Float
    own_px: Float
    own_depth: Float
    offset_sigma: Float
    weights: Weights

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
        waves, basis = wave_amplitudes(camera), cosine_basis(problem.query_px, camera)
        sigma = np.nan_to_num(problem.depth_sigma) * noise.depth_field_share
        offset = np.sqrt(noise.depth_shared) * np.array([o.common_log_sigma for o in observations])
        amplitude = np.sqrt(noise.depth_shared) * sigma[:, None] * waves
        amplitude[:, 0] = np.hypot(amplitude[:, 0], offset[problem.anchor])
        smooth = np.empty((len(problem.track), len(waves)))
        field_px = np.empty(len(problem.track))
        for n, o in enumerate(observations):
            rows = slice(problem.starts[n], problem.starts[n + 1])
            smooth[rows] = cosine_basis(problem.anchor_px[rows], o.anchor.camera) * wave_amplitudes(o.anchor.camera)
            field_px[rows] = quality * noise.anchor_field_px * pixel_scale(o.anchor.camera)
        return cls(
            basis[:, 1:],
            quality * noise.query_field_px * pixel_scale(camera) * waves[1:],
            basis[problem.track] * amplitude,
            smooth * field_px[:, None],
            smooth * (np.sqrt(1 - noise.depth_shared) * sigma)[:, None],
            amplitude[problem.starts[:-1], 0],
            robust_weights(plain, solved.at, solved.sigma_px, 1.0, solved.active, options.joint),
        )


def _normal_equations(
    problem: Problem, solved: Solved, layout: _Layout, fields: _Fields, prior: Float
) -> tuple[Float, Float]:
    """(H, b) over common and own unknowns with the λ eliminated."""
    size = layout.start(problem.n_anchors)
    information, gradient = _priors(problem, solved.state, layout, fields, prior)
    design_rows = design(problem, solved.state, solved.at)
    residual = np.concatenate([solved.at.pixel, np.nan_to_num(solved.at.depth)[:, None]], axis=1)
    # Tracks of one anchor alone touch its columns only; the full width is needed for the shared ones.
    shared = np.bincount(problem.track, minlength=problem.n_tracks) > 1
    place = np.cumsum(shared) - 1
    coupling = np.zeros((int(shared.sum()), size))
    track_information, track_gradient = np.full(len(coupling), 1e-6), np.zeros(len(coupling))
    for n in range(problem.n_anchors):
        block = _anchor_block(problem, n, design_rows, residual, layout, fields)
        columns = np.r_[0 : layout.n_common, layout.start(n) : layout.start(n + 1)]
        tracks = problem.track[problem.starts[n] : problem.starts[n + 1]]
        alone = ~shared[tracks]
        root = 1.0 / np.sqrt(1e-6 + block.along_squared[alone])
        scaled = block.coupling[alone] * root[:, None]
        information[np.ix_(columns, columns)] += block.information - scaled.T @ scaled
        gradient[columns] += block.gradient - scaled.T @ (root * block.along_gradient[alone])
        rows = place[tracks[~alone]]
        coupling[rows, : layout.n_common] += block.coupling[~alone, : layout.n_common]
        coupling[rows, layout.start(n) : layout.start(n + 1)] = block.coupling[~alone, layout.n_common :]
        track_information[rows] += block.along_squared[~alone]
        track_gradient[rows] += block.along_gradient[~alone]
    root = 1.0 / np.sqrt(track_information)
    scaled = coupling * root[:, None]
    return information - scaled.T @ scaled, gradient - scaled.T @ (root * track_gradient)


def _priors(problem: Problem, state: State, layout: _Layout, fields: _Fields, prior: Float) -> tuple[Float, Float]:
    """(H, b) of the priors: nuisances pulled to zero from where they are, fields from zero."""
    common = np.ones(layout.n_common)
    common[:GLOBAL] = prior[:GLOBAL]
    common[GLOBAL : layout.shared_depth] = np.tile(fields.shift_sigma**-2, 2)
    own = np.ones((problem.n_anchors, layout.n_own))
    own[:, :PER_ANCHOR] = prior[GLOBAL:].reshape(-1, PER_ANCHOR)
    pull = -prior * state.deviations()
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
    """One anchor's normal equations over common and own unknowns: information (B, B), gradient (B,), and per
    observation (m, …) the coupling with its track's λ (m, B), and λ's own information and gradient (m,).
    """

    information: Float
    gradient: Float
    coupling: Float
    along_squared: Float
    along_gradient: Float


def _anchor_block(
    problem: Problem, n: int, design_rows: Float, residual: Float, layout: _Layout, fields: _Fields
) -> _Block:
    """Component by component: a pixel field touches one of the three residuals, so most products are zero."""
    rows = slice(problem.starts[n], problem.starts[n + 1])
    weights = (fields.weights.pixel[rows], fields.weights.pixel[rows], fields.weights.depth[rows])
    by_shift = fields.query_shift[problem.track[rows]]
    own_field = (fields.own_px[rows], fields.own_px[rows], fields.own_depth[rows])
    count, size = len(by_shift), layout.n_common + layout.n_own
    block = _Block(np.zeros((size, size)), np.zeros(size), np.zeros((count, size)), np.zeros(count), np.zeros(count))
    for component in range(3):
        if not weights[component].any():
            continue  # an anchor without depth
        d = design_rows[rows, component]
        # A shift of the query's pixel is a shift of the principal point for this ray alone, the other way round.
        parts = [d[:, :GLOBAL], d[:, 7, None] * by_shift, d[:, 8, None] * by_shift]
        parts += [fields.shared_depth[rows]] if component == 2 else []
        stacked = np.concatenate([*parts, d[:, OWN], own_field[component]], axis=1)
        root = np.sqrt(weights[component])
        stacked *= root[:, None]
        along, off = root * d[:, LAMBDA], root * residual[rows, component]
        columns = layout.columns(component)
        block.information[np.ix_(columns, columns)] += stacked.T @ stacked
        block.gradient[columns] -= off @ stacked
        block.coupling[:, columns] += stacked * along[:, None]
        np.add(block.along_squared, along**2, out=block.along_squared)
        np.subtract(block.along_gradient, along * off, out=block.along_gradient)
    return block
