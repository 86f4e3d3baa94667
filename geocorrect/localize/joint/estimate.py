"""The estimator: one pose from the bearings and depths of all anchors together (`docs/method.md`).

Hypotheses compete; the winner is adjusted with every match's distance, the focal length, each anchor's depth scale and
the anchors' own small pose errors as unknowns; a last linear step adds the smooth errors of matcher and depth with
their priors, which gives the covariance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.covariance import georeference_covariance, mounting_covariance
from geocorrect.localize.gate import SUPPORTING_INLIERS
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.independence import independent_anchors
from geocorrect.localize.joint.fields import Refined
from geocorrect.localize.joint.initialise import anchor_support, choose_rows, hypotheses, start_state
from geocorrect.localize.joint.lens import estimated_camera, lens_by_matches
from geocorrect.localize.joint.moving.close_motion import close_motion
from geocorrect.localize.joint.moving.structure import structure_factor
from geocorrect.localize.joint.normal import assemble, solve_step, whiten
from geocorrect.localize.joint.priors import prior_information
from geocorrect.localize.joint.problem import GLOBAL, LENS, PER_ANCHOR, Problem, build_problem
from geocorrect.localize.joint.residuals import State
from geocorrect.localize.joint.second_place import second_place
from geocorrect.localize.joint.settle import Joint, Settled
from geocorrect.localize.joint.solve import Solved, minimise, objective
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import JointOptions, LocalizeOptions, pixel_scale
from geocorrect.localize.pose_prior import pose_prior
from geocorrect.localize.solution import AnchorFit, Solution
from geocorrect.records import NAN, Query, ScaleSource

Float = NDArray[np.float64]


NOWHERE = np.full(3, NAN)
"""The reported position of a photo that has none."""
MAX_REFINEMENT_M = 30.0
"""A pose that ends further from its hypothesis has diverged."""
LENS_MODEL_INFLATION = 1.0
FOUND_LENS_INFLATION = 2.0
"""Variance that is added, as a share of what the unknown lens has in the rotation, and in the pose where the photo's
own matches refute the lens: four numbers are not a real lens. KITTI raw 0002: NEES/3 of the rotation 1.3 without it
where the lens was set free (n = 24), 0.8 elsewhere."""
STEADY_SIGMAS = 3.0
"""A found lens may hide a wrong anchor: one that, left out, moves the position by more of its standard deviations."""
POOR_COST = 1.0
"""Cost in σ² per match, above that of the winner, of an end that is no answer."""


def solve_joint(
    observations: Sequence[Observations],
    camera: Camera,
    options: LocalizeOptions,
    seed: int,
    reported_m: Float = NOWHERE,
    guesses: Sequence[Pose] = (),
    compare_anchors: bool = True,
) -> Solution | Reason:
    """Best pose of a photo from its anchors, or the Reason why there is none.

    Args:
        observations: of every anchor, none of them empty.
        camera: describes the photo's pixels.
        options: all numbers of the method.
        seed: of the RANSAC and of the choice among too many matches.
        reported_m: (3,) reported position in the anchors' world; only the priors of `options.joint.prior` use it.
        guesses: further poses to start from, in the anchors' world.
        compare_anchors: whether anchors that a majority refutes are set aside, and a second pose, far or close by, is
            searched for.
    """
    observations = [o.on_rays() for o in observations]
    origin_m = np.mean([o.anchor.world_from_cam.translation_m for o in observations], axis=0)
    rows = choose_rows(observations, options.joint.max_matches, seed)
    few = choose_rows(observations, min(options.joint.max_trial_matches, options.joint.max_matches), seed)
    trial_observations = [o.subset(r) for o, r in zip(observations, few, strict=True)]
    starts, singles = hypotheses(trial_observations, origin_m, camera, options, seed)
    starts = [*starts, *(Pose(guess.rotation, guess.translation_m - origin_m) for guess in guesses)]
    if not starts:
        depth_free = not any(o.has_depth.any() for o in observations)
        return Reason.TOO_FEW_POINTS if depth_free else Reason.TOO_FEW_INLIERS
    prior = prior_information(observations, camera, options.joint)
    sigma_px = options.joint.sigma_px * float(np.mean([pixel_scale(o.anchor.camera) for o in observations]))

    weak = pose_prior(reported_m, observations, origin_m, options.joint.prior)
    problem = build_problem(observations, rows, camera, origin_m, weak)
    trial = problem.subset(problem.rows_of(few))
    ranked = _compete(trial, starts, prior, sigma_px, options.joint)
    (best, found), best_score = ranked[0]
    joint = Joint(observations, few, problem, trial, camera, prior, origin_m, sigma_px, options, compare_anchors)
    settled = joint.settle(found, singles)
    if settled is None:
        return Reason.DEGENERATE_GEOMETRY
    solved, refined, consensus = settled.solved, settled.refined, settled.consensus
    pose = refined.state.world_from_query
    if np.linalg.norm(pose.translation_m - best.translation_m) > MAX_REFINEMENT_M:
        return Reason.DIVERGED
    if consensus.set_aside.any():
        # What anchors that were proved wrong say for another place is no alternative.
        counted = (~consensus.set_aside).astype(float)
        best_score = anchor_support(trial, settled.found.state, sigma_px, options.joint, counted)
        ranked = [(h, anchor_support(trial, h[1].state, sigma_px, options.joint, counted)) for h, _ in ranked]
    # The winner itself is none, however far the tests of lens and anchors moved it.
    distant = [
        score
        for (_, other), score in ranked[1:]
        if np.linalg.norm(other.state.centre - pose.translation_m) > options.gate.distant_m
        and not _is_poor(other, found, trial, prior, sigma_px, options.joint)
    ]
    own = [mine or single for mine, single in zip(consensus.own, singles, strict=True)]
    fits = _fits(problem, solved, observations, own, pose)
    position_m = pose.translation_m + origin_m
    covariance = COVARIANCE_INFLATION * refined.covariance + consensus.unexplained
    record_noise = float(np.sqrt(prior[GLOBAL + 1] / settled.prior[GLOBAL + 1]))
    covariance = covariance + mounting_covariance(observations, options.joint, record_noise)
    # The trial was not solved again with the priors of a lens that was found: from there a step is no shift.
    ends = (problem, solved) if settled.is_lens_found else (trial, settled.found)
    left_out_m = leave_one_out_m(*ends, settled.prior)
    covariance = covariance + _lens_covariance(settled, covariance, left_out_m)
    covariance = covariance + georeference_covariance(observations, fits, position_m, options.joint)
    found_camera = estimated_camera(camera, refined.state)
    share = max(distant, default=0.0) / max(best_score, 1e-9)
    supporting = np.array([fit.weight > 0.0 and fit.inliers.sum() >= SUPPORTING_INLIERS for fit in fits])
    heard = [o for o, supports in zip(observations, supporting, strict=True) if supports]
    record_shift_sigmas = _record_shift_sigmas(settled)
    another = None
    if heard and compare_anchors:
        several = independent_anchors(observations, supporting, record_shift_sigmas, settled.lens_sigmas) >= 2
        stated = pose.with_covariance(covariance)
        another = second_place(heard, stated, origin_m, found_camera, options, seed, several)
        if another is not None:
            share, covariance = max(share, another.share), covariance + another.spread
    if another is None and compare_anchors:
        covariance = covariance + close_motion(joint, settled)
    if compare_anchors:
        widened = structure_factor(joint, settled) ** 2 - 1.0
        covariance = covariance + widened * COVARIANCE_INFLATION * refined.covariance
    by_records = refined.by_records.reshape(6, -1)
    by_noise = by_records / np.sqrt(settled.prior[GLOBAL:].reshape(-1, PER_ANCHOR)[:, 1:].ravel())
    source, ratio, sigmas = _scale_source(observations, settled.as_stated, solved)
    return Solution(
        world_from_cam=Pose(pose.rotation, position_m, covariance),
        fits=fits,
        alternative_share=share,
        scale_source=source,
        scale_ratio=ratio,
        scale_sigmas=sigmas,
        leave_one_out_m=left_out_m,
        focal_ratio=float(np.exp(refined.state.focal)),
        query_camera=found_camera,
        lens_sigmas=settled.lens_sigmas,
        contradiction_sigmas=consensus.sigmas,
        record_noise=record_noise,
        record_shift_sigmas=record_shift_sigmas,
        lens=lens_by_matches(refined.state, refined.lens_covariance, settled.prior[LENS], camera),
        measured=COVARIANCE_INFLATION * (refined.covariance - by_noise @ by_noise.T),
        by_records=np.einsum("ankj,nji->anki", refined.by_records, problem.rotations),
    )


def _lens_covariance(settled: Settled, covariance: Float, left_out_m: float) -> Float:
    """(6, 6) to be added for what the unknowns of the lens leave out; left_out_m: shift without one anchor."""
    by_lens = COVARIANCE_INFLATION * settled.refined.by_lens
    if not settled.is_lens_found:
        return np.pad(LENS_MODEL_INFLATION * by_lens[3:, 3:], ((3, 0), (3, 0)))
    steady2 = STEADY_SIGMAS**2 * float(np.linalg.eigvalsh(covariance[:2, :2])[-1])
    unsteady2 = max(left_out_m**2 - steady2, 0.0) if np.isfinite(left_out_m) else 0.0
    return FOUND_LENS_INFLATION * by_lens + np.diag([unsteady2] * 3 + [0.0] * 3)


def _record_shift_sigmas(settled: Settled) -> float:
    squared = settled.as_stated.record_shift_sigmas2[settled.solved.active > 0]
    return float(np.sqrt(squared.mean() / COVARIANCE_INFLATION)) if len(squared) else NAN


def _compete(
    problem: Problem, starts: Sequence[Pose], prior: Float, sigma_px: float, options: JointOptions
) -> list[tuple[tuple[Pose, Solved], float]]:
    """The leading distinct hypotheses, each with its adjustment, and their anchor-level support; best first."""
    states = [start_state(problem, pose, sigma_px, options) for pose in starts]
    scores = [anchor_support(problem, state, 2 * sigma_px, options) for state in states]
    leading: list[int] = []
    for index in np.argsort([-score for score in scores], kind="stable"):
        centre = states[index].centre
        if all(np.linalg.norm(centre - states[i].centre) > options.distinct_m for i in leading):
            leading.append(int(index))
    ranked = []
    for index in leading[: options.max_hypotheses]:
        solved = minimise(problem, states[index], prior, sigma_px, options)
        ranked.append(((starts[index], solved), anchor_support(problem, solved.state, sigma_px, options)))
    return sorted(ranked, key=lambda item: -item[1])


def _is_poor(
    other: Solved, winner: Solved, problem: Problem, prior: Float, sigma_px: float, options: JointOptions
) -> bool:
    """Whether an end explains its own matches so badly that it is no other answer, whatever their number.

    The support of an anchor saturates, so that a bent lens and moved anchors buy nearly all of it far away. The copy of
    a façade explains fewer matches than the winner, each a mismatch in the cost, but those as well as the winner does.
    The winner is that of the trial, not the settled one: with the lens and the anchors that this end had, too.
    """
    cost, best_cost = (objective(problem, s.state, s.at, prior, sigma_px, options) for s in (other, winner))
    count, best_count = (int(s.inliers.sum()) for s in (other, winner))
    mismatches = options.robust_px**2 * max(best_count - count, 0)
    return cost - best_cost - mismatches > POOR_COST * count


def _fits(
    problem: Problem, solved: Solved, observations: Sequence[Observations], singles: Sequence[Pose | None], pose: Pose
) -> tuple[AnchorFit, ...]:
    """Per anchor: which of its observations support the pose, their residuals, and the shift of its own pose."""
    length = np.linalg.norm(solved.at.pixel, axis=0)
    fits = []
    for n, (o, single, rows) in enumerate(zip(observations, singles, problem.rows, strict=True)):
        inliers = np.zeros(len(o), bool)
        residual = np.full(len(o), NAN)
        inliers[problem.source[rows]] = solved.inliers[rows]
        residual[problem.source[rows]] = length[rows]
        shift = NAN if single is None else float(np.linalg.norm(single.translation_m - pose.translation_m))
        fits.append(AnchorFit(inliers, residual, shift, float(solved.active[n])))
    return tuple(fits)


def _scale_source(
    observations: Sequence[Observations], refined: Refined, solved: Solved
) -> tuple[ScaleSource, float, float]:
    """Which signal fixed the scale; scale from depth over that from baselines, and their distance in sigmas (else nan).

    The posterior of an anchor's depth offset tells: as wide as its prior, depth was needed; far tighter, the baselines
    between the anchors know the scale by themselves. The part of the prior's variance that the matches took away is the
    variance of the offset's shift (innovation of a Kalman update).
    """
    with_depth = np.array([bool(o.has_depth.any()) for o in observations]) & (solved.active > 0)
    if not with_depth.any():
        return ScaleSource.BASELINES, NAN, NAN
    if solved.active.sum() < 2:
        return ScaleSource.DEPTH, NAN, NAN
    narrowing, scale = refined.depth_scale_narrowing[with_depth], refined.depth_scale[with_depth]
    middle = float(np.median(narrowing))
    if middle > 0.9:
        return ScaleSource.DEPTH, NAN, NAN
    taken = np.sqrt(np.maximum(1.0 - narrowing**2, 0.05))
    sigmas = float(np.median(np.abs(scale) / (refined.depth_scale_sigma[with_depth] * taken)))
    source = ScaleSource.BASELINES if middle < 0.3 else ScaleSource.BOTH
    return source, float(np.exp(np.median(scale))), sigmas


DAMPING = 1e-3
"""Keeps the step finite where the other anchors do not fix the pose: there is then no shift, not a large one."""


def leave_one_out_m(problem: Problem, solved: Solved, prior_information: Float) -> float:
    """Largest horizontal shift in metres when one anchor is left out; nan with fewer than two anchors in use."""
    used = np.flatnonzero(solved.active > 0)
    if len(used) < 2:
        return NAN
    whitened = whiten(problem, solved.state, solved.at, solved.weights)
    return max(_shift_m(problem, solved.state, whitened, prior_information, int(anchor)) for anchor in used)


def _shift_m(problem: Problem, state: State, whitened: Float, prior_information: Float, anchor: int) -> float:
    rest = whitened.copy()
    rest[:, :, problem.rows[anchor]] = 0.0
    system = assemble(problem, state, rest, prior_information)
    try:
        step, _ = solve_step(system, DAMPING)
    except np.linalg.LinAlgError:
        return float("inf")
    length = float(np.linalg.norm(step[:2]))
    return length if np.isfinite(length) else float("inf")


class JointEstimator:
    """One pose from the bearings and depths of all anchors together."""

    fingerprint = "joint"

    def solve(
        self, observations: Sequence[Observations], query: Query, options: LocalizeOptions, seed: int
    ) -> Solution | Reason:
        """See `localize.estimators.base.Estimator`."""
        return solve_joint(observations, query.camera, options, seed, query.reported_enu_m)
