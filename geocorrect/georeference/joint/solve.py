"""Solving the joint georeference: start in several basins, refine, keep the best one and say how much better it is.

Per-image PnP on five ground clicks is nearly degenerate and ignores that the trajectory already knows how the cameras
stand to each other. Here the unknowns are one rotation, one shift, a scale near 1, the height of the base over the
ground, and a small ground disturbance per image.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geocorrect.anchors.alignment import covariance_at_origin
from geocorrect.errors import InputError
from geocorrect.geometry.pose import Pose
from geocorrect.georeference.joint.model import BASE_HEIGHT, State, geometry_of, marks_in_images, plan_shift_m, reach
from geocorrect.georeference.joint.refine import Refined, refine
from geocorrect.georeference.joint.starts import starts
from geocorrect.georeference.problem import Float, Problem, Solution

DISTINCT_BASIN_M = 0.5


def solve_joint(problem: Problem, n_starts: int = 5, seed: int = 0) -> Solution:
    """Solve from several starts and keep the best basin; InputError when there is nothing to start from.

    seed: of the sampling of click pairs that propose starts.
    """
    centred, world_origin, local_origin = _centred(problem)
    geometry = geometry_of(centred)
    begin = starts(centred, geometry, n_starts, seed)
    if not begin:
        raise InputError(
            "no two clicks lie on the ground far enough apart (3 m) and agree in distance between map and images; "
            "click ground marks in at least two images, and check image names and swapped lat/lon"
        )
    optima: list[Refined] = []
    for start in begin:
        optimum = refine(centred, geometry, start, optima)
        optima += [] if optimum is None else [optimum]
    if not optima:
        raise InputError(
            "no placement of the drive explains the clicks; check their heights (metres?), coordinates and image names"
        )
    optima.sort(key=lambda optimum: optimum.score)
    solution = _solution(problem, centred, optima[0], world_origin, local_origin)
    for other in optima[1:]:
        shift_m = plan_shift_m(optima[0].state.world_from_local, other.state.world_from_local, geometry.camera_m)
        if shift_m > DISTINCT_BASIN_M:
            margin = other.score - optima[0].score
            return replace(solution, runner_up_margin=margin, runner_up_shift_m=shift_m)
    return solution


def _centred(problem: Problem) -> tuple[Problem, Float, Float]:
    """The problem with its origins moved into its middle: full precision, rotation and shift not coupled."""
    known = problem.height_known
    up = float(np.median(problem.target_m[known, 2])) if known.any() else 0.0
    world_origin = np.append(problem.target_m[:, :2].mean(axis=0), up)
    bases = np.array([image.local_from_base.translation_m for image in problem.images])
    local_origin = bases[np.unique(problem.image_index)].mean(axis=0)
    images = tuple(
        replace(image, local_from_base=Pose(image.local_from_base.rotation, base - local_origin))
        for image, base in zip(problem.images, bases, strict=True)
    )
    return replace(problem, images=images, target_m=problem.target_m - world_origin), world_origin, local_origin


def _solution(problem: Problem, centred: Problem, best: Refined, world_origin: Float, local_origin: Float) -> Solution:
    """The best optimum about the given origins, with the residual of every click."""
    covariance = best.covariance * _widening(best)
    transform, seven = best.state.world_from_local, covariance[:7, :7].copy()
    flat = replace(best.state, ground=np.zeros_like(best.state.ground))
    geometry = geometry_of(centred)
    if not problem.height_known.any():
        # clicks without heights say nothing about the vertical: put the clicked ground at its assumed height
        ground_m = transform.apply(reach(centred, geometry, flat).point_m[best.inlier])[:, 2]
        lift = -float(np.mean(ground_m))
        transform = replace(transform, translation_m=transform.translation_m + np.array([0.0, 0.0, lift]))
        seven[2, :] = seven[:, 2] = 0.0
        seven[2, 2] = problem.priors.ground_height_sigma_m**2
    arm = transform.scale * transform.rotation.apply(local_origin)
    transform = replace(transform, translation_m=world_origin + transform.translation_m - arm)
    state = replace(flat, world_from_local=transform)
    reached_m, residual_m, residual_px = click_errors(problem, state)
    return Solution(
        transform, covariance_at_origin(seven, arm), state.base_height_m, reached_m, residual_m, residual_px,
        ~best.inlier, best.d2, float(np.sqrt(covariance[BASE_HEIGHT, BASE_HEIGHT])), best.reduced_chi2, best.score,
    )  # fmt: skip


def _widening(best: Refined) -> float:
    """Variance factor when the residuals are significantly larger than stated, else 1."""
    return best.reduced_chi2 if is_worse_than_stated(best.reduced_chi2, best.freedom) else 1.0


def is_worse_than_stated(reduced_chi2: float, freedom: int) -> bool:
    """Whether residuals are larger than stated by 2 sigma."""
    return bool(reduced_chi2 > 1.0 + 2.0 * np.sqrt(2.0 / freedom))


def click_errors(problem: Problem, state: State) -> tuple[Float, Float, Float]:
    """`Solution.reached_m`, `residual_m` and `residual_px` of a state whose ground is undisturbed."""
    geometry = geometry_of(problem)
    reached_m = state.world_from_local.apply(reach(problem, geometry, state).point_m)
    residual_m = np.linalg.norm((reached_m - problem.target_m)[:, :2], axis=1)
    residual_px = np.linalg.norm(marks_in_images(problem, geometry, state) - problem.px, axis=1)
    return reached_m, residual_m, residual_px
