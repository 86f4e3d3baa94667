"""The estimator: one pose from the bearings and depths of all anchors together (METHOD §3.2–3.3).

Hypotheses compete, the winner is adjusted with every match's distance, the focal length, each anchor's depth
scale and the anchors' own small pose errors as unknowns, and a last linear step treats the smooth errors of
matcher and depth as unknowns with their priors, which gives the covariance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.joint_fields import Polished, polish
from geocorrect.localize.joint_initialise import anchor_support, choose_rows, hypotheses, start_state
from geocorrect.localize.joint_problem import Problem, build_problem
from geocorrect.localize.joint_solve import Solved, minimise
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import JointOptions, LocalizeOptions, pixel_scale
from geocorrect.localize.pooled import georeference_covariance
from geocorrect.localize.solution import AnchorFit, Solution
from geocorrect.records import NAN, ScaleSource

Float = NDArray[np.float64]


def solve_joint(
    observations: Sequence[Observations], camera: Camera, options: LocalizeOptions, seed: int
) -> Solution | Reason:
    """Best pose of `camera` given what the anchors say, or the Reason why there is none. Every anchor must
    have matches.
    """
    origin_m = np.mean([o.anchor.world_from_cam.translation_m for o in observations], axis=0)
    starts, singles = hypotheses(observations, origin_m, camera, options, seed)
    if not starts:
        depth_free = not any(o.has_depth.any() for o in observations)
        return Reason.TOO_FEW_POINTS if depth_free else Reason.TOO_FEW_INLIERS
    prior = prior_information(observations, camera, options.joint)
    sigma_px = options.joint.sigma_px * float(np.mean([pixel_scale(o.anchor.camera) for o in observations]))

    ranked = _compete(observations, starts, camera, origin_m, prior, sigma_px, options, seed)
    best, best_score = ranked[0]
    rows = choose_rows(observations, options.joint.max_matches, seed)
    problem = build_problem(observations, rows, camera, origin_m)
    solved = minimise(problem, start_state(problem, best, sigma_px, options.joint), prior, sigma_px, options.joint)
    polished = polish(problem, solved, observations, camera, prior, options)
    if polished is None:
        return Reason.DEGENERATE_GEOMETRY
    pose = polished.state.world_from_query
    if np.linalg.norm(pose.translation_m - best.translation_m) > 30.0:
        return Reason.DIVERGED
    distant = [
        score
        for other, score in ranked[1:]
        if np.linalg.norm(other.translation_m - pose.translation_m) > options.gate.distant_m
    ]
    fits = _fits(problem, solved, observations, singles, pose)
    position_m = pose.translation_m + origin_m
    covariance = COVARIANCE_INFLATION * polished.covariance + georeference_covariance(observations, fits, position_m)
    source, ratio = _scale_source(observations, polished, solved)
    return Solution(
        Pose(pose.rotation, position_m, covariance),
        fits,
        max(distant, default=0.0) / max(best_score, 1e-9),
        source,
        ratio,
        float(np.exp(polished.state.focal)),
    )


def prior_information(observations: Sequence[Observations], camera: Camera, options: JointOptions) -> Float:
    """(D,) inverse prior variances of the shared unknowns; 0 for the pose, which has none."""
    focal_sigma = camera.focal_sigma if np.isfinite(camera.focal_sigma) else options.focal_sigma
    # A calibration that knows the focal length to 0.1 % knows the principal point to about as many pixels.
    known_px = options.principal_per_focal * focal_sigma * focal_px(camera)
    principal = 1.0 / float(np.clip(known_px, 0.1, options.principal_px * pixel_scale(camera))) ** 2
    shared = [0.0] * 6 + [1.0 / max(focal_sigma, 1e-5) ** 2, principal, principal]
    move = 1.0 / options.anchor_position_m**2
    turn = 1.0 / np.radians(options.anchor_rotation_deg) ** 2
    for o in observations:
        depth = 1.0 / max(o.common_log_sigma, options.min_depth_scale_sigma) ** 2
        shared += [depth, move, move, move, turn, turn, turn]
    return np.array(shared)


def _compete(
    observations: Sequence[Observations],
    starts: Sequence[Pose],
    camera: Camera,
    origin_m: Float,
    prior: Float,
    sigma_px: float,
    options: LocalizeOptions,
    seed: int,
) -> list[tuple[Pose, float]]:
    """Hypotheses with their anchor-level support, best first; the leading distinct ones after a short adjustment."""
    joint = options.joint
    rows = choose_rows(observations, joint.max_trial_matches, seed)
    problem = build_problem(observations, rows, camera, origin_m)
    scored = []
    for pose in starts:
        state = start_state(problem, pose, sigma_px, joint)
        scored.append((anchor_support(problem, state, 2 * sigma_px, joint), state))
    order = np.argsort([-score for score, _ in scored], kind="stable")
    leading: list[int] = []
    for index in order:
        centre = scored[index][1].centre
        if all(np.linalg.norm(centre - scored[i][1].centre) > joint.distinct_m for i in leading):
            leading.append(int(index))
        if len(leading) == joint.max_hypotheses:
            break
    if len(leading) == 1:
        return [(scored[leading[0]][1].world_from_query, scored[leading[0]][0])]
    ranked = []
    for index in leading:
        solved = minimise(problem, scored[index][1], prior, sigma_px, joint)
        score = anchor_support(problem, solved.state, sigma_px, joint)
        ranked.append((solved.state.world_from_query, score))
    return sorted(ranked, key=lambda item: -item[1])


def _fits(
    problem: Problem,
    solved: Solved,
    observations: Sequence[Observations],
    singles: Sequence[Pose | None],
    pose: Pose,
) -> tuple[AnchorFit, ...]:
    """Per anchor: which of its observations took part and support the pose, and where it alone would put the
    camera.
    """
    length = np.linalg.norm(solved.at.pixel, axis=1)
    fits = []
    for n, (o, single) in enumerate(zip(observations, singles, strict=True)):
        rows = slice(problem.starts[n], problem.starts[n + 1])
        inliers = np.zeros(len(o), bool)
        residual = np.full(len(o), NAN)
        inliers[problem.source[rows]] = solved.weights.support[rows] > 0.25
        residual[problem.source[rows]] = length[rows]
        shift = NAN if single is None else float(np.linalg.norm(single.translation_m - pose.translation_m))
        fits.append(AnchorFit(inliers, residual, shift, float(solved.active[n])))
    return tuple(fits)


def _scale_source(
    observations: Sequence[Observations], polished: Polished, solved: Solved
) -> tuple[ScaleSource, float]:
    """Which signal fixed the scale, and scale from depth over scale from baselines (nan unless both are known).

    The posterior of an anchor's depth offset tells: as wide as its prior, depth was needed; far tighter, the
    baselines between the anchors know the scale by themselves.
    """
    with_depth = np.array([bool(o.has_depth.any()) for o in observations]) & (solved.active > 0)
    if not with_depth.any():
        return ScaleSource.BASELINES, NAN
    if solved.active.sum() < 2:
        return ScaleSource.DEPTH, NAN
    narrowing = float(np.median(polished.depth_scale_narrowing[with_depth]))
    ratio = float(np.exp(np.median(polished.depth_scale[with_depth])))
    if narrowing > 0.9:
        return ScaleSource.DEPTH, NAN
    return (ScaleSource.BASELINES if narrowing < 0.3 else ScaleSource.BOTH), ratio
