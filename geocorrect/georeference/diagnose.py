"""What is weak about a set of clicks or a solution: refused when it cannot be trusted, reported otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.georeference.build import ClickedDrive, track_of
from geocorrect.georeference.problem import Float, Problem, Solution
from geocorrect.georeference.result import Finding

MIN_INLIERS = 4
MIN_INLIER_SHARE = 0.5
MIN_RUNNER_UP_MARGIN = 20.0
"""The second basin must cost more than one and a half rejected clicks more (13.8 each)."""
SHORT_BASE_SHARE = 0.2
WORSE_THAN_STATED_CHI2 = 3.0


def diagnose_clicks(problem: Problem) -> list[Finding]:
    """Before solving: clicks in too few images."""
    if problem.n_images == 1:
        text = (
            "all clicks are in one image: its few metres of ground cannot tell the heading of a drive, and no check is "
            "possible; click marks in two more images, far apart"
        )
        return [Finding("one_image", text, fatal=True)]
    if problem.n_images == 2:
        text = "clicks in two images only: leaving one out cannot check the other; click a third"
        return [Finding("two_images", text)]
    return []


def diagnose_solution(problem: Problem, solution: Solution) -> list[Finding]:
    """After solving: too few clicks agree, another place explains them as well, images that nothing agrees with."""
    inlier = ~solution.outlier
    findings = []
    agreeing = np.unique(problem.image_index[inlier])
    if inlier.sum() < MIN_INLIERS or inlier.mean() < MIN_INLIER_SHARE or len(agreeing) < 2:
        text = (
            f"only {int(inlier.sum())} of {len(problem)} clicks, in {len(agreeing)} images, agree with one placement; "
            "check image names, swapped coordinates and the trajectory"
        )
        findings.append(Finding("few_agree", text, fatal=True))
    if solution.runner_up_margin < MIN_RUNNER_UP_MARGIN:
        text = (
            f"a placement {solution.runner_up_shift_m:.1f} m away explains the clicks about as well; add clicks in "
            "another image"
        )
        findings.append(Finding("ambiguous", text, fatal=True))
    for number in np.setdiff1d(problem.image_index, agreeing):
        text = f"no click of image {problem.images[number].name} agrees with the others"
        findings.append(Finding("image_rejected", text))
    if solution.reduced_chi2 > WORSE_THAN_STATED_CHI2:
        text = (
            f"residuals are {np.sqrt(solution.reduced_chi2):.1f} times the stated sigma; the covariance was widened by "
            "that"
        )
        findings.append(Finding("worse_than_stated", text))
    return findings


def diagnose_track(
    problem: Problem, drives: Sequence[ClickedDrive], alignment: Alignment, max_sigma_m: float
) -> tuple[float, list[Finding]]:
    """(largest predicted 1-sigma position error along the drives in m, findings about clicks at one end)."""
    track = track_of(drives)
    clicked = np.array([problem.images[i].local_from_base.translation_m for i in np.unique(problem.image_index)])
    worst = float(alignment.plan_sigma_m(track).max())
    findings = []
    share = _extent(clicked) / max(_extent(track), 1e-9)
    if share < SHORT_BASE_SHARE:
        text = (
            f"the clicked images span {100 * share:.0f} % of the drive; far from them the position is uncertain by "
            f"{worst:.2f} m (1 sigma); click images at the other end"
        )
        findings.append(Finding("clicks_at_one_end", text))
    if worst > max_sigma_m:
        text = (
            f"predicted position error reaches {worst:.2f} m along the drive, more than {max_sigma_m:g} m; click more "
            "images along it, or raise --max-sigma"
        )
        findings.append(Finding("weak", text, fatal=True))
    return worst, findings


def _extent(points: Float) -> float:
    return float(np.linalg.norm(np.ptp(points[:, :2], axis=0)))
