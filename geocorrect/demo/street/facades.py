"""The front of a building: wall, floors of windows, ground floor with shops, doors, posters and graffiti."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from geocorrect.demo.render.noise import Float32
from geocorrect.demo.render.textures import ImageArray, Texture
from geocorrect.demo.street.openings import WindowStyle, darken, door, fill, window
from geocorrect.demo.street.posters import graffiti, number_plate, poster
from geocorrect.demo.street.shopfronts import shop_front
from geocorrect.demo.street.walls import wall


@dataclass(frozen=True)
class Facade:
    """What is drawn on a façade. Lengths in metres; seed decides everything else.

    shops: share of the ground floor's bays that are shops. blind: no openings (side walls), only wear and posters.
    """

    seed: tuple[int, ...]
    width_m: float
    height_m: float
    px_per_m: float
    shops: float = 0.5
    blind: bool = False
    number: int = 1

    def texture(self) -> Texture:
        """The façade as a texture, painted when first needed."""
        width, height = round(self.width_m * self.px_per_m), round(self.height_m * self.px_per_m)
        return Texture(f"facade {self.seed}", width, height, partial(_paint, self, (width, height)))


def _paint(facade: Facade, size: tuple[int, int]) -> ImageArray:
    rng = np.random.default_rng(facade.seed)
    canvas = wall(rng, size, facade.px_per_m)
    if not facade.blind:
        ground = min(float(rng.uniform(3.7, 4.3)), facade.height_m)
        _upper_floors(rng, canvas, facade, ground)
        _ground_floor(rng, canvas, facade, ground)
    _wear(rng, canvas, facade)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _upper_floors(rng: np.random.Generator, canvas: Float32, facade: Facade, ground_m: float) -> None:
    p, style = facade.px_per_m, WindowStyle.chosen(rng)
    floors = int((facade.height_m - ground_m - 0.5) / 3.1)
    bays = max(round(facade.width_m / rng.uniform(2.3, 3.1)), 1)
    width, height = rng.uniform(0.95, 1.25), rng.uniform(1.5, 1.9)
    for floor in range(floors):
        base = facade.height_m - ground_m - 3.1 * floor
        fill(canvas, (0, int((base - 0.08) * p), canvas.shape[1], int((base + 0.08) * p)), (206, 198, 180), 0.7)
        darken(canvas, (0, int((base + 0.08) * p), canvas.shape[1], int((base + 0.14) * p)), 0.65)
        for bay in range(bays):
            if rng.random() < 0.06:
                continue  # a walled-up window: repetition is never perfect
            x = (bay + 0.5) * facade.width_m / bays - width / 2
            y = base - 0.9 - height
            box = (int(x * p), int(y * p), int((x + width) * p), int((y + height) * p))
            if box[1] > 0.2 * p:
                window(rng, canvas, box, p, style)


def _ground_floor(rng: np.random.Generator, canvas: Float32, facade: Facade, ground_m: float) -> None:
    p = facade.px_per_m
    top, bottom = int((facade.height_m - ground_m) * p), canvas.shape[0]
    bays = max(round(facade.width_m / 3.6), 1)
    edges = np.linspace(0, facade.width_m, bays + 1)
    entrance = int(rng.integers(bays))
    for bay, (x0, x1) in enumerate(pairwise(edges)):
        left, right = int((x0 + 0.25) * p), int((x1 - 0.25) * p)
        if bay != entrance and rng.random() < facade.shops:
            shop_front(rng, canvas, (left, top + int(0.35 * p), right, bottom), p)
            continue
        middle, half = (left + right) // 2, int(rng.uniform(0.55, 0.8) * p)
        if bay == entrance or rng.random() < 0.35:
            door(rng, canvas, (middle - half, bottom - int(rng.uniform(2.3, 2.9) * p), middle + half, bottom), p)
            plate = int(0.2 * p)
            x, y = middle + half + plate, bottom - int(1.8 * p)
            number_plate(canvas, facade.number, (x, y, x + plate, y + plate))
        else:
            style = WindowStyle.chosen(rng)
            window(rng, canvas, (middle - half, bottom - int(2.7 * p), middle + half, bottom - int(1.1 * p)), p, style)


def _wear(rng: np.random.Generator, canvas: Float32, facade: Facade) -> None:
    """Posters and graffiti within reach of a person, damp at the foot, shade under the eaves."""
    p, (height, width) = facade.px_per_m, canvas.shape[:2]
    for _ in range(rng.poisson(facade.width_m / (2.5 if facade.blind else 4.5))):
        w = rng.uniform(0.4, 0.9)
        x, y = rng.uniform(0, max(facade.width_m - w, 0.1)), rng.uniform(0.7, 1.6)
        bottom = height - int(y * p)
        poster(rng, canvas, (int(x * p), bottom - int(1.35 * w * p), int((x + w) * p), bottom))
    for _ in range(rng.poisson(facade.width_m / 9)):
        x, y = rng.uniform(0, max(facade.width_m - 1.5, 0.1)), rng.uniform(0.5, 1.2)
        graffiti(rng, canvas, (int(x * p), height - int((y + 0.7) * p), int((x + 1.5) * p), height - int(y * p)))
    foot = np.clip(np.arange(height, dtype=np.float32)[::-1] / (0.9 * p), 0, 1)
    canvas *= (0.72 + 0.28 * foot)[:, None, None]
    eaves = max(int(0.5 * p), 1)
    canvas[:eaves] *= np.linspace(0.55, 1, eaves, dtype=np.float32)[:, None, None]
    darken(canvas, (0, 0, 2, height), 0.8)
    darken(canvas, (width - 2, 0, width, height), 0.8)
