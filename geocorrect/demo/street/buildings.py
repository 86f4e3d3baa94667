"""One building of the row: a painted front, blind flanks, and what sticks out of the front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocorrect.demo.render.surfaces import SUN, Quad
from geocorrect.demo.render.textures import plain
from geocorrect.demo.street.canvas import Seed
from geocorrect.demo.street.facades import STOREY_M, Facade
from geocorrect.demo.street.furniture import awning, balcony, kiosk
from geocorrect.demo.street.solids import Block, panel
from geocorrect.records import Float

DEPTH_M = 10.0


@dataclass(frozen=True)
class Building:
    """A house in a row along the street, in street axes."""

    seed: Seed
    start_m: float
    """Where it begins along x."""
    end_m: float
    """Where it ends along x."""
    side: float
    """+1 left, −1 right of the street."""
    line_m: float
    """Distance of its front from the middle of the road."""
    height_m: float
    number: int
    """House number, which also tells the seeds of neighbours apart."""

    @property
    def front_m(self) -> float:
        """Y of the front."""
        return self.side * self.line_m

    @property
    def outward(self) -> Float:
        """Normal of the front, towards the street."""
        return np.array([0.0, -self.side, 0.0])

    @property
    def footprint_m(self) -> Float:
        """(4, 2) corners on the ground."""
        start, end, near, far = self.start_m, self.end_m, self.front_m, self.side * (self.line_m + DEPTH_M)
        return np.array([[start, near], [end, near], [end, far], [start, far]])

    @property
    def shadow_m(self) -> Float:
        """(4, 2) outline of the shadow that the front's upper edge and its foot bound on the ground."""
        shift = -SUN[:2] / SUN[2] * self.height_m
        front = self.footprint_m[:2]
        return np.concatenate([front, front[::-1] + shift])

    def quads(self, px_per_m: float) -> list[Quad]:
        """All surfaces; façades at px_per_m."""
        rng = np.random.default_rng((*self.seed, 99))
        width = self.end_m - self.start_m
        shops = float(rng.uniform(0.3, 0.9))
        front = Facade((*self.seed, 0), width, self.height_m, px_per_m, shops, number=self.number).texture()
        flank = Facade((*self.seed, 1), DEPTH_M, self.height_m, px_per_m / 2, blind=True).texture()
        middle = (self.start_m + self.end_m) / 2
        quads = [panel((middle, self.front_m, 0.0), self.outward, (width, self.height_m), front)]
        for x, sign in ((self.start_m, -1.0), (self.end_m, 1.0)):
            foot = (x, self.front_m + self.side * DEPTH_M / 2, 0.0)
            quads.append(panel(foot, (sign, 0, 0), (DEPTH_M, self.height_m), flank))
        return quads + self._cornice_and_balconies(rng) + self._awnings_and_sign(rng)

    def _cornice_and_balconies(self, rng: np.random.Generator) -> list[Quad]:
        stone = plain("cornice", (196, 186, 166), 12, self.number + 17)
        top, middle = self.height_m, (self.start_m + self.end_m) / 2
        cornice = Block((middle, self.front_m - self.side * 0.15), self.end_m - self.start_m, 0.3, top - 0.35, top)
        quads = cornice.quads(stone, stone, stone)
        for k in range(int(rng.integers(0, 4))):
            x = float(rng.uniform(self.start_m + 1.5, self.end_m - 1.5))
            z = 4.2 + STOREY_M * float(rng.integers(0, max(int((top - 5) / STOREY_M), 1)))
            if z < top - 2.5:
                width = float(rng.uniform(1.6, 2.6))
                block = Block((x, self.front_m - self.side * 0.45), width, 0.9, z, z + 0.95)
                quads += balcony((*self.seed, 40 + k), block)
        return quads

    def _awnings_and_sign(self, rng: np.random.Generator) -> list[Quad]:
        quads: list[Quad] = []
        for k in range(int(rng.integers(0, 3))):
            x = float(rng.uniform(self.start_m + 2.0, self.end_m - 2.0))
            foot = np.array([x, self.front_m + 0.02 * self.outward[1], float(rng.uniform(3.1, 3.4))])
            quads += awning((*self.seed, 50 + k), foot, self.outward, float(rng.uniform(2.2, 3.6)))
        if rng.random() < 0.7:
            x = float(rng.uniform(self.start_m + 0.6, self.end_m - 0.6))
            sign = Block((x, self.front_m - self.side * 0.5), 0.12, 0.8, 2.9, 4.1)
            quads += kiosk((*self.seed, 60), sign)
        return quads


def row_of_buildings(
    seed: Seed, span_m: tuple[float, float], side: float, line_m: float, first_number: int
) -> list[Building]:
    """Buildings shoulder to shoulder from span_m[0] to span_m[1], fronts on the line or set back from it."""
    rng = np.random.default_rng(seed)
    x, number, row = span_m[0], first_number, []
    while x < span_m[1] - 0.5:
        width = float(rng.uniform(8.5, 15.0))
        if span_m[1] - x - width < 7:
            width = span_m[1] - x
        setback = float(rng.choice([0.0, 0.0, 0.35, 0.9, 1.6]))
        height = float(rng.uniform(7.5, 17.0))
        row.append(Building((*seed, number), x, x + width, side, line_m + setback, height, number))
        x, number = x + width, number + 2
    return row
