"""Clicks and trajectories → a checked alignment: solve, judge, leave every image out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.errors import InputError
from geocorrect.georeference.build import ClickedDrive, ClickNoise, HeightModel, build_problem, frame_of
from geocorrect.georeference.diagnose import diagnose_clicks, diagnose_drives, diagnose_solution, diagnose_track
from geocorrect.georeference.joint.model import plan_shift_m
from geocorrect.georeference.joint.solve import solve_joint
from geocorrect.georeference.problem import Priors, Problem, Solution
from geocorrect.georeference.result import ClickResidual, Finding, Georeference
from geocorrect.georeference.umeyama import solve_umeyama


@dataclass(frozen=True)
class GeoreferenceOptions:
    """How clicks become an alignment."""

    method: Literal["joint", "umeyama"] = "joint"
    noise: ClickNoise = field(default_factory=ClickNoise)
    priors: Priors = field(default_factory=Priors)
    ground_height_m: float | None = None
    """Ellipsoidal, where no click has a height."""
    max_sigma_m: float = 3.0
    """Refuse when the predicted error along the drive exceeds it."""
    seed: int = 0
    """Of the sampling of pairs."""


def georeference(
    drives: Sequence[ClickedDrive], options: GeoreferenceOptions | None = None, dem: HeightModel | None = None
) -> Georeference:
    """One alignment for all drives; InputError with the remedy when the clicks do not determine one.

    The reference method (umeyama) is for comparison: what is weak about it is reported, not refused.
    """
    options = options or GeoreferenceOptions()
    frame = frame_of(drives, options.ground_height_m)
    problem, clicks = build_problem(drives, frame, options.noise, options.priors, dem)
    findings = diagnose_clicks(problem, frame)
    refuse(findings)
    solution = _solver(options)(problem)
    if options.method == "joint":
        refuse(diagnose_drives(problem, solution, drives))
        findings += diagnose_solution(problem, solution)
        refuse(findings)
    good = solution.residual_m[~solution.outlier & np.isfinite(solution.residual_m)]
    alignment = Alignment(
        frame, solution.world_from_local, solution.covariance, options.method, residual_m=float(np.median(good))
    )
    track_sigma_m, weak = diagnose_track(problem, drives, alignment, options.max_sigma_m)
    findings += weak
    if options.method == "joint":
        refuse(findings)
    residuals = [
        ClickResidual(
            c.image, c.index, c.u_px, c.v_px, float(solution.residual_px[k]), float(solution.residual_m[k]),
            bool(solution.outlier[k]), problem.target_m[k, :2], solution.reached_m[k, :2],
        )
        for k, c in enumerate(clicks)
    ]  # fmt: skip
    return Georeference(
        alignment=alignment,
        clicks=tuple(residuals),
        leave_one_out_m=leave_one_out_m(problem, solution, _solver(options, n_starts=2)),
        findings=tuple(findings),
        drives=drives,
        problem=problem,
        base_height_m=solution.base_height_m,
        base_height_sigma_m=solution.base_height_sigma_m,
        reduced_chi2=solution.reduced_chi2,
        track_sigma_m=track_sigma_m,
    )


def leave_one_out_m(problem: Problem, solution: Solution, solve: Callable[[Problem], Solution]) -> dict[str, float]:
    """Per image: the largest plan shift of any clicked camera without that image's clicks; nan if unsolvable."""
    if problem.n_images < 3:
        return {}
    camera_m = np.array([image.local_from_cam.translation_m for image in problem.images])
    shifts: dict[str, float] = {}
    for number in np.unique(problem.image_index):
        try:
            without = solve(problem.without_image(int(number))).world_from_local
            shift_m = plan_shift_m(without, solution.world_from_local, camera_m)
        except InputError:
            shift_m = float("nan")
        shifts[problem.images[number].name] = shift_m
    return shifts


def _solver(options: GeoreferenceOptions, n_starts: int = 5) -> Callable[[Problem], Solution]:
    if options.method == "umeyama":
        return solve_umeyama
    return partial(solve_joint, n_starts=n_starts, seed=options.seed)


def refuse(findings: Sequence[Finding]) -> None:
    """Raise InputError when a finding is fatal."""
    fatal = [finding.text for finding in findings if finding.fatal]
    if fatal:
        raise InputError("georeference refused: " + "; ".join(fatal))
