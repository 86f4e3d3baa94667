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
"""Priors under which the matches are asked; pixels at 512 px."""
NOTABLE_FOCAL = 0.004
NOTABLE_PRINCIPAL_PX = 1.5
NOTABLE_BEND = 0.004
"""A smaller change of the lens is not believed unless it is clear: it moves a pose by less than a few centimetres;
pixels at 512 px."""
NOTABLE_SIGMAS = 3.0
"""Nor one within this many stated standard deviations."""
LOOKED_INTO = 0.7
"""Share of a notable change that a first step must want for the matches to be asked: it falls short of the change."""
CLEAR_LENS_SIGMAS = 4.0
"""Distance from which a change whose first step is less than notable is doubted, too. KITTI raw 0002: at least 5.1 for
principal points 5 px off, at most 3.1 for right lenses (5 of 24 and 14 of 48 solutions had such a step)."""
DOUBTED_LENS_SIGMAS = 2.0
"""Distance (of four unknowns together) between the stated lens and the matches' own that the errors of both explain;
its square is 4 on average. Farther, neither is believed alone. At 1 a right lens of one vague anchor was set free."""
REFUTED_LENS_SIGMAS = 5.0
"""Farther than this, what is stated of the other unknowns is no calibration either."""
PARTS = (slice(0, 1), slice(1, 3), slice(3, 4))
"""Focal length, principal point, bend: they are not stated wrongly together without need."""
LENS_SIGMAS = ("focal_sigma", "principal_x_sigma_px", "principal_y_sigma_px", "bend_sigma")
"""Names of the standard deviations in `Evidence.lens`."""


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
    guessed: Float,
) -> LensCheck:
    """Where a first step towards a free lens is notable, free what it changes most, see what the rest says, compare.

    guessed: (4,) inverse prior variances of a lens that nobody calibrated.
    """
    as_stated = LensCheck(prior, found, 0.0)
    scale, stated = pixel_scale(camera), prior[LENS]
    wide = _with_lens(
        prior, np.minimum(stated, 1.0 / _sizes(WIDE_FOCAL_SIGMA, WIDE_PRINCIPAL_PX * scale, WIDE_BEND) ** 2)
    )
    if camera.projection is Projection.SPHERICAL or (wide == prior).all():
        return as_stated
    try:
        step, _ = solve_step(normal_equations(trial, found.state, found.at, found.weights, wide), 0.0)
    except np.linalg.LinAlgError:
        return as_stated
    notable = _sizes(NOTABLE_FOCAL, NOTABLE_PRINCIPAL_PX * scale, NOTABLE_BEND)
    wanted = np.abs(found.state.deviations[LENS] + step[LENS]) / np.maximum(notable, NOTABLE_SIGMAS / np.sqrt(stated))
    if (wanted < LOOKED_INTO).all():
        return as_stated
    most = max(PARTS, key=lambda part: float(wanted[part].max()))
    one = prior.copy()
    one[LENS][most] = wide[LENS][most]
    free = minimise(trial, found.state, one, found.nominal_px, options.joint, found.active)
    refined = refine(trial, free, observations, camera, wide, options)
    if refined is None:
        return as_stated
    change = refined.state.deviations[LENS]
    expected = COVARIANCE_INFLATION * refined.lens_covariance + np.diag(1.0 / stated)
    sigmas = float(np.sqrt(change @ np.linalg.solve(expected, change)))
    if (wanted < 1.0).all() and sigmas < CLEAR_LENS_SIGMAS:
        return as_stated
    if sigmas < DOUBTED_LENS_SIGMAS:
        return LensCheck(prior, found, sigmas)
    lens = stated.copy() if sigmas < REFUTED_LENS_SIGMAS else np.minimum(stated, guessed)
    for part in PARTS:
        alone = float(np.sqrt(change[part] @ np.linalg.solve(expected[part, part], change[part])))
        if part is most or alone > NOTABLE_SIGMAS:
            # Twice the change: the claim pulls what the matches know well by next to nothing.
            lens[part] = np.minimum(lens[part], 0.25 / np.maximum(change[part] ** 2, 1e-12))
    return LensCheck(_with_lens(prior, lens), free, sigmas)


def _sizes(focal: float, principal_px: float, bend: float) -> Float:
    """(4,) in the order of the lens' unknowns."""
    return np.array([focal, principal_px, principal_px, bend])


def _with_lens(prior: Float, lens: Float) -> Float:
    changed = prior.copy()
    changed[LENS] = lens
    return changed


def lens_by_matches(state: State, covariance: Float, prior: Float, camera: Camera) -> dict[str, float]:
    """What the matches alone say of the lens, as in `Evidence`.

    The stated calibration is taken out again, as many photos of one device state the same; what the matches do not know
    keeps the priors of a free lens. covariance: (4, 4) with the (4,) inverse variances that were assumed.
    """
    if camera.projection is Projection.SPHERICAL:
        return {}
    wide = _sizes(WIDE_FOCAL_SIGMA, WIDE_PRINCIPAL_PX * pixel_scale(camera), WIDE_BEND)
    information = np.linalg.inv(covariance)
    alone = np.linalg.inv(information - np.diag(prior) + np.diag(wide**-2))
    change, sigma = alone @ information @ state.deviations[LENS], np.sqrt(COVARIANCE_INFLATION * np.diag(alone))
    return {
        "focal_px": camera.focal_x_px * float(np.exp(change[0])),
        "principal_x_px": camera.principal_x_px + float(change[1]),
        "principal_y_px": camera.principal_y_px + float(change[2]),
        "bend": float(change[3]),
        **dict(zip(LENS_SIGMAS, sigma.tolist(), strict=True)),
    }


def estimated_camera(camera: Camera, state: State) -> Camera:
    """The query's camera with the estimated focal length, principal point and distortion."""
    if camera.projection is Projection.SPHERICAL:
        return camera
    x_px, y_px = camera.principal_x_px + float(state.principal[0]), camera.principal_y_px + float(state.principal[1])
    focal = with_bend(camera, state.bend).with_focal_scaled(float(np.exp(state.focal)))
    return replace(focal, principal_x_px=x_px, principal_y_px=y_px)


def with_bend(camera: Camera, bend: float) -> Camera:
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
