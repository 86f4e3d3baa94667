"""The synthetic street: two rows of buildings, a side street, road, pavements and what stands on them.

Street axes: x along the street, y to its left, z up, metres; the road surface is z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geocorrect.demo.render.surfaces import SUN, Block, Quad, floor, panel
from geocorrect.demo.render.textures import plain
from geocorrect.demo.street import ground
from geocorrect.demo.street.canvas import Seed
from geocorrect.demo.street.facades import STOREY_M, Facade
from geocorrect.demo.street.furniture import awning, balcony, car, kiosk, random_street_object
from geocorrect.records import Float

ROAD_HALF_M = 4.6
FACADE_M = 7.6
"""Distance of the building line from the middle of the road."""
KERB_M = 0.13
SIDE_STREET_WIDTH_M, SIDE_STREET_DEPTH_M = 9.0, 45.0
BACKDROP_M = 28.0
"""How far beyond the length of the street the road goes on before a building closes the view."""


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


@dataclass(frozen=True)
class StreetPlan:
    """What to build."""

    seed: int
    """Decides every detail."""
    length_m: float = 160.0
    px_per_m: float = 80.0
    """Resolution of the façades."""

    @property
    def side_street_m(self) -> tuple[float, float]:
        """Where the side street leaves on the left, along x."""
        start = round(0.56 * self.length_m, 1)
        return start, start + SIDE_STREET_WIDTH_M

    @property
    def ends_m(self) -> tuple[float, float]:
        """Where buildings close the view, along x."""
        return -BACKDROP_M, self.length_m + BACKDROP_M


@dataclass
class Street:
    """A street under construction; outlines are (N, 2) street metres."""

    plan: StreetPlan
    quads: list[Quad] = field(default_factory=list)
    """All surfaces."""
    building_outlines_m: list[Float] = field(default_factory=list)
    """Footprints, for a map."""
    object_outlines_m: list[Float] = field(default_factory=list)
    """Footprints of cars and furniture."""
    building_shadows_m: list[Float] = field(default_factory=list)
    """On the ground."""


def build_street(plan: StreetPlan) -> Street:
    """Everything in the street that does not move; the same plan gives the same street."""
    street = Street(plan)
    (low, high), (start, end) = plan.ends_m, plan.side_street_m
    right = row_of_buildings((plan.seed, 1), (low, high), -1.0, FACADE_M, 2)
    left = row_of_buildings((plan.seed, 2), (low, start), +1.0, FACADE_M, 1)
    left_beyond = row_of_buildings((plan.seed, 3), (end, high), +1.0, FACADE_M, 31)
    for building in (*right, *left, *left_beyond):
        street.quads += building.quads(plan.px_per_m)
        street.building_outlines_m.append(building.footprint_m)
        street.building_shadows_m.append(building.shadow_m)
    _close_the_ends(street)
    _side_street(street)
    _park_cars(street)
    _furnish(street)
    _ground(street)
    return street


def _close_the_ends(street: Street) -> None:
    """The buildings that end the view at both ends of the street."""
    plan = street.plan
    for k, (x, sign) in enumerate(((plan.ends_m[0], 1.0), (plan.ends_m[1], -1.0))):
        texture = Facade((plan.seed, 6, k), 34.0, 15.0, 0.6 * plan.px_per_m).texture()
        street.quads.append(panel((x, 0, 0), (sign, 0, 0), (34.0, 15.0), texture))
        street.building_outlines_m.append(np.array([[x, -17], [x - 8 * sign, -17], [x - 8 * sign, 17], [x, 17]]))


def _side_street(street: Street) -> None:
    """Its two rows and the house at its end; nobody surveyed it."""
    plan, (start, end) = street.plan, street.plan.side_street_m
    for k, (x, sign) in enumerate(((start, 1.0), (end, -1.0))):
        for j, y in enumerate(np.arange(FACADE_M + 10.0, FACADE_M + SIDE_STREET_DEPTH_M, 11.0)):
            height = 9.0 + 2.5 * ((j + k) % 3)
            texture = Facade((plan.seed, 7, k, j), 11.0, height, plan.px_per_m, number=2 * j + k + 1).texture()
            street.quads.append(panel((x, y + 5.5, 0.0), (sign, 0, 0), (11.0, height), texture))
            far = x - 8 * sign
            street.building_outlines_m.append(np.array([[x, y], [far, y], [far, y + 11], [x, y + 11]]))
    width = SIDE_STREET_WIDTH_M + 4
    texture = Facade((plan.seed, 8), width, 12.0, plan.px_per_m).texture()
    foot = ((start + end) / 2, FACADE_M + SIDE_STREET_DEPTH_M + 9, 0.0)
    street.quads.append(panel(foot, (0, -1, 0), (width, 12.0), texture))


def _park_cars(street: Street) -> None:
    rng = np.random.default_rng([street.plan.seed, 4])
    start, end = street.plan.side_street_m
    for side in (-1.0, 1.0):
        x = float(rng.uniform(-10, -4))
        while x < street.plan.length_m + 10:
            x += float(rng.choice([5.2, 5.6, 8.0, 14.0]))
            if side > 0 and start - 4 < x < end + 4:
                continue
            centre = (x, side * (ROAD_HALF_M - 1.0 + float(rng.normal(0, 0.07))))
            yaw = float(rng.normal(0, 1.5)) + (180.0 if side > 0 else 0.0)
            seed = (street.plan.seed, 4, int(x * 10) + 1000, int(side > 0))
            quads, body = car(seed, centre, yaw)
            street.quads += quads
            street.object_outlines_m.append(body.footprint_m)


def _furnish(street: Street) -> None:
    """Lamp posts, signs, planters, kiosks and bins on the pavements."""
    rng = np.random.default_rng([street.plan.seed, 5])
    start, end = street.plan.side_street_m
    for side in (-1.0, 1.0):
        for k, x in enumerate(np.arange(-8.0, street.plan.length_m + 10, 6.0)):
            x = float(x + rng.uniform(-1.5, 1.5))
            if side > 0 and start - 1 < x < end + 1:
                continue
            at = (x, side * float(rng.uniform(5.0, 5.35)))
            quads, outline = random_street_object(rng, (street.plan.seed, 5, k, int(side > 0)), at, KERB_M)
            street.quads += quads
            if len(outline):
                street.object_outlines_m.append(outline)


def _ground(street: Street) -> None:
    plan, p = street.plan, 0.6 * street.plan.px_per_m
    (low, high), (start, end) = plan.ends_m, plan.side_street_m
    shade = ground.Shade(tuple(street.object_outlines_m), tuple(street.building_shadows_m))
    crossings = (12.0, start - 5.0, end + 2.0)
    road = ground.Strip((plan.seed, 9), (low, -ROAD_HALF_M), (high, ROAD_HALF_M), p)
    lane = ground.Strip((plan.seed, 10), (start, ROAD_HALF_M), (end, ROAD_HALF_M + 60.0), p)
    street.quads.append(floor(road.low_m, road.high_m, 0.0, ground.road(road, shade, crossings)))
    street.quads.append(floor(lane.low_m, lane.high_m, 0.0, ground.road(lane, shade, (), centre_line=False)))
    earth = plain("earth", (120, 112, 100), 10, plan.seed)
    street.quads.append(floor((low - 40, -90.0), (high + 40, 90.0), -0.03, earth))
    kerb = plain("kerb", (168, 164, 156), 12, plan.seed)
    for k, (x0, x1, side) in enumerate(((low, high, -1.0), (low, start, 1.0), (end, high, 1.0))):
        inner, outer = sorted((side * ROAD_HALF_M, side * (FACADE_M + 1.7)))
        strip = ground.Strip((plan.seed, 11, k), (x0, inner), (x1, outer), p)
        street.quads.append(floor(strip.low_m, strip.high_m, KERB_M, ground.pavement(strip, shade)))
        middle = ((x0 + x1) / 2, side * ROAD_HALF_M, 0.0)
        street.quads.append(panel(middle, (0.0, -side, 0.0), (x1 - x0, KERB_M), kerb))
    for x, sign in ((start, 1.0), (end, -1.0)):
        street.quads.append(panel((x, ROAD_HALF_M + 1.5, 0.0), (sign, 0, 0), (3.0, KERB_M), kerb))
