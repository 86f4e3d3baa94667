"""The synthetic street: two rows of buildings, a side street, road, pavements and what stands on them.

Street axes: x along the street, y to its left, z up, metres; the road surface is z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geocorrect.demo.render.surfaces import Quad
from geocorrect.demo.render.textures import plain
from geocorrect.demo.street import ground
from geocorrect.demo.street.buildings import row_of_buildings
from geocorrect.demo.street.cars import car
from geocorrect.demo.street.facades import Facade
from geocorrect.demo.street.furniture import random_street_object
from geocorrect.demo.street.solids import floor, panel
from geocorrect.records import Float

ROAD_HALF_M = 4.6
FACADE_M = 7.6
"""Distance of the building line from the middle of the road."""
KERB_M = 0.13
SIDE_STREET_WIDTH_M, SIDE_STREET_DEPTH_M = 9.0, 45.0
BACKDROP_M = 28.0
"""How far beyond the length of the street the road goes on before a building closes the view."""


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
