"""A calibration is a claim: matches that want another focal length, principal point or distortion by far more than
the camera's stated error are believed instead, and the photo is solved with the priors of an unknown lens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.joint.fields import refine
from geocorrect.localize.joint.normal import normal_equations, solve_step
from geocorrect.localize.joint.problem import LENS, Problem, bent
from geocorrect.localize.joint.residuals import State
from geocorrect.localize.joint.solve import Solved, minimise
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions, pixel_scale

Float = NDArray[np.float64]

WIDE_FOCAL_SIGMA = 0.1
WIDE_PRINCIPAL_PX = 15.0
WIDE_BEND = 0.1
"""Priors of a lens whose calibration was found wrong; pixels at 512 px."""
NOTABLE_FOCAL = 0.004
NOTABLE_PRINCIPAL_PX = 2.0
NOTABLE_BEND = 0.004
"""A smaller change of the lens is not looked into: it moves a pose by less than a few centimetres; pixels at 512 px."""
NOTABLE_SIGMAS = 3.0
"""Nor one within this many stated standard deviations."""
MAX_LENS_SIGMAS = 5.0
"""Distance (of four unknowns together) between the stated lens and the matches' own at which the claim is refuted."""


@dataclass(frozen=True, eq=False)
class LensCheck:
    """What the matches say of the stated lens."""

    prior: Float
    """(D,) inverse prior variances to solve with: widened where the claim was refuted."""
    found: Solved
    """The trial's solution under it."""
    sigmas: float
    """Distance between stated and found lens; 0 where they do not differ notably."""


def check_lens(
    trial: Problem,
    found: Solved,
    prior: Float,
    observations: Sequence[Observations],
    camera: Camera,
    options: LocalizeOptions,
) -> LensCheck:
    """Solve again with a lens that is free, where a first step towards it is notable, and compare."""
    as_stated = LensCheck(prior, found, 0.0)
    scale = pixel_scale(camera)
    px = NOTABLE_PRINCIPAL_PX * scale
    notable = np.array([NOTABLE_FOCAL, px, px, NOTABLE_BEND])
    notable = np.maximum(notable, NOTABLE_SIGMAS / np.sqrt(prior[LENS]))
    wide = prior.copy()
    px = WIDE_PRINCIPAL_PX * scale
    variance = np.array([WIDE_FOCAL_SIGMA, px, px, WIDE_BEND]) ** 2
    wide[LENS] = np.minimum(prior[LENS], 1.0 / variance)
    if camera.projection is Projection.SPHERICAL or (wide == prior).all():
        return as_stated
    try:
        step, _ = solve_step(normal_equations(trial, found.state, found.at, found.weights, wide), 0.0)
    except np.linalg.LinAlgError:
        return as_stated
    if (np.abs(found.state.deviations[LENS] + step[LENS]) < notable).all():
        return as_stated
    free = minimise(trial, found.state, wide, found.nominal_px, options.joint, found.active)
    refined = refine(trial, free, observations, camera, wide, options)
    if refined is None:
        return as_stated
    change = refined.state.deviations[LENS]
    expected = COVARIANCE_INFLATION * refined.lens_covariance + np.diag(1.0 / prior[LENS])
    sigmas = float(np.sqrt(change @ np.linalg.solve(expected, change)))
    return LensCheck(wide, free, sigmas) if sigmas > MAX_LENS_SIGMAS else LensCheck(prior, found, sigmas)


def estimated_camera(camera: Camera, state: State) -> Camera:
    """The query's camera with the estimated focal length, principal point and distortion."""
    if camera.projection is Projection.SPHERICAL:
        return camera
    x_px, y_px = camera.principal_x_px + float(state.principal[0]), camera.principal_y_px + float(state.principal[1])
    focal = _with_bend(camera, state.bend).with_focal_scaled(float(np.exp(state.focal)))
    return replace(focal, principal_x_px=x_px, principal_y_px=y_px)


def _with_bend(camera: Camera, bend: float) -> Camera:
    """The camera whose first two radial coefficients say what the bend does to the lens, by least squares."""
    u, v = np.meshgrid(np.linspace(0, camera.width - 1, 9), np.linspace(0, camera.height - 1, 9))
    px = np.column_stack([u.ravel(), v.ravel()])
    rays = unit_rays(camera, bent(camera, px, bend))
    n = len(camera.distortion)
    terms = min(2, n)  # k1 and k2 come first in every model

    def changed(by: NDArray[Any]) -> Camera:
        return replace(camera, distortion=tuple(np.add(camera.distortion, np.pad(by, (0, n - terms)))))

    # The image of a ray is linear in the coefficients.
    step = 1e-3
    at = camera.project(rays)[0]
    by = np.stack([(changed(row).project(rays)[0] - at) / step for row in step * np.eye(terms)], axis=-1)
    known = np.isfinite(by).all(axis=(1, 2)) & np.isfinite(at).all(axis=1)
    found = np.linalg.lstsq(by[known].reshape(-1, terms), (px - at)[known].ravel(), rcond=None)[0]
    return changed(found)
