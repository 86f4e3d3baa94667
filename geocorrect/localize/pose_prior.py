"""Weak knowledge about the photo's pose that is not in the matches: where it was reported, how high the camera was,
that it was held level.

Off unless the configuration states how far each may be wrong. Each is one linear row with a sigma of metres or
degrees: it decides where the matches say nothing (a lone anchor's scale, the roll about a street) and moves a pose
that they fix to centimetres by less than a millimetre (prior 10 m, posterior 5 cm: 0.1 mm for a report 5 m off).
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
    """Expected camera centre (3,) in the world of the problem with its sigma (3,) m, and sigmas of roll and pitch about
    level, rad. A nan says nothing.
    """

    centre_m: Float
    centre_sigma_m: Float
    roll_sigma_rad: float
    pitch_sigma_rad: float

    def rows(self, rotation: Float, centre_m: Float) -> tuple[Float, Float]:
        """(residuals (R,), derivatives (R, 6)) in sigmas, at world_from_cam rotation (3, 3) and centre (3,).

        The sines of roll and pitch are the heights of the camera's x and z axes; a turn δθ on the world side moves
        the height of an axis a by δθ_x a_y − δθ_y a_x.
        """
        if self._says_nothing:
            return np.zeros(0), np.zeros((0, 6))
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

    @cached_property
    def _says_nothing(self) -> bool:
        return not (self._known.any() or np.isfinite(self.roll_sigma_rad) or np.isfinite(self.pitch_sigma_rad))


NO_PRIOR = PosePrior(np.full(3, np.nan), np.full(3, np.nan), float("nan"), float("nan"))


def pose_prior(
    reported_m: Float, observations: Sequence[Observations], origin_m: Float, options: PosePriorOptions
) -> PosePrior:
    """What the options allow to be said: reported_m (3,) in the world of the anchors, nan when unknown; the camera is
    expected at the mean height of the anchors' cameras. The result is in the world shifted by origin_m.
    """
    height_m = float(np.mean([o.anchor.world_from_cam.translation_m[2] for o in observations]))
    sigma_m = np.array([_or_nan(v) for v in (options.reported_m, options.reported_m, options.height_m)])
    centre_m = np.array([reported_m[0], reported_m[1], height_m]) - origin_m
    roll, pitch = (float(np.radians(_or_nan(v))) for v in (options.roll_deg, options.pitch_deg))
    return PosePrior(centre_m, sigma_m, roll, pitch)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
