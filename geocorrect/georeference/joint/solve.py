"""The joint georeference: all clicks of all images, the trajectory's own relative poses, one world_from_local.

Per-image PnP on five ground clicks is nearly degenerate and throws away that the trajectory already knows how the
cameras stand to each other. Here the unknowns are one turn, one shift, a scale held near 1, the height of the base
over the ground, and a small ground disturbance per image; see `model`, `solver` and `starts`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import InputError
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.geometry.so3 import skew
from geocorrect.georeference.model import (
    BASE_HEIGHT,
    Geometry,
    State,
    geometry_of,
    marks_in_images,
    reach,
)
from geocorrect.georeference.problem import ClickedImage, Mask, Problem
from geocorrect.georeference.solver import Refined, refine
from geocorrect.georeference.starts import starts

Float = NDArray[np.float64]

DISTINCT_BASIN_M = 0.5


@dataclass(frozen=True, eq=False)
class JointSolution:
    """One alignment from clicks.

    covariance: (7, 7) as in `anchors.alignment`. residual_px, residual_m: (N,) of every click: in the image, and in
    plan between the map and where the pixel's ray meets the ground (nan above the horizon). mahalanobis: (N,).
    outlier: (N,). runner_up_margin: how much worse the second basin's truncated cost is, inf when every start led to
    one basin.
    """

    world_from_local: Similarity
    covariance: Float
    base_height_m: float
    base_height_sigma_m: float
    residual_px: Float
    residual_m: Float
    mahalanobis: Float
    outlier: Mask
    reduced_chi2: float
    n_starts: int
    runner_up_margin: float
    runner_up_shift_m: float
    state: State

    def camera_positions_m(self, images: tuple[ClickedImage, ...]) -> Float:
        """(I, 3) world positions of the clicked cameras."""
        local = np.array([image.local_from_cam.translation_m for image in images])
        return self.world_from_local.apply(local)


def solve_joint(problem: Problem, n_starts: int = 5, seed: int = 0) -> JointSolution:
    """Solve from several starts and keep the best basin; InputError when there is nothing to start from."""
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
    optima.sort(key=lambda optimum: optimum.score)
    best = optima[0]
    margin, shift_m = _runner_up(geometry, optima)
    return _solution(centred, geometry, best, (world_origin, local_origin), (len(begin), margin, shift_m))


def _centred(problem: Problem) -> tuple[Problem, Float, Float]:
    """The problem with its origins moved into its middle: full precision and no coupling of turn and shift."""
    known = problem.height_known
    up = float(problem.target_m[known, 2].mean()) if known.any() else 0.0
    world_origin = np.append(problem.target_m[:, :2].mean(axis=0), up)
    used = np.unique(problem.image_index)
    bases = np.array([image.local_from_base.translation_m for image in problem.images])
    local_origin = bases[used].mean(axis=0)
    images = tuple(
        replace(image, local_from_base=Pose(image.local_from_base.rotation, base - local_origin))
        for image, base in zip(problem.images, bases, strict=True)
    )
    return replace(problem, images=images, target_m=problem.target_m - world_origin), world_origin, local_origin


def _runner_up(geometry: Geometry, optima: list[Refined]) -> tuple[float, float]:
    """(cost margin, shift in m) of the best optimum in another place than the winner."""
    here = optima[0].state.world_from_local.apply(geometry.camera_m)
    for other in optima[1:]:
        there = other.state.world_from_local.apply(geometry.camera_m)
        shift_m = float(np.linalg.norm((there - here)[:, :2], axis=1).max())
        if shift_m > DISTINCT_BASIN_M:
            return other.score - optima[0].score, shift_m
    return float("inf"), float("nan")


def _solution(
    problem: Problem,
    geometry: Geometry,
    best: Refined,
    origins: tuple[Float, Float],
    tried: tuple[int, float, float],
) -> JointSolution:
    state, widening = best.state, _widening(best)
    covariance = best.covariance * widening
    transform, seven = state.world_from_local, covariance[:7, :7]
    flat = replace(state, ground=np.zeros_like(state.ground))
    geometry = geometry_of(problem)
    reached = reach(problem, geometry, flat).point_m
    if not problem.height_known.any():
        up_m = transform.apply(reached[best.inlier])[:, 2]
        transform, seven = _on_the_ground(problem, transform, seven, up_m)
    world, seven = _uncentred(transform, seven, *origins)
    error_m = np.linalg.norm((transform.apply(reached) - problem.target_m)[:, :2], axis=1)
    error_px = np.linalg.norm(marks_in_images(problem, geometry, flat) - problem.px, axis=1)
    return JointSolution(
        world_from_local=world,
        covariance=seven,
        base_height_m=state.base_height_m,
        base_height_sigma_m=float(np.sqrt(covariance[BASE_HEIGHT, BASE_HEIGHT])),
        residual_px=error_px,
        residual_m=error_m,
        mahalanobis=np.sqrt(best.d2),
        outlier=~best.inlier,
        reduced_chi2=best.reduced_chi2,
        n_starts=tried[0],
        runner_up_margin=tried[1],
        runner_up_shift_m=tried[2],
        state=state,
    )


def _widening(best: Refined) -> float:
    """Variance factor when the residuals are significantly (2 sigma) larger than stated; chance alone does not
    widen.
    """
    freedom = max(1, 2 * int(best.inlier.sum()) - 4)
    expected = 1.0 + 2.0 * np.sqrt(2.0 / freedom)
    return best.reduced_chi2 if best.reduced_chi2 > expected else 1.0


def _on_the_ground(problem: Problem, transform: Similarity, covariance: Float, up_m: Float) -> tuple[Similarity, Float]:
    """Clicks without heights say nothing about the vertical: put the clicked ground at its assumed height."""
    lift = problem.priors.ground_height_m - float(np.mean(up_m))
    raised = replace(transform, translation_m=transform.translation_m + np.array([0.0, 0.0, lift]))
    widened = covariance.copy()
    widened[2, :] = widened[:, 2] = 0.0
    widened[2, 2] = problem.priors.ground_height_sigma_m**2
    return raised, widened


def _uncentred(
    transform: Similarity, covariance: Float, world_origin: Float, local_origin: Float
) -> tuple[Similarity, Float]:
    """Back to the given origins. With a = s·R·(local origin): t = t' − a, δt = δt' + [a]×δθ − a·δσ."""
    arm = transform.scale * transform.rotation.apply(local_origin)
    moved = replace(transform, translation_m=world_origin + transform.translation_m - arm)
    jacobian = np.eye(7)
    jacobian[:3, 3:6] = skew(arm)
    jacobian[:3, 6] = -arm
    return moved, jacobian @ covariance @ jacobian.T
