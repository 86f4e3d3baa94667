"""Clicks and trajectories → a checked alignment: solve, judge, leave every image out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from geocorrect.anchors.alignment import Alignment, position_covariance
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.georeference.build import ClickedDrive, ClickNoise, HeightModel, build_problem, frame_of
from geocorrect.georeference.diagnose import (
    LeftOut,
    diagnose_clicks,
    diagnose_drives,
    diagnose_solution,
    diagnose_track,
    judge_leave_one_out,
    shifted_frames,
)
from geocorrect.georeference.joint.model import plan_shift_m
from geocorrect.georeference.joint.refine import OUTLIER_D2
from geocorrect.georeference.joint.solve import is_worse_than_stated, solve_joint
from geocorrect.georeference.landmarks.click import Click
from geocorrect.georeference.problem import Float, Priors, Problem, Solution
from geocorrect.georeference.result import ClickResidual, Finding, Georeference
from geocorrect.georeference.umeyama import solve_umeyama

MANY_OUTLIERS = 0.15
FRAME_SHIFTS = (-40, -20, -10, -5, 5, 10, 20, 40)
"""Rows of the trajectory; tried where the clicks do not fit."""
FRAME_SHIFT_MARGIN = 2 * OUTLIER_D2
"""Two rejected clicks."""
MIN_SHIFT_SIGMA_M = 0.05


ClickMethod = Literal["joint", "umeyama", "umeyama-3d"]


@dataclass(frozen=True)
class GeoreferenceOptions:
    """How clicks become an alignment."""

    method: ClickMethod = "joint"
    noise: ClickNoise = field(default_factory=ClickNoise)
    priors: Priors = field(default_factory=Priors)
    ground_height_m: float | None = None
    """Ellipsoidal, where no click has a height."""
    max_sigma_m: float = 3.0
    """Refuse when the predicted error along the drive exceeds it."""
    seed: int = 0
    """Of the sampling of pairs."""


def georeference(
    drives: Sequence[ClickedDrive], options: GeoreferenceOptions | None = None, dem: HeightModel | None = None,
    before_each: Callable[[], None] = lambda: None,
) -> Georeference:  # fmt: skip
    """One alignment for all drives; InputError with the remedy when the clicks do not determine one.

    The reference methods (umeyama) are for comparison: what is weak about it is reported, not refused.

    Args:
        drives: trajectories with their clicks.
        options: how they become an alignment.
        dem: heights of clicks that have none.
        before_each: called before each of the many solves; what it raises ends the work.
    """
    options = options or GeoreferenceOptions()

    def solve(problem: Problem, n_starts: int = 5) -> Solution:
        before_each()
        return _solver(options, n_starts)(problem)

    frame = frame_of(drives, options.ground_height_m)
    problem, clicks = build_problem(drives, frame, options.noise, options.priors, dem)
    findings = diagnose_clicks(problem, frame.height_m)
    refuse(findings)
    solution = solve(problem)
    if options.method == "joint":
        refuse(diagnose_drives(problem, solution, drives))
        findings += diagnose_solution(problem, solution)
        refuse([*diagnose_frames(drives, frame, options, dem, solution, before_each), *findings])
    without = leave_one_out(problem, solution, partial(solve, n_starts=2))
    factor, judged = judge_leave_one_out(without)
    findings += judged if options.method == "joint" else []
    alignment = _alignment(frame, solution, options, factor if options.method == "joint" else 1.0)
    track_sigma_m, weak = diagnose_track(problem, drives, alignment, options.max_sigma_m)
    findings += weak
    if options.method == "joint":
        refuse(findings)
    return _result(alignment, problem, solution, clicks, drives, without, findings, track_sigma_m)


def first_answer(
    drives: Sequence[ClickedDrive], options: GeoreferenceOptions | None = None, dem: HeightModel | None = None
) -> Georeference:
    """The joint alignment while somebody still clicks, in about the time of one solve: nothing is refused.

    What would be refused is among the findings. Neither are images left out nor is it tried whether they were taken at
    other rows of the trajectory: that is left to `georeference`. InputError when there is nothing to solve from.
    """
    options = options or GeoreferenceOptions()
    frame = frame_of(drives, options.ground_height_m)
    problem, clicks = build_problem(drives, frame, options.noise, options.priors, dem)
    solution = _solver(options)(problem)
    findings = [
        *diagnose_clicks(problem, frame.height_m),
        *diagnose_drives(problem, solution, drives),
        *diagnose_solution(problem, solution),
    ]
    alignment = _alignment(frame, solution, options, 1.0)
    track_sigma_m, weak = diagnose_track(problem, drives, alignment, options.max_sigma_m)
    return _result(alignment, problem, solution, clicks, drives, [], [*findings, *weak], track_sigma_m)


def _alignment(frame: Frame, solution: Solution, options: GeoreferenceOptions, factor: float) -> Alignment:
    """The alignment of a solution; factor: of its variance."""
    good = solution.residual_m[~solution.outlier & np.isfinite(solution.residual_m)]
    residual_m = float(np.median(good)) if len(good) else float("nan")
    return Alignment(
        frame, solution.world_from_local, solution.covariance * factor, options.method, residual_m=residual_m
    )


def _result(
    alignment: Alignment, problem: Problem, solution: Solution, clicks: Sequence[Click],
    drives: Sequence[ClickedDrive], without: Sequence[LeftOut], findings: Sequence[Finding], track_sigma_m: float,
) -> Georeference:  # fmt: skip
    sigmas = np.full(len(clicks), np.nan) if solution.d2 is None else np.sqrt(solution.d2)
    residuals = [
        ClickResidual(
            c.image, c.index, c.u_px, c.v_px, float(solution.residual_px[k]), float(solution.residual_m[k]),
            bool(solution.outlier[k]), problem.target_m[k, :2], solution.reached_m[k, :2], float(sigmas[k]),
        )
        for k, c in enumerate(clicks)
    ]  # fmt: skip
    return Georeference(
        alignment=alignment,
        clicks=tuple(residuals),
        leave_one_out_m={left.image: left.shift_m for left in without},
        findings=tuple(findings),
        drives=drives,
        problem=problem,
        base_height_m=solution.base_height_m,
        base_height_sigma_m=solution.base_height_sigma_m,
        reduced_chi2=solution.reduced_chi2,
        track_sigma_m=track_sigma_m,
    )


def leave_one_out(problem: Problem, solution: Solution, solve: Callable[[Problem], Solution]) -> list[LeftOut]:
    """What becomes of the clicked cameras without each image; empty for fewer than three images."""
    if problem.n_images < 3:
        return []
    camera_m = np.array([image.local_from_cam.translation_m for image in problem.images])
    found = []
    for number in map(int, np.unique(problem.image_index)):
        name, others = problem.images[number].name, problem.without_image(number)
        try:
            other = solve(others)
        except InputError:
            found.append(LeftOut(name, float("nan"), float("nan")))
            continue
        shift_m = plan_shift_m(other.world_from_local, solution.world_from_local, camera_m)
        own = camera_m[number]
        moved = (other.world_from_local.apply(own) - solution.world_from_local.apply(own))[:2]
        # The others are part of all: what they say of this camera differs by no more than what the image adds.
        with_it, without_it = (
            position_covariance(s.covariance, s.world_from_local, own)[:2, :2] for s in (solution, other)
        )
        expected = _positive(without_it - with_it)
        found.append(LeftOut(name, shift_m, float(moved @ np.linalg.solve(expected, moved))))
    return found


def _positive(covariance: Float) -> Float:
    """The covariance with at least MIN_SHIFT_SIGMA_M in every direction."""
    values, vectors = np.linalg.eigh(covariance)
    result: Float = (vectors * np.maximum(values, MIN_SHIFT_SIGMA_M**2)) @ vectors.T
    return result


def diagnose_frames(
    drives: Sequence[ClickedDrive],
    frame: Frame,
    options: GeoreferenceOptions,
    dem: HeightModel | None,
    solution: Solution,
    before_each: Callable[[], None],
) -> list[Finding]:
    """Clicks that fit much better when every image was taken some rows of the trajectory earlier or later."""
    freedom = max(1, 2 * int((~solution.outlier).sum()) - 4)
    if not (is_worse_than_stated(solution.reduced_chi2, freedom) or solution.outlier.mean() > MANY_OUTLIERS):
        return []
    costs: dict[int, float] = {}
    for rows in FRAME_SHIFTS:
        before_each()
        try:
            shifted = [drive.shifted(rows) for drive in drives]
            problem, _ = build_problem(shifted, frame, options.noise, options.priors, dem)
            costs[rows] = solve_joint(problem, n_starts=2, seed=options.seed).cost
        except InputError:
            continue
    best = min(costs, key=costs.__getitem__, default=0)
    if not costs or costs[best] > solution.cost - FRAME_SHIFT_MARGIN:
        return []
    return [shifted_frames(best, costs[best], solution.cost)]


def _solver(options: GeoreferenceOptions, n_starts: int = 5) -> Callable[[Problem], Solution]:
    if options.method != "joint":
        return partial(solve_umeyama, in_plan=options.method == "umeyama")
    return partial(solve_joint, n_starts=n_starts, seed=options.seed)


def refuse(findings: Sequence[Finding]) -> None:
    """Raise InputError when a finding is fatal."""
    fatal = [finding.text for finding in findings if finding.fatal]
    if fatal:
        raise InputError("georeference refused: " + "; ".join(fatal))
