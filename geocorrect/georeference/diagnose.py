"""What is weak about a set of clicks or a solution: refused when it cannot be trusted, reported otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.trajectory import Trajectory
from geocorrect.errors import InputError
from geocorrect.georeference.build import MIN_CLICKS, ClickedDrive, track_of
from geocorrect.georeference.gnss import GnssFixes, GnssOptions
from geocorrect.georeference.joint.refine import OUTLIER_D2
from geocorrect.georeference.problem import Float, Problem, Solution
from geocorrect.georeference.result import Finding

FOOT_M = 0.3048
MIN_RISE_M = 0.5
"""Between two clicked images, so that metres and feet differ by more than heights are wrong."""
GROUND_HEIGHTS_M = (-540.0, 8940.0)
"""Of dry land above the ellipsoid: the Dead Sea over the deepest geoid, Everest over the highest."""
MAX_GNSS_DISTANCE_M = 30.0
"""In plan and in height: worse than receivers are, less than most wrong datums and all geoids mistaken."""
MIN_INLIER_SHARE = 0.5
MIN_RUNNER_UP_MARGIN = 20.0
"""The second basin must cost more than one and a half rejected clicks more (13.8 each)."""
SHORT_BASE_SHARE = 0.2
WORSE_THAN_STATED_CHI2 = 3.0


def diagnose_clicks(problem: Problem, origin_height_m: float = 0.0) -> list[Finding]:
    """Before solving: clicks in too few images, heights that are no heights in metres.

    origin_height_m: of the world's origin above the ellipsoid.
    """
    return [*_few_images(problem), *_odd_heights(problem, origin_height_m)]


def _odd_heights(problem: Problem, origin_height_m: float) -> list[Finding]:
    heights = problem.target_m[problem.height_known, 2]
    if not len(heights):
        return []
    middle = origin_height_m + float(np.median(heights))
    if not GROUND_HEIGHTS_M[0] < middle < GROUND_HEIGHTS_M[1]:
        text = f"the clicks lie {middle:.0f} m above the ellipsoid, where no ground is; are their heights in metres?"
        return [Finding("no_ground", text, fatal=True)]
    images = [k for k in range(len(problem.images)) if (problem.height_known & (problem.image_index == k)).any()]
    clicked = [np.median(problem.target_m[problem.height_known & (problem.image_index == k), 2]) for k in images]
    driven = [problem.images[k].local_from_base.translation_m @ problem.up_local for k in images]
    first, second = np.triu_indices(len(images), 1)
    rise_m, risen = np.subtract.outer(driven, driven)[first, second], np.subtract.outer(clicked, clicked)[first, second]
    steep = np.abs(rise_m) > MIN_RISE_M
    if steep.sum() < 3:
        return []
    off_m, feet_off_m = (float(np.median(np.abs(unit * risen - rise_m)[steep])) for unit in (1.0, FOOT_M))
    if feet_off_m > off_m / 2:
        return []
    text = (
        f"the clicked heights fit the drive only in feet (to {feet_off_m:.1f} m between images, in metres to "
        f"{off_m:.1f} m); convert them to metres"
    )
    return [Finding("feet", text, fatal=True)]


def _few_images(problem: Problem) -> list[Finding]:
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
    if inlier.sum() < MIN_CLICKS or inlier.mean() < MIN_INLIER_SHARE or len(agreeing) < 2:
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


def diagnose_drives(problem: Problem, solution: Solution, drives: Sequence[ClickedDrive]) -> list[Finding]:
    """Several drives of which only one can be placed: they do not share a local frame."""
    images = np.cumsum([0, *(len({click.image for click in drive.clicks}) for drive in drives)])
    drive_of = np.searchsorted(images, problem.image_index, side="right") - 1
    share = np.array([(~solution.outlier[drive_of == k]).mean() for k in range(len(drives))])
    if len(drives) == 1 or (share >= MIN_INLIER_SHARE).all():
        return []
    alone = ", ".join(drives[int(k)].trajectory.name for k in np.flatnonzero(share < MIN_INLIER_SHARE))
    text = (
        f"the clicks of {alone} do not agree with those of the other drive; the local frames of drives differ: give "
        "--link, or georeference each drive by itself"
    )
    return [Finding("unlinked", text, fatal=True)]


def diagnose_gnss(
    alignment: Alignment, trajectory: Trajectory, fixes: GnssFixes, max_sigma_m: float = GnssOptions.max_sigma_m
) -> tuple[dict[str, float], list[Finding]]:
    """(median plan and height difference of a drive from its own GNSS in m, a finding when they are too large)."""
    used = fixes.usable_on(trajectory, max_sigma_m)
    if not used.any():
        raise InputError(
            f"{trajectory.name}: no GNSS fix better than {max_sigma_m:g} m lies on it; are the clocks the same?"
        )
    local = np.array([trajectory.pose_at(int(t)).translation_m for t in fixes.time_ns[used]])
    frame = alignment.frame
    there = frame.enu_from_wgs84(fixes.lon_deg[used], fixes.lat_deg[used], fixes.height_m[used])
    off = there - alignment.world_from_local.apply(local)
    facts = {
        "gnss_distance_m": float(np.median(np.linalg.norm(off[:, :2], axis=1))),
        "gnss_height_difference_m": float(np.median(off[:, 2])),
    }
    if max(np.abs(list(facts.values()))) < MAX_GNSS_DISTANCE_M:
        return facts, []
    text = (
        f"the drive's own GNSS is {facts['gnss_distance_m']:.0f} m away and {facts['gnss_height_difference_m']:+.0f} m "
        "in height; check CRS, UTM zone and datum of the clicks, and unit and reference of their heights"
    )
    return facts, [Finding("far_from_gnss", text, fatal=True)]


def shifted_frames(rows: int, cost: float, stated_cost: float) -> Finding:
    """That the clicks fit at another row of the trajectory, with both costs."""
    text = (
        f"the clicks fit much better with images taken about {abs(rows)} rows of the trajectory "
        f"{'later' if rows > 0 else 'earlier'} (cost {cost:.0f} instead of {stated_cost:.0f}); correct the "
        "frame numbers of the clicks, --image-row-offset or --image-timestamps"
    )
    return Finding("frames_shifted", text, fatal=True)


@dataclass(frozen=True)
class LeftOut:
    """What becomes of the clicked cameras without the clicks of one image; nan where that cannot be solved."""

    image: str
    shift_m: float
    """Largest move of any clicked camera in plan."""
    d2: float
    """Of the image's own camera, squared, in units of what may be expected (2 degrees of freedom)."""


def judge_leave_one_out(without: Sequence[LeftOut]) -> tuple[float, list[Finding]]:
    """(variance factor, findings) where images contradict each other by more than their errors say."""
    beyond = [left for left in without if left.d2 > OUTLIER_D2]
    if not beyond:
        return 1.0, []
    worst = max(beyond, key=lambda left: left.d2)
    factor = worst.d2 / OUTLIER_D2
    names = ", ".join(left.image for left in beyond)
    text = (
        f"without the clicks of image {worst.image} the drive moves by {worst.shift_m:.2f} m, more than errors allow "
        f"(too much: {names}); look at its clicks; the covariance was widened {np.sqrt(factor):.1f} times"
    )
    return factor, [Finding("leave_one_out", text)]


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
