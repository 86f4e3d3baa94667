"""Is each anchor where its record says? Its neighbours' view of it against its record, and the noise of the drive.

An anchor that contradicts its neighbours makes them look wrong, too. So the worst ones are named first, one of a
neighbourhood at a time, and those around them are seen again without them (data snooping, Baarda 1968). The noise of
the drive is the factor on the stated noise that makes the contradictions of the anchors that are left most likely.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

Float = NDArray[np.float64]

MIN_NEIGHBOURS = 2
"""With fewer it cannot be told who is wrong."""
FALSE_ALARM = 0.008
"""Probability that a good anchor is named by one comparison of position and rotation."""
NOISE_RANGE = 0.05, 20.0
"""Factors on the stated noise that are tried."""
T_IN_SIGMAS = 1.148
"""A normal sample's standard deviation over the scale that Student's t of four degrees of freedom gives it, in three
components."""
POSITION, ROTATION = slice(0, 3), slice(3, 6)


@dataclass(frozen=True, eq=False)
class NeighbourView:
    """Where the neighbours see an anchor."""

    shift: Float
    """(6,) record minus view: translation m, rotation rad, world side."""
    measured: Float
    """(6, 6) covariance of the view if all records were exact."""
    recorded: Float
    """(6, 6) what the stated noise of all records adds, the anchor's own included."""

    def covariance(self, noise: tuple[float, float]) -> Float:
        """(6, 6) of the shift, at factors on the stated noise of position and rotation."""
        factor = np.repeat(noise, 3)
        total: Float = self.measured + factor[:, None] * self.recorded * factor
        return total

    def distance2(self, noise: tuple[float, float]) -> float:
        """Squared Mahalanobis length of the shift of position or rotation, the larger of them: three components."""
        covariance = self.covariance(noise)
        return max(
            float(self.shift[part] @ np.linalg.solve(covariance[part, part], self.shift[part]))
            for part in (POSITION, ROTATION)
        )


@dataclass(frozen=True, eq=False)
class AnchorCheck:
    """What was found out about a set of anchors."""

    views: Mapping[str, NeighbourView]
    """By anchor, without the neighbours that were named; those that could not be judged are missing."""
    named: Mapping[str, float]
    """Anchors that contradict their neighbours, and by how many sigmas per degree of freedom, worst first."""
    noise: tuple[float, float]
    """Factors on the stated noise of position and rotation; nan where fewer than ten anchors tell."""


def check_anchors(
    neighbours: Mapping[str, Sequence[str]],
    view: Callable[[str, Collection[str]], NeighbourView | None],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> AnchorCheck:
    """Name the anchors that contradict their neighbours.

    Args:
        neighbours: of each anchor.
        view: of an anchor by some of its neighbours; None where they do not fix its pose.
        on_progress: called with anchors done and in all.
    """
    views: dict[str, NeighbourView] = {}
    named: dict[str, float] = {}

    def look(name: str) -> None:
        left = [other for other in neighbours[name] if other not in named]
        seen = view(name, left) if len(left) >= MIN_NEIGHBOURS else None
        views.pop(name, None)
        if seen is not None:
            views[name] = seen

    for done, name in enumerate(neighbours, 1):
        look(name)
        on_progress(done, len(neighbours))
    limit = float(chi2.ppf(1 - FALSE_ALARM / 2, 3))
    while True:
        noise = drive_noise([v for name, v in views.items() if name not in named])
        judged = tuple(1.0 if np.isnan(factor) else factor for factor in noise)
        size = {name: v.distance2((judged[0], judged[1])) for name, v in views.items() if name not in named}
        worst = [
            name
            for name, value in size.items()
            if value > limit and all(size.get(other, 0.0) <= value for other in _around(name, neighbours))
        ]
        if not worst:
            break
        named |= {name: float(np.sqrt(size[name] / 3)) for name in worst}
        for name in neighbours:
            if name not in named and any(other in worst for other in neighbours[name]):
                look(name)
    return AnchorCheck(views, dict(sorted(named.items(), key=lambda item: -item[1])), noise)


def _around(name: str, neighbours: Mapping[str, Sequence[str]]) -> set[str]:
    """Anchors whose view, or which in view, the anchor touches."""
    return {*neighbours[name], *(other for other, names in neighbours.items() if name in names)}


def drive_noise(views: Sequence[NeighbourView]) -> tuple[float, float]:
    """Factors on the stated noise of position and rotation; nan with fewer than ten views."""
    if len(views) < 10:
        return float("nan"), float("nan")
    return _factor(views, POSITION), _factor(views, ROTATION)


def _factor(views: Sequence[NeighbourView], part: slice) -> float:
    """Maximum likelihood with Student's t of four degrees of freedom: what is not yet named must not count in full."""
    shift = np.array([v.shift[part] for v in views])
    measured, recorded = (np.array([getattr(v, name)[part, part] for v in views]) for name in ("measured", "recorded"))
    degrees = 4.0

    def loss(log_factor: float) -> float:
        covariance = (measured + np.exp(2 * log_factor) * recorded) / T_IN_SIGMAS**2
        distance2 = np.einsum("ni,ni->n", shift, np.linalg.solve(covariance, shift[:, :, None])[:, :, 0])
        size = np.linalg.slogdet(covariance)[1]
        return float((0.5 * size + 0.5 * (degrees + 3) * np.log1p(distance2 / degrees)).sum())

    low, high = np.log(NOISE_RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))
