"""What is weak about a set of clicks or a solution: refused when nothing can save it, said otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.alignment import Alignment
from geocorrect.georeference.build import ClickedDrive
from geocorrect.georeference.joint import JointSolution
from geocorrect.georeference.problem import Problem
from geocorrect.georeference.result import Finding

Float = NDArray[np.float64]

MIN_INLIERS = 4
MIN_INLIER_SHARE = 0.5
MIN_RUNNER_UP_MARGIN = 20.0
"""The second basin must cost more than one and a half rejected clicks more (13.8 each)."""
SHORT_BASE_SHARE = 0.2
MAX_LEAVE_ONE_OUT_SIGMAS = 4.0


def diagnose_clicks(problem: Problem) -> list[Finding]:
    """Before solving: one image only, too few clicks."""
    if problem.n_images == 1:
        return [
            Finding(
                "one_image",
                "all clicks are in one image: its few metres of ground cannot tell the heading of a drive, and no "
                "check is possible; click marks in two more images, far apart",
                fatal=True,
            )
        ]
    if problem.n_images == 2:
        return [
            Finding("two_images", "clicks in two images only: leaving one out cannot check the other; click a third")
        ]
    return []


def diagnose_solution(problem: Problem, solution: JointSolution) -> list[Finding]:
    """After solving: too few clicks agree, another place explains them as well, images that nothing agrees with."""
    inlier = ~solution.outlier
    findings = []
    images = len(np.unique(problem.image_index[inlier]))
    if inlier.sum() < MIN_INLIERS or inlier.mean() < MIN_INLIER_SHARE or images < 2:
        findings.append(
            Finding(
                "few_agree",
                f"only {int(inlier.sum())} of {len(problem)} clicks, in {images} images, agree with one placement; "
                "check image names, swapped coordinates and the trajectory",
                fatal=True,
            )
        )
    if solution.runner_up_margin < MIN_RUNNER_UP_MARGIN:
        findings.append(
            Finding(
                "ambiguous",
                f"a placement {solution.runner_up_shift_m:.1f} m away explains the clicks about as well; add clicks in "
                "another image",
                fatal=True,
            )
        )
    for number, image in enumerate(problem.images):
        own = problem.image_index == number
        if own.any() and not inlier[own].any():
            findings.append(Finding("image_rejected", f"no click of image {image.name} agrees with the others"))
    if solution.reduced_chi2 > 3.0:
        findings.append(
            Finding(
                "worse_than_stated",
                f"residuals are {np.sqrt(solution.reduced_chi2):.1f} times the stated sigma; the covariance was "
                "widened by that",
            )
        )
    return findings


def diagnose_track(
    problem: Problem, drives: Sequence[ClickedDrive], alignment: Alignment, max_sigma_m: float
) -> tuple[float, list[Finding]]:
    """(largest predicted 1-sigma position error along the drives in m, findings about clicks at one end)."""
    track = np.concatenate([d.shared_from_local.apply(d.trajectory.translation_m) for d in drives])
    clicked = np.array([problem.images[i].local_from_base.translation_m for i in np.unique(problem.image_index)])
    worst = diagnose_track_of(alignment, track)
    findings = []
    share = _extent(clicked) / max(_extent(track), 1e-9)
    if share < SHORT_BASE_SHARE:
        findings.append(
            Finding(
                "clicks_at_one_end",
                f"the clicked images span {100 * share:.0f} % of the drive; far from them the position is uncertain by "
                f"{worst:.2f} m (1 sigma); click images at the other end",
            )
        )
    if worst > max_sigma_m:
        findings.append(
            Finding(
                "weak",
                f"predicted position error reaches {worst:.2f} m along the drive, more than "
                f"{max_sigma_m:g} m; click more images along it, or raise --max-sigma",
                fatal=True,
            )
        )
    return worst, findings


def diagnose_track_of(alignment: Alignment, track_local_m: Float) -> float:
    """Largest predicted 1-sigma plan error in m along positions (N, 3) of the local frame."""
    return float(plan_sigma_m(alignment, track_local_m).max())


def plan_sigma_m(alignment: Alignment, local_m: Float) -> Float:
    """(N,) predicted 1-sigma plan error of points (N, 3) of the local frame: the larger axis of the ellipse."""
    plan = alignment.position_covariance(local_m)[:, :2, :2]
    sigma: Float = np.sqrt(np.linalg.eigvalsh(plan)[:, -1])
    return sigma


def _extent(points: Float) -> float:
    return float(np.linalg.norm(np.ptp(points[:, :2], axis=0)))
