"""What is known of photos with measured positions: the positions, and rays of neighbours that meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.pose import Pose

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeenTogether:
    """Two photos that see the same points."""

    first: int
    second: int
    """Rows of the photos."""
    first_rays: Float
    second_rays: Float
    """(M, 3) unit rays in the cameras' axes."""
    first_from_second: Pose
    """Relative pose that fits them, of unit length."""
    sigma_rad: float
    """Of a ray."""


@dataclass(frozen=True, eq=False)
class PhotoProblem:
    """N photos."""

    antenna_m: Callable[[float], Float]
    """(N, 3) measured positions of the receiver, metres east, north, up, at an offset of the clocks in seconds."""
    velocity_m_s: Callable[[float], Float]
    """(N, 3) their derivative; zero where the positions are the photos' own."""
    sigma_m: Float
    """(N, 3) east, north, up."""
    arm_m: Float
    """(3,) receiver in the camera's axes."""
    independent: float
    """So many of the N positions have errors of their own: those of a receiver stay alike for a while."""
    pairs: Sequence[SeenTogether]
    is_level: bool
    """The cameras stand upright on average."""
    offsets_s: Float
    """Offsets that are tried first; one alone is not estimated."""


@dataclass(frozen=True, eq=False)
class PhotoPoses:
    """The solution."""

    rows: NDArray[np.int64]
    """(K,) photos that have a pose: those that hang together with two others at least."""
    world_from_cam: tuple[Pose, ...]
    """K, with covariance."""
    offset_s: float
    offset_sigma_s: float
    """Of the clocks; 0 where it is not estimated."""
    turn_sigma_deg: float
    """Largest of the photos'."""
