"""Clicks and trajectories → a checked alignment: solve, judge, leave every image out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.alignment import Alignment
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.georeference.build import ClickedDrive, ClickNoise, HeightModel, build_problem, frame_of
from geocorrect.georeference.diagnose import diagnose_clicks, diagnose_solution, diagnose_track
from geocorrect.georeference.joint import JointSolution, solve_joint
from geocorrect.georeference.landmarks import Click
from geocorrect.georeference.model import geometry_of, reach
from geocorrect.georeference.problem import Priors, Problem
from geocorrect.georeference.result import ClickResidual, Finding, Georeference
from geocorrect.georeference.umeyama import solve_umeyama

Float = NDArray[np.float64]
Method = Literal["joint", "umeyama"]


@dataclass(frozen=True)
class GeoreferenceOptions:
    """method; noise of clicks; priors; ground_height_m: ellipsoidal, where no click has a height; frame: the scene's,
    else at the clicks; max_sigma_m: refuse when the predicted error along the drive exceeds it; seed: of the sampling
    of pairs.
    """

    method: Method = "joint"
    noise: ClickNoise = field(default_factory=ClickNoise)
    priors: Priors = field(default_factory=Priors)
    ground_height_m: float | None = None
    frame: Frame | None = None
    max_sigma_m: float = 3.0
    seed: int = 0


def georeference(
    drives: Sequence[ClickedDrive], options: GeoreferenceOptions | None = None, dem: HeightModel | None = None
) -> Georeference:
    """One alignment for all drives; InputError with the remedy when the clicks cannot carry one."""
    options = options or GeoreferenceOptions()
    frame = options.frame or frame_of(drives, options.ground_height_m)
    problem, clicks = build_problem(drives, frame, options.noise, options.priors, dem)
    findings = diagnose_clicks(problem)
    _refuse(findings)
    solve = _solver(options)
    solution = solve(problem)
    if options.method == "joint":
        findings += diagnose_solution(problem, solution)
        _refuse(findings)
    residuals = _click_residuals(problem, clicks, solution)
    good = [r.residual_m for r in residuals if not r.outlier and np.isfinite(r.residual_m)]
    alignment = Alignment(
        frame, solution.world_from_local, solution.covariance, options.method, residual_m=float(np.median(good))
    )
    track_sigma_m, weak = diagnose_track(problem, drives, alignment, options.max_sigma_m)
    findings += weak
    if options.method == "joint":
        _refuse(findings)
    return Georeference(
        method=options.method,
        alignment=alignment,
        clicks=residuals,
        leave_one_out_m=leave_one_out_m(problem, solution, _solver(options, n_starts=2)),
        findings=tuple(findings),
        drives=drives,
        problem=problem,
        base_height_m=solution.base_height_m,
        base_height_sigma_m=solution.base_height_sigma_m,
        reduced_chi2=solution.reduced_chi2,
        track_sigma_m=track_sigma_m,
    )


def leave_one_out_m(
    problem: Problem, solution: JointSolution, solve: Callable[[Problem], JointSolution]
) -> dict[str, float]:
    """Per image: the largest plan shift of any clicked camera when that image's clicks are left out; nan if
    unsolvable.
    """
    if problem.n_images < 3:
        return {}
    here = solution.camera_positions_m(problem.images)
    shifts: dict[str, float] = {}
    for number in np.unique(problem.image_index):
        name = problem.images[number].name
        try:
            there = solve(problem.without_image(int(number))).camera_positions_m(problem.images)
        except InputError:
            shifts[name] = float("nan")
            continue
        shifts[name] = float(np.linalg.norm((there - here)[:, :2], axis=1).max())
    return shifts


def _solver(options: GeoreferenceOptions, n_starts: int = 5) -> Callable[[Problem], JointSolution]:
    if options.method == "umeyama":
        return solve_umeyama
    return partial(solve_joint, n_starts=n_starts, seed=options.seed)


def _refuse(findings: Sequence[Finding]) -> None:
    fatal = [finding.text for finding in findings if finding.fatal]
    if fatal:
        raise InputError("georeference refused: " + "; ".join(fatal))


def _click_residuals(problem: Problem, clicks: Sequence[Click], solution: JointSolution) -> tuple[ClickResidual, ...]:
    reached = _reached_m(problem, solution)
    return tuple(
        ClickResidual(
            click.image,
            click.index,
            click.u_px,
            click.v_px,
            float(solution.residual_px[k]),
            float(solution.residual_m[k]),
            float(solution.mahalanobis[k]),
            bool(solution.outlier[k]),
            (float(problem.target_m[k, 0]), float(problem.target_m[k, 1])),
            (float(reached[k, 0]), float(reached[k, 1])),
        )
        for k, click in enumerate(clicks)
    )


def _reached_m(problem: Problem, solution: JointSolution) -> Float:
    """(N, 3) where the pixels' rays meet the undisturbed ground, in the world."""
    state = replace(
        solution.state, world_from_local=solution.world_from_local, ground=np.zeros_like(solution.state.ground)
    )
    return solution.world_from_local.apply(reach(problem, geometry_of(problem), state).point_m)
