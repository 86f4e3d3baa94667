"""What is known of the shared unknowns before a match is looked at: the stated noise of lens, depth and records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.localize.covariance import record_noise_of
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import REFERENCE_LONG_SIDE_PX, JointOptions

Float = NDArray[np.float64]


def prior_information(observations: Sequence[Observations], camera: Camera, options: JointOptions) -> Float:
    """(D,) inverse prior variances of the shared unknowns; 0 for the pose, which has none."""
    focal_sigma = camera.focal_sigma if np.isfinite(camera.focal_sigma) else options.focal_sigma
    principal = 1.0 / _principal_sigma_px(camera, focal_sigma, options) ** 2
    focal, bend = (1.0 / max(sigma, 1e-5) ** 2 for sigma in (focal_sigma, min(focal_sigma, options.bend_sigma)))
    shared = [0.0] * 6 + [focal, principal, principal, bend]
    for o in observations:
        position_m, rotation_deg = record_noise_of(o.anchor, options)
        move, turn = 1.0 / position_m**2, 1.0 / np.radians(rotation_deg) ** 2
        depth = 1.0 / max(o.common_log_sigma, options.min_depth_scale_sigma) ** 2
        shared += [depth, move, move, move, turn, turn, turn]
    return np.array(shared)


def _principal_sigma_px(camera: Camera, focal_sigma: float, options: JointOptions) -> float:
    guessed_px = options.principal_px * max(camera.width, camera.height) / REFERENCE_LONG_SIDE_PX
    if focal_sigma > options.calibrated_focal_sigma:
        return guessed_px
    return float(np.clip(focal_sigma * focal_px(camera), 0.1, guessed_px))
