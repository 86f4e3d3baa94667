"""A calibration is a claim: matches that want another focal length or principal point by far more than the camera's
stated error are believed instead, and the photo is solved with the priors of an unknown lens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.joint.fields import LENS, refine
from geocorrect.localize.joint.normal import normal_equations, solve_step
from geocorrect.localize.joint.problem import Problem
from geocorrect.localize.joint.solve import Solved, minimise
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions, pixel_scale

Float = NDArray[np.float64]

WIDE_FOCAL_SIGMA = 0.1
WIDE_PRINCIPAL_PX = 15.0
"""Priors of a lens whose calibration was found wrong; pixels at 512 px."""
NOTABLE_FOCAL = 0.004
NOTABLE_PRINCIPAL_PX = 2.0
"""A smaller change of the lens is not looked into: it moves a pose by less than a few centimetres; pixels at 512 px."""
NOTABLE_SIGMAS = 3.0
"""Nor one within this many stated standard deviations."""
MAX_LENS_SIGMAS = 5.0
"""Distance (of three unknowns together) between the stated lens and the matches' own at which the claim is refuted."""


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
    notable = np.array([NOTABLE_FOCAL, NOTABLE_PRINCIPAL_PX * scale, NOTABLE_PRINCIPAL_PX * scale])
    notable = np.maximum(notable, NOTABLE_SIGMAS / np.sqrt(prior[LENS]))
    wide = prior.copy()
    variance = np.array([WIDE_FOCAL_SIGMA, WIDE_PRINCIPAL_PX * scale, WIDE_PRINCIPAL_PX * scale]) ** 2
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
