"""The reference method: planar PnP of every image on its own, then a similarity between camera centres (Umeyama 1991).

As published for VBR, but with the origin removed before any solver sees a coordinate. For
comparison: four or five ground clicks seen at a grazing angle fix a single camera badly. The published text states the
similarity in three dimensions, the published program solved it in plan: both are here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import covariance_at_origin, point_jacobian
from geocorrect.errors import InputError
from geocorrect.geometry.similarity import DegenerateError, Similarity, umeyama
from geocorrect.georeference.joint.model import State
from geocorrect.georeference.joint.solve import click_errors
from geocorrect.georeference.joint.starts import level_rotation
from geocorrect.georeference.problem import Float, Problem, Solution

MIN_CLICKS_PER_IMAGE = 4


def solve_umeyama(problem: Problem, *, in_plan: bool = True) -> Solution:
    """PnP per image and a similarity; InputError when too few images can be solved or their centres do not fix one.

    in_plan: yaw, shift and scale in plan, the height lifted. Else all seven parameters from the centres in three
    dimensions, which takes three off one line; tilt is then what the PnP heights make of it.
    Residuals, like those of the joint method, are those of the final alignment, so that the two tables compare.
    """
    origin = np.append(problem.target_m[:, :2].mean(axis=0), 0.0)
    found = [(image, _camera_centre(problem, image, origin)) for image in range(len(problem.images))]
    centres = {image: centre for image, centre in found if centre is not None}
    if len(centres) < 3:
        raise InputError(
            f"{len(centres)} images have the {MIN_CLICKS_PER_IMAGE} clicks that planar PnP needs; the umeyama method "
            "needs 3 such images (the joint method does with less)"
        )
    level = level_rotation(problem.up_local)
    camera_m = np.array([problem.images[image].local_from_cam.translation_m for image in centres])
    local, world, flat = level.apply(camera_m), np.array(list(centres.values())), np.array([1.0, 1.0, 0.0])
    name, used = ("umeyama", flat) if in_plan else ("umeyama-3d", np.ones(3))
    try:
        plan = umeyama(world * used, local * used, "similarity")
    except DegenerateError as error:
        raise InputError(f"{name}: {error}") from None
    if not in_plan:
        transform = Similarity(plan.scale, plan.rotation * level, plan.translation_m + origin)
        return _as_solution(problem, transform, world + origin, camera_m)
    if plan.rotation.as_matrix()[2, 2] < 0:
        raise InputError("umeyama: the camera centres fit the map only mirrored; the clicks are inconsistent")
    lift = float(np.median(world[:, 2] - plan.scale * local[:, 2]))
    shift = plan.translation_m + origin + np.array([0.0, 0.0, lift])
    transform = Similarity(plan.scale, plan.rotation * level, shift)
    return _as_solution(problem, transform, world[:, :2] + origin[:2], camera_m)


def _camera_centre(problem: Problem, image: int, origin: Float) -> Float | None:
    """World position of a camera by planar PnP on its own clicks, relative to origin; None with too few clicks."""
    import cv2

    own = problem.image_index == image
    if own.sum() < MIN_CLICKS_PER_IMAGE:
        return None
    rays = problem.images[image].camera.unproject(problem.px[own])
    points = np.ascontiguousarray(np.nan_to_num(problem.target_m[own] - origin) * [1.0, 1.0, 0.0])
    middle = points.mean(axis=0)
    found, turns, shifts, _ = cv2.solvePnPGeneric(
        points - middle, rays[:, :2] / rays[:, 2:], np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
    )
    for turn, shift in zip(turns[:found], shifts[:found], strict=True):
        centre: Float = -Rotation.from_rotvec(turn.ravel()).inv().apply(shift.ravel()) + middle
        if np.isfinite(centre).all() and centre[2] > 0:
            return centre
    return None


def _as_solution(problem: Problem, transform: Similarity, world: Float, local: Float) -> Solution:
    """world: (N, 2) camera centres in plan, or (N, 3)."""
    dimensions = world.shape[1]
    error = (transform.apply(local)[:, :dimensions] - world).ravel()
    variance = float(error @ error) / max(1, len(error) - (4 if dimensions == 2 else 7))
    height = float(np.median(transform.apply(local)[:, 2])) - problem.images[0].base_from_cam.translation_m[2]
    state = State(transform, max(height, 0.1), np.zeros((len(problem.images), 3)))
    reached_m, _, residual_px = click_errors(problem, state)
    _, residual_m, _ = click_errors(replace(problem, on_ground=np.ones(len(problem), bool)), state)
    covariance = (_plan_covariance if dimensions == 2 else _covariance)(problem, transform, local, variance)
    outlier = np.zeros(len(problem), bool)
    return Solution(transform, covariance, state.base_height_m, reached_m, residual_m, residual_px, outlier)


def _covariance(problem: Problem, transform: Similarity, local: Float, variance: float) -> Float:
    """(7, 7) from the scatter of the camera centres in three dimensions."""
    arms = transform.scale * transform.rotation.apply(local)
    middle = arms.mean(axis=0)
    rows = point_jacobian(arms - middle).reshape(-1, 7)
    covariance = np.asarray(variance * np.linalg.inv(rows.T @ rows), np.float64)
    return covariance_at_origin(covariance, middle)


def _plan_covariance(problem: Problem, transform: Similarity, local: Float, variance: float) -> Float:
    """(7, 7) from the scatter of the camera centres; tilt and height are what the priors say."""
    arms = transform.scale * transform.rotation.apply(local)
    middle = arms.mean(axis=0)
    in_plan = [0, 1, 5, 6]
    rows = point_jacobian(arms - middle)[:, :2][:, :, in_plan].reshape(-1, 4)
    covariance = np.zeros((7, 7))
    covariance[np.ix_(in_plan, in_plan)] = variance * np.linalg.inv(rows.T @ rows)
    covariance[2, 2] = problem.priors.ground_height_sigma_m**2
    covariance[3, 3] = covariance[4, 4] = np.radians(problem.priors.tilt_sigma_deg) ** 2
    return covariance_at_origin(covariance, middle)
