"""Where its neighbours see an anchor, beside where its record puts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

POSITION, ROTATION = slice(0, 3), slice(3, 6)


@dataclass(frozen=True, eq=False)
class NeighbourView:
    """Where the neighbours see an anchor."""

    shift: Float
    """(6,) record minus view: translation m, rotation rad, world side."""
    measured: Float
    """(6, 6) covariance of the view if all records were exact."""
    record_sigma: Float
    """(6,) stated standard deviation of a record, its own as those of the neighbours: m, rad."""
    by_neighbour: Mapping[str, Float] = field(default_factory=dict)
    """(6, 6) by how much the view errs per unit error of each neighbour's record."""

    @cached_property
    def recorded(self) -> Float:
        """(6, 6) what the stated noise of all records adds to the covariance, the anchor's own included."""
        of_neighbours = [effect * self.record_sigma for effect in self.by_neighbour.values()]
        return sum((effect @ effect.T for effect in of_neighbours), np.diag(self.record_sigma**2))

    def covariance(self, noise: tuple[float, float]) -> Float:
        """(6, 6) of the shift, at factors on the stated noise of position and rotation."""
        factor = np.repeat(noise, 3)
        total: Float = self.measured + factor[:, None] * self.recorded * factor
        return total
