"""Weak knowledge about the photo's pose that is not in the matches: where it was reported, how high the camera was,
that it was held level.

Off unless the configuration states how far each may be wrong. Each is one linear row with a sigma of metres or degrees:
it decides where the matches say nothing (a lone anchor's scale, the roll about a street) and moves a pose that they fix
to centimetres by less than a millimetre (prior 10 m, posterior 5 cm: 0.1 mm for a reported position 5 m off).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.observations import Observations
from geocorrect.localize.options import PosePriorOptions

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PosePrior:
    """Expected position and level camera, each with its sigma; a nan says nothing."""

    centre_m: Float
    """(3,) expected camera centre in the world of the problem."""
    centre_sigma_m: Float
    """(3,) its standard deviation."""
    roll_sigma_rad: float
    """Standard deviation of the roll about level."""
    pitch_sigma_rad: float
    """Standard deviation of the pitch about level."""

    def rows(self, rotation: Float, centre_m: Float) -> tuple[Float, Float]:
        """(residuals (R,), derivatives (R, 6)) in sigmas, at world_from_cam rotation (3, 3) and centre (3,).

        The sines of roll and pitch are the heights of the camera's x and z axes; a rotation δθ on the world side moves
        the height of an axis a by δθ_x a_y − δθ_y a_x.
        """
        known = self._known
        residual = [(centre_m - self.centre_m)[known] / self.centre_sigma_m[known]]
        by_pose = [np.eye(3, 6)[known] / self.centre_sigma_m[known, None]]
        for axis, sigma in ((0, self.roll_sigma_rad), (2, self.pitch_sigma_rad)):
            if np.isfinite(sigma):
                x, y, z = rotation[:, axis]
                residual.append(np.array([z / sigma]))
                by_pose.append(np.array([[0.0, 0.0, 0.0, y / sigma, -x / sigma, 0.0]]))
        return np.concatenate(residual), np.concatenate(by_pose)

    @cached_property
    def _known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.centre_m) & np.isfinite(self.centre_sigma_m)


NO_PRIOR = PosePrior(np.full(3, np.nan), np.full(3, np.nan), float("nan"), float("nan"))


def pose_prior(
    reported_m: Float, observations: Sequence[Observations], origin_m: Float, options: PosePriorOptions
) -> PosePrior:
    """The priors that the options ask for; the camera is expected at the mean height of the anchors' cameras.

    Args:
        reported_m: (3,) reported position in the world of the anchors, nan when unknown.
        observations: of the anchors.
        origin_m: (3,) origin of the problem's world; the result is in it.
        options: the sigmas.
    """
    height_m = float(np.mean([o.anchor.world_from_cam.translation_m[2] for o in observations]))
    centre_m = np.array([reported_m[0], reported_m[1], height_m]) - origin_m
    given = (options.reported_m, options.reported_m, options.height_m, options.roll_deg, options.pitch_deg)
    sigmas = np.array(given, float)  # None becomes nan
    return PosePrior(centre_m, sigmas[:3], *np.radians(sigmas[3:]).tolist())
