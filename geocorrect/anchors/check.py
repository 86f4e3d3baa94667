"""Is each anchor where its record says? What its neighbours and theirs see against its record, and the drive's noise.

An anchor that contradicts its neighbours makes them look wrong, too. So the worst ones are named first, one of a
neighbourhood at a time, and those around them are seen again without them (data snooping, Baarda 1968). The noise of
a drive is the factor on the stated noise that makes the contradictions of the anchors that are left most likely, less
what its anchors err by alike (`drive_errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2

from geocorrect.anchors.displacement import displacements
from geocorrect.anchors.drive_errors import DriveErrors, DriveModel, estimate
from geocorrect.anchors.neighbour_view import POSITION, ROTATION, NeighbourView

Float = NDArray[np.float64]

MIN_NEIGHBOURS = 2
"""With fewer it cannot be told who is wrong."""
FALSE_ALARM = 0.0096, 0.0024
"""Probability that the position, and the rotation, of a good record is found displaced. Of the good ones half a per
cent is named, as only the worst of a neighbourhood is."""
NOISE_RANGE = 0.05, 20.0
"""Factors on the stated noise that are tried."""
T_IN_SIGMAS = 1.148
"""A normal sample's standard deviation over the scale that Student's t of four degrees of freedom gives it, in three
components."""
LESS_LIKELY = 1.0
"""Log likelihood that the noise in use has less than the most likely one: matches that are better than modelled hide a
part of it."""
ROUNDS = 2
"""In which the noise of a drive and what its anchors err by alike are separated."""


@dataclass(frozen=True, eq=False)
class AnchorCheck:
    """What was found out about a set of anchors."""

    views: Mapping[str, NeighbourView]
    """By anchor, without the neighbours that were named; those that could not be judged are missing."""
    named: Mapping[str, float]
    """Anchors that contradict their neighbours, and by how many sigmas per degree of freedom, worst first."""
    sigmas: Mapping[str, float]
    """The same of all that could be judged: of position or rotation, whichever is nearer to its limit."""
    noise: tuple[float, float]
    """Of all drives together, as in `DriveErrors`."""
    drives: Mapping[str, DriveErrors]
    """What was found of each drive."""


def check_anchors(
    neighbours: Mapping[str, Sequence[str]],
    view: Callable[[str, Collection[str]], NeighbourView | None],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    drives: Mapping[str, DriveModel] | None = None,
) -> AnchorCheck:
    """Name the anchors that contradict their neighbours.

    Args:
        neighbours: of each anchor.
        view: of an anchor by some of its neighbours; None where they do not fix its pose.
        on_progress: called with anchors done and in all.
        drives: by name, each with its anchors; None: all are of one drive, of which no motion is known.
    """
    drives = drives or {"": DriveModel({name: np.zeros((6, 1)) for name in neighbours})}
    drive_of = {anchor: name for name, model in drives.items() for anchor in model.effects}
    views: dict[str, NeighbourView] = {}
    named: dict[str, float] = {}

    def look(name: str) -> None:
        others = [other for other in neighbours[name] if other not in named]
        seen = view(name, others) if len(others) >= MIN_NEIGHBOURS else None
        views.pop(name, None)
        if seen is not None:
            views[name] = seen

    for done, name in enumerate(neighbours, 1):
        look(name)
        on_progress(done, len(neighbours))
    sigmas: dict[str, float] = {}
    limits = chi2.ppf(np.subtract(1, FALSE_ALARM), 3)
    while True:
        good = {name: seen for name, seen in views.items() if name not in named}
        found = {name: drive_errors(good, model) for name, model in drives.items()}
        left = {
            name: without_common(seen, drives[drive_of[name]], name, found[drive_of[name]].values)
            for name, seen in views.items()
        }
        judged = {name: judged_noise(found[drive].noise) for name, drive in drive_of.items()}
        lengths2 = {
            name: np.array([one.length2(part) for part in (POSITION, ROTATION)])
            for name, one in displacements({name: left[name] for name in good}, judged).items()
        }
        # In units of the limits, of the part that is nearer to its own.
        size = {name: float(np.max(value2 / limits)) for name, value2 in lengths2.items()}
        sigmas |= {name: float(np.sqrt(lengths2[name][np.argmax(lengths2[name] / limits)] / 3)) for name in good}
        worst = [
            name
            for name, value in size.items()
            if value > 1.0 and all(size.get(other, 0.0) <= value for other in _around(name, neighbours))
        ]
        if not worst:
            break
        named |= {name: sigmas[name] for name in worst}
        for name in neighbours:
            if name not in named and any(other in worst for other in neighbours[name]):
                look(name)
    noise = drive_noise([left[name] for name in good])
    return AnchorCheck(left, dict(sorted(named.items(), key=lambda item: -item[1])), sigmas, noise, found)


def drive_errors(views: Mapping[str, NeighbourView], model: DriveModel) -> DriveErrors:
    """Noise of a drive, and what its anchors err by alike: each without the other, until they agree."""
    own = {name: view for name, view in views.items() if name in model.effects}
    noise = drive_noise(list(own.values()))
    for _ in range(ROUNDS):
        values, covariance = estimate(own, model, judged_noise(noise))
        left = [without_common(view, model, name, values) for name, view in own.items()]
        noise = drive_noise(left)
    return DriveErrors(noise, drive_noise(left, LESS_LIKELY), values, covariance)


def judged_noise(noise: tuple[float, float]) -> tuple[float, float]:
    """Factors to judge by: what is stated where nothing was found."""
    position, rotation = (1.0 if np.isnan(factor) else factor for factor in noise)
    return position, rotation


def without_common(view: NeighbourView, model: DriveModel, name: str, values: Float) -> NeighbourView:
    """A view less what the anchors of the drive err by alike."""
    none = np.zeros((6, len(values)))
    around = sum((s @ model.effects.get(n, none) for n, s in view.by_neighbour.items()), none)
    return replace(view, shift=view.shift - (model.effects[name] - around) @ values)


def _around(name: str, neighbours: Mapping[str, Sequence[str]]) -> set[str]:
    """Anchors whose view, or which in view, the anchor touches."""
    return {*neighbours[name], *(other for other, names in neighbours.items() if name in names)}


def drive_noise(views: Sequence[NeighbourView], less_likely: float = 0.0) -> tuple[float, float]:
    """Factors on the stated noise of position and rotation; nan with fewer than ten views.

    less_likely: 0 for the most likely ones, else the largest whose logarithm of the likelihood is less by that much.
    """
    if len(views) < 10:
        return float("nan"), float("nan")
    return _factor(views, POSITION, less_likely), _factor(views, ROTATION, less_likely)


def _factor(views: Sequence[NeighbourView], part: slice, less_likely: float) -> float:
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
    limit = found.fun + less_likely
    if not less_likely or loss(high) <= limit:
        return float(np.exp(high if less_likely else found.x))
    return float(np.exp(brentq(lambda at: loss(at) - limit, found.x, high)))
