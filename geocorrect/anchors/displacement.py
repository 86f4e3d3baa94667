"""How clearly a record is displaced: by all views around it together, not by what its neighbours see of it alone.

An error of a record is in its own view, and in those of all that see it, with the other sign; and what the neighbours
err by themselves is in their views, too. The likelihood ratio of an additional error of the record (generalised least
squares; Teunissen 2000, "Testing theory", for networks of surveys) uses both. Where four neighbours see each
anchor, a displacement shows as clearly as by five or six that err each by itself; by the own view alone, as by three.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.neighbour_view import NeighbourView

Float = NDArray[np.float64]

RINGS = 2
"""Views that touch the record, and those that touch what they touch: a third ring adds 1 % of the information."""


@dataclass(frozen=True, eq=False)
class Displacement:
    """What the views say of an additional error of one record."""

    gradient: Float
    """(6,) of the log likelihood: translation per m, rotation per rad, world side."""
    information: Float
    """(6, 6)."""

    def length2(self, part: slice) -> float:
        """Squared length of the most likely error of the position or rotation alone, χ² of 3 if there is none."""
        gradient, information = self.gradient[part], self.information[part, part]
        return float(gradient @ np.linalg.solve(information, gradient))


def displacements(
    views: Mapping[str, NeighbourView], noise: Mapping[str, tuple[float, float]]
) -> dict[str, Displacement]:
    """What the views say of every anchor that has one.

    Args:
        views: of the anchors, without those already found to be wrong.
        noise: factors on the stated noise of position and rotation, by anchor; 1 where none is given.
    """
    touching: dict[str, set[str]] = defaultdict(set)
    for viewer, view in views.items():
        for record in (viewer, *view.by_neighbour):
            touching[record].add(viewer)
    found = {}
    for name in views:
        around = touching[name]
        for _ in range(RINGS - 1):
            around = set().union(*(touching[record] for viewer in around for record in _records(viewer, views)))
        found[name] = _displacement(name, {viewer: views[viewer] for viewer in sorted(around)}, noise)
    return found


def _records(viewer: str, views: Mapping[str, NeighbourView]) -> tuple[str, ...]:
    return viewer, *views[viewer].by_neighbour


def _displacement(
    name: str, views: Mapping[str, NeighbourView], noise: Mapping[str, tuple[float, float]]
) -> Displacement:
    records = sorted({record for viewer in views for record in _records(viewer, views)})
    column = {record: 6 * n for n, record in enumerate(records)}
    effect, sigma = np.zeros((6 * len(views), 6 * len(records))), np.zeros(6 * len(records))
    covariance, shift = np.zeros((6 * len(views), 6 * len(views))), np.zeros(6 * len(views))
    for n, (viewer, view) in enumerate(views.items()):
        rows = slice(6 * n, 6 * n + 6)
        shift[rows], covariance[rows, rows] = view.shift, view.measured
        effect[rows, column[viewer] : column[viewer] + 6] = np.eye(6)
        for record, by in view.by_neighbour.items():
            effect[rows, column[record] : column[record] + 6] -= by
        for record in _records(viewer, views):
            own = views.get(record, view).record_sigma * np.repeat(noise.get(record, (1.0, 1.0)), 3)
            sigma[column[record] : column[record] + 6] = own
    by_noise = effect * sigma
    of_record = effect[:, column[name] : column[name] + 6]
    weighted = np.linalg.solve(covariance + by_noise @ by_noise.T, of_record)
    return Displacement(weighted.T @ shift, weighted.T @ of_record)
