"""The synthetic street: two rows of buildings, a side street, road, pavements and what stands on them.

Street axes: x along the street, y to its left, z up, metres; the road surface is z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geocorrect.demo import furniture, ground
from geocorrect.demo.facades import Facade
from geocorrect.demo.solids import Block, floor, panel
from geocorrect.demo.surfaces import Float, Quad
from geocorrect.demo.textures import plain

ROAD_HALF_M = 4.6
FACADE_M = 7.6
"""Distance of the building line from the middle of the road."""
KERB_M = 0.13
SIDE_STREET_WIDTH_M = 9.0
BACKDROP_M = 28.0
"""How far beyond the length of the street the road goes on before a building closes the view."""


@dataclass(frozen=True)
class StreetPlan:
    """What to build. seed decides every detail; px_per_m is the resolution of the façades."""

    seed: int
    length_m: float = 160.0
    px_per_m: float = 80.0

    @property
    def side_street_m(self) -> tuple[float, float]:
        """Where the side street leaves on the left, along x."""
        start = round(0.56 * self.length_m, 1)
        return start, start + SIDE_STREET_WIDTH_M


@dataclass
class Street:
    """The quads, and footprints (each (N, 2) street metres) for a map."""

    plan: StreetPlan
    quads: list[Quad] = field(default_factory=list)
    building_outlines_m: list[Float] = field(default_factory=list)
    object_outlines_m: list[Float] = field(default_factory=list)


def build_street(plan: StreetPlan) -> Street:
    """Everything that stands still in the street; the same plan gives the same street."""
    street = Street(plan)
    start, end = plan.side_street_m
    low, high = -BACKDROP_M, plan.length_m + BACKDROP_M
    _row(street, (low, high), -1.0, 1)
    _row(street, (low, start), +1.0, 2)
    _row(street, (end, high), +1.0, 3)
    _closing_buildings(street, (low, high), (start, end))
    _park_cars(street, 4)
    _furnish(street, 5)
    _ground(street, (low, high), (start, end))
    return street


def _row(street: Street, span_m: tuple[float, float], side: float, stream: int) -> None:
    """Buildings shoulder to shoulder along one side (+1 left, −1 right)."""
    rng = np.random.default_rng([street.plan.seed, stream])
    x, number = span_m[0], int(stream == 1) + 1
    while x < span_m[1] - 0.5:
        width = float(rng.uniform(8.5, 15.0))
        if span_m[1] - x - width < 7:
            width = span_m[1] - x
        setback = float(rng.choice([0.0, 0.0, 0.35, 0.9, 1.6]))
        height = float(rng.uniform(7.5, 17.0))
        _building(street, (x, x + width), side, (setback, height), (street.plan.seed, stream, number))
        x, number = x + width, number + 2


def _building(
    street: Street,
    span_m: tuple[float, float],
    side: float,
    setback_height_m: tuple[float, float],
    seed: tuple[int, ...],
) -> None:
    rng = np.random.default_rng((*seed, 99))
    (x0, x1), (setback, height), p = span_m, setback_height_m, street.plan.px_per_m
    y, outward = side * (FACADE_M + setback), np.array([0.0, -side, 0.0])
    depth = 10.0
    front = Facade((*seed, 0), x1 - x0, height, p, shops=float(rng.uniform(0.3, 0.9)), number=seed[-1]).texture()
    street.quads.append(panel((float(x0 + x1) / 2, y, KERB_M), outward, (x1 - x0, height), front))
    flank = Facade((*seed, 1), depth, height, p / 2, blind=True).texture()
    for x, sign in ((x0, -1.0), (x1, 1.0)):
        street.quads.append(panel((x, y + side * depth / 2, KERB_M), (sign, 0, 0), (depth, height), flank))
    near, far = y, y + side * depth
    street.building_outlines_m.append(np.array([[x0, near], [x1, near], [x1, far], [x0, far]]))
    _reliefs(street, rng, (x0, x1), y, side, height, seed)


def _reliefs(
    street: Street,
    rng: np.random.Generator,
    span_m: tuple[float, float],
    y: float,
    side: float,
    height: float,
    seed: tuple[int, ...],
) -> None:
    """Cornice, balconies, awnings and hanging signs: what makes a façade more than a plane."""
    x0, x1 = span_m
    stone = plain("cornice", (196, 186, 166), 12, seed[-1] + 17)
    street.quads += Block(
        ((x0 + x1) / 2, y - side * 0.15), x1 - x0, 0.3, KERB_M + height - 0.35, KERB_M + height
    ).quads(stone, stone, stone)
    for k in range(int(rng.integers(0, 4))):
        x = float(rng.uniform(x0 + 1.5, x1 - 1.5))
        floor_z = 4.2 + 3.1 * float(rng.integers(0, max(int((height - 5) / 3.1), 1)))
        if floor_z < height - 2.5:
            balcony = Block((x, y - side * 0.45), float(rng.uniform(1.6, 2.6)), 0.9, floor_z, floor_z + 0.95)
            street.quads += (
                furniture.kiosk((*seed, 40 + k), balcony) if rng.random() < 0.2 else balcony.quads(stone, stone, stone)
            )
    outward = np.array([0.0, -side, 0.0])
    for k in range(int(rng.integers(0, 3))):
        x = float(rng.uniform(x0 + 2.0, x1 - 2.0))
        foot = np.array([x, y + outward[1] * 0.02, KERB_M + float(rng.uniform(3.0, 3.3))])
        street.quads += furniture.awning((*seed, 50 + k), foot, outward, float(rng.uniform(2.2, 3.6)))
    if rng.random() < 0.7:
        sign = Block((float(rng.uniform(x0 + 0.6, x1 - 0.6)), y - side * 0.5), 0.12, 0.8, 2.9, 4.1)
        street.quads += furniture.kiosk((*seed, 60), sign)


def _closing_buildings(street: Street, ends_m: tuple[float, float], side_m: tuple[float, float]) -> None:
    """The walls that end the view at both ends of the street, and the side street with its own two rows."""
    seed, p = street.plan.seed, street.plan.px_per_m
    for k, (x, sign) in enumerate(((ends_m[0], 1.0), (ends_m[1], -1.0))):
        texture = Facade((seed, 6, k), 34.0, 15.0, 0.6 * p).texture()
        street.quads.append(panel((x, 0, 0), (sign, 0, 0), (34.0, 15.0), texture))
        street.building_outlines_m.append(np.array([[x, -17], [x - 8 * sign, -17], [x - 8 * sign, 17], [x, 17]]))
    depth = 45.0
    for k, (x, sign) in enumerate(((side_m[0], 1.0), (side_m[1], -1.0))):
        for j, y in enumerate(np.arange(FACADE_M + 10.0, FACADE_M + depth, 11.0)):
            height = 9.0 + 2.5 * ((j + k) % 3)
            texture = Facade((seed, 7, k, j), 11.0, height, p, number=2 * j + k + 1).texture()
            street.quads.append(panel((x, y + 5.5, 0.0), (sign, 0, 0), (11.0, height), texture))
            far = x - 8 * sign
            street.building_outlines_m.append(np.array([[x, y], [far, y], [far, y + 11], [x, y + 11]]))
    end = Facade((seed, 8), SIDE_STREET_WIDTH_M + 4, 12.0, p).texture()
    middle, y = (side_m[0] + side_m[1]) / 2, FACADE_M + depth + 9
    street.quads.append(panel((middle, y, 0.0), (0, -1, 0), (SIDE_STREET_WIDTH_M + 4, 12.0), end))


def _park_cars(street: Street, stream: int) -> None:
    rng = np.random.default_rng([street.plan.seed, stream])
    for side in (-1.0, 1.0):
        x = float(rng.uniform(-10, -4))
        while x < street.plan.length_m + 10:
            x += float(rng.choice([5.2, 5.6, 8.0, 14.0]))
            start, end = street.plan.side_street_m
            if side > 0 and start - 4 < x < end + 4:
                continue
            centre = (x, side * (ROAD_HALF_M - 1.0 + float(rng.normal(0, 0.07))))
            yaw = float(rng.normal(0, 1.5)) + (180.0 if side > 0 else 0.0)
            quads, body = furniture.car((street.plan.seed, stream, int(x * 10) + 1000, int(side > 0)), centre, yaw)
            street.quads += quads
            street.object_outlines_m.append(body.footprint_m)


def _furnish(street: Street, stream: int) -> None:
    """Lamp posts, signs, planters, kiosks and bins on the pavements."""
    rng, seed = np.random.default_rng([street.plan.seed, stream]), street.plan.seed
    start, end = street.plan.side_street_m
    for side in (-1.0, 1.0):
        for k, x in enumerate(np.arange(-8.0, street.plan.length_m + 10, 6.0)):
            x = float(x + rng.uniform(-1.5, 1.5))
            if side > 0 and start - 1 < x < end + 1:
                continue
            key, y = (seed, stream, k, int(side > 0)), side * float(rng.uniform(5.0, 5.35))
            kind = rng.choice(
                ["lamp", "sign", "planter", "kiosk", "bin", "nothing"], p=[0.2, 0.24, 0.2, 0.12, 0.12, 0.12]
            )
            if kind == "lamp":
                street.quads += furniture.post(key, (x, y), 5.6, None)
            elif kind == "sign":
                street.quads += furniture.post(key, (x, y), 2.9, float(rng.choice([0.0, 180.0]) + rng.normal(0, 8)))
            elif kind == "planter":
                street.quads += furniture.planter(key, Block((x, y), 1.3, 0.6, KERB_M, 1.15, float(rng.normal(0, 4))))
            elif kind != "nothing":
                size = (2.0, 0.9, 2.4) if kind == "kiosk" else (0.7, 0.6, 1.15)
                box = Block((x, y + side * 0.4), size[0], size[1], KERB_M, size[2], float(rng.normal(0, 3)))
                street.quads += furniture.kiosk(key, box)
                street.object_outlines_m.append(box.footprint_m)


def _ground(street: Street, ends_m: tuple[float, float], side_m: tuple[float, float]) -> None:
    seed, p, (low, high) = street.plan.seed, 0.6 * street.plan.px_per_m, ends_m
    shadows = tuple(
        (
            float(o[:, 0].min() - low),
            float(ROAD_HALF_M - o[:, 1].max()),
            float(o[:, 0].max() - low),
            float(ROAD_HALF_M - o[:, 1].min()),
        )
        for o in street.object_outlines_m
    )
    length, depth = high - low, 60.0
    crossings = (side_m[0] - 5.0 - low, side_m[1] + 2.0 - low, 12.0 - low)
    asphalt = ground.road(ground.Strip((seed, 9), length, 2 * ROAD_HALF_M, p, shadows), crossings)
    street.quads.append(floor(low, -ROAD_HALF_M, high, ROAD_HALF_M, 0.0, asphalt))
    lane = ground.road(ground.Strip((seed, 10), side_m[1] - side_m[0], depth, p), (), centre_line=False)
    street.quads.append(floor(side_m[0], ROAD_HALF_M, side_m[1], ROAD_HALF_M + depth, 0.0, lane))
    kerb = plain("kerb", (168, 164, 156), 12, seed)
    for k, (x0, x1, side) in enumerate(((low, high, -1.0), (low, side_m[0], 1.0), (side_m[1], high, 1.0))):
        width = FACADE_M + 1.7 - ROAD_HALF_M
        stones = ground.pavement(ground.Strip((seed, 11, k), x1 - x0, width, p))
        inner, outer = sorted((side * ROAD_HALF_M, side * (ROAD_HALF_M + width)))
        street.quads.append(floor(x0, inner, x1, outer, KERB_M, stones))
        middle = ((x0 + x1) / 2, side * ROAD_HALF_M, 0.0)
        street.quads.append(panel(middle, -side * np.array([0.0, 1.0, 0.0]), (x1 - x0, KERB_M), kerb))
    for x, sign in ((side_m[0], 1.0), (side_m[1], -1.0)):
        street.quads.append(panel((x, ROAD_HALF_M + 1.5, 0.0), (sign, 0, 0), (3.0, KERB_M), kerb))
