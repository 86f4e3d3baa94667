"""Absolute positions from elsewhere, and what they say about a result once the error that they share is taken off.

The provider computes positions, the device reports them. Both are off by metres, but by nearly the same from photo to
photo: the error is a constant and a slow walk along the way, seen at the results that need no confirmation, plus noise.
Such a position never moves a pose. It only tells whether a result is where the photo can have been taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.pose import Pose
from geocorrect.localize.covariance import horizontal_sigma_m
from geocorrect.sequences.confirmation import TELLS_COPIES_M
from geocorrect.sequences.graph import PRIOR_FREEDOM
from geocorrect.sequences.motion import MotionHints

Float = NDArray[np.float64]

SOURCES = ("computed", "reported")
"""Names of the sources: the provider and the device."""
AGREES_SIGMAS = 3.0
"""Distance (2 degrees of freedom: 98.9 %) up to which a position confirms a result."""
MIN_KNOWN = 3
MAX_KNOWN = 40
"""Results that show the shared error: at least, and those nearest on the way."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions of the N photos of a sequence by one source, with the noise that it starts from, per axis."""

    name: str
    enu_m: Float
    """(N, 2) east and north, nan where unknown."""
    part: tuple[str, ...]
    """N names: photos of one part share an error."""
    noise_m: float
    """White."""
    walk_m: float
    """Of the shared error over 100 m of the way."""


@dataclass(frozen=True)
class PositionCheck:
    """A result against what a source says of its place."""

    source: str
    distance: float
    """Mahalanobis distance, 2 degrees of freedom."""
    apart_m: float
    error_m: float
    """Of the source, its shared error taken off: 68 %, horizontal."""

    @property
    def tells_copies(self) -> bool:
        """Whether the position is good enough to tell the copies of a façade apart."""
        return self.error_m <= TELLS_COPIES_M


def positions_of(hints: Sequence[MotionHints]) -> tuple[Positions, Positions]:
    """What the hints of N photos say of their places: the provider's computed positions and the reported ones."""
    nowhere = np.full(2, np.nan)
    computed = [nowhere if h.computed is None else h.computed[1].translation_m[:2] for h in hints]
    part = tuple("" if h.computed is None else h.computed[0] for h in hints)
    reported = [h.reported_enu_m[:2] for h in hints]
    return (
        Positions(SOURCES[0], np.array(computed).reshape(-1, 2), part, noise_m=0.15, walk_m=1.0),
        Positions(SOURCES[1], np.array(reported).reshape(-1, 2), ("",) * len(hints), noise_m=0.7, walk_m=2.0),
    )


def check_position(
    positions: Positions, results: Sequence[Pose | None], known: Sequence[int], asked: int, way_m: Float
) -> PositionCheck | None:
    """What a source says about the result of one photo; None where fewer than three results show its shared error.

    Ordinary kriging of the error (position minus result) along the way. Both noises are scaled by one factor, estimated
    from the differences between successive known results.

    Args:
        positions: of the N photos.
        results: N poses with covariance.
        known: photos whose results are right; the one asked about does not count.
        asked: the photo.
        way_m: (N,) along the recording.
    """
    place_m, own = positions.enu_m, results[asked]
    near = [
        k for k in known if k != asked and positions.part[k] == positions.part[asked] and np.isfinite(place_m[k]).all()
    ]
    if len(near) < MIN_KNOWN or own is None or own.covariance is None or not np.isfinite(place_m[asked]).all():
        return None
    near = sorted(sorted(near, key=lambda k: abs(way_m[k] - way_m[asked]))[:MAX_KNOWN])
    off_m = place_m[near] - np.array([pose.translation_m[:2] for k in near if (pose := results[k]) is not None])
    way, walk, white = way_m[near], positions.walk_m**2 / 100.0, positions.noise_m**2
    squared = (np.diff(off_m, axis=0) ** 2).sum(axis=1) / (2.0 * white + walk * np.diff(way))
    factor = (PRIOR_FREEDOM + float(squared.sum())) / (PRIOR_FREEDOM + 2.0 * len(squared))

    # Generalised covariance of a random walk; weights that sum to 1 make a constant error drop out.
    system = np.ones((len(near) + 1, len(near) + 1))
    system[:-1, :-1] = -0.5 * walk * np.abs(way[:, None] - way) + white * np.eye(len(near))
    system[-1, -1] = 0.0
    right = np.append(-0.5 * walk * np.abs(way - way_m[asked]), 1.0)
    weights = np.linalg.solve(system, right)
    covariance = factor * (white - float(weights @ right)) * np.eye(2)
    apart_m = own.translation_m[:2] - (place_m[asked] - weights[:-1] @ off_m)
    distance = float(apart_m @ np.linalg.solve(covariance + own.covariance[:2, :2], apart_m)) ** 0.5
    return PositionCheck(positions.name, distance, float(np.linalg.norm(apart_m)), horizontal_sigma_m(covariance))


def agrees(checks: Iterable[PositionCheck | None]) -> bool:
    """Whether a source that tells copies apart agrees with a result, and none of those contradicts it."""
    heard = [one for one in checks if one is not None and one.tells_copies]
    return bool(heard) and all(one.distance <= AGREES_SIGMAS for one in heard)
