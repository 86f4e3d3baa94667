"""How a camera moved while it took a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocorrect.records.basic import Float


@dataclass(frozen=True, eq=False)
class CameraMotion:
    """Velocity and rotation rate in the scene's ENU axes, about the middle of the exposure."""

    velocity_m_s: Float
    """(3,)."""
    turn_rad_s: Float
    """(3,) rotation rate, world side: t later the rotation is exp(t · turn) · R."""
    velocity_sigma_m_s: float
    """Standard deviation of the velocity, per axis."""
    turn_sigma_rad_s: float
    """The same of the rotation rate."""

    def __post_init__(self) -> None:
        for name in ("velocity_m_s", "turn_rad_s"):
            values = np.asarray(getattr(self, name), float)
            if values.shape != (3,) or not np.isfinite(values).all():
                raise ValueError(f"CameraMotion.{name} must be 3 finite numbers, got {getattr(self, name)!r}")
        for name in ("velocity_sigma_m_s", "turn_sigma_rad_s"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ValueError(f"CameraMotion.{name} must be a number ≥ 0, got {getattr(self, name)!r}")

    @property
    def speed_m_s(self) -> float:
        """Length of the velocity."""
        return float(np.linalg.norm(self.velocity_m_s))
