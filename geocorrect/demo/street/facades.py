"""The front of a building: wall, floors of windows, ground floor with shops, doors, posters and graffiti."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from geocorrect.demo.render.textures import Texture
from geocorrect.demo.street.canvas import Canvas, Seed, painted
from geocorrect.demo.street.openings import WindowStyle, door, window
from geocorrect.demo.street.posters import graffiti, poster
from geocorrect.demo.street.shopfronts import shop_front
from geocorrect.demo.street.walls import wall

STOREY_M = 3.1


@dataclass(frozen=True)
class Facade:
    """What is painted on a façade; the seed decides everything else."""

    seed: Seed
    width_m: float
    height_m: float
    px_per_m: float
    shops: float = 0.5
    """Share of the ground floor's bays that are shops."""
    blind: bool = False
    """A side wall without openings, only wear and posters."""
    number: int = 1
    """House number."""

    def texture(self) -> Texture:
        """The façade as a texture, painted when first needed."""
        size = round(self.width_m * self.px_per_m), round(self.height_m * self.px_per_m)
        return painted(f"facade {self.seed}", size, self.seed, self._paint)

    def _paint(self, blank: Canvas) -> None:
        canvas = replace(blank, px_per_m=self.px_per_m)
        wall(canvas)
        if not self.blind:
            ground_m = min(float(canvas.rng.uniform(3.7, 4.3)), self.height_m)
            self._paint_upper_floors(canvas, ground_m)
            self._paint_ground_floor(canvas, ground_m)
        self._paint_wear(canvas)

    def _paint_upper_floors(self, canvas: Canvas, ground_m: float) -> None:
        rng, p, right = canvas.rng, self.px_per_m, canvas.size[0]
        style = WindowStyle.chosen(rng)
        floors = int((self.height_m - ground_m - 0.5) / STOREY_M)
        bays = max(round(self.width_m / rng.uniform(2.3, 3.1)), 1)
        width, height = rng.uniform(0.95, 1.25), rng.uniform(1.5, 1.9)
        for floor in range(floors):
            base = self.height_m - ground_m - STOREY_M * floor
            canvas.fill((0, int((base - 0.08) * p), right, int((base + 0.08) * p)), (206, 198, 180), 0.7)
            canvas.darken((0, int((base + 0.08) * p), right, int((base + 0.14) * p)), 0.65)
            for bay in range(bays):
                if rng.random() < 0.06:
                    continue  # a walled-up window: repetition is never perfect
                x = (bay + 0.5) * self.width_m / bays - width / 2
                y = base - 0.9 - height
                box = (int(x * p), int(y * p), int((x + width) * p), int((y + height) * p))
                if box[1] > 0.2 * p:
                    window(canvas, box, style)

    def _paint_ground_floor(self, canvas: Canvas, ground_m: float) -> None:
        rng, top, bottom = canvas.rng, canvas.px(self.height_m - ground_m), canvas.size[1]
        bays = max(round(self.width_m / 3.6), 1)
        entrance = int(rng.integers(bays))
        for bay, (x0, x1) in enumerate(pairwise(np.linspace(0, self.width_m, bays + 1))):
            left, right = canvas.px(x0 + 0.25), canvas.px(x1 - 0.25)
            if bay != entrance and rng.random() < self.shops:
                shop_front(canvas, (left, top + canvas.px(0.35), right, bottom))
                continue
            middle, half = (left + right) // 2, canvas.px(rng.uniform(0.55, 0.8))
            if bay == entrance or rng.random() < 0.35:
                door(canvas, (middle - half, bottom - canvas.px(rng.uniform(2.3, 2.9)), middle + half, bottom))
                side = canvas.px(0.2)
                x, y = middle + half + side, bottom - canvas.px(1.8)
                plate = (x, y, x + side, y + side)
                canvas.fill(plate, (34, 62, 120))
                canvas.write(str(self.number), plate, (244, 244, 240))
            else:
                box = (middle - half, bottom - canvas.px(2.7), middle + half, bottom - canvas.px(1.1))
                window(canvas, box, WindowStyle.chosen(rng))

    def _paint_wear(self, canvas: Canvas) -> None:
        """Posters and graffiti within reach of a person, damp at the foot, shade under the eaves."""
        rng, (width, height) = canvas.rng, canvas.size
        for _ in range(rng.poisson(self.width_m / (2.5 if self.blind else 4.5))):
            w = rng.uniform(0.4, 0.9)
            x, y = rng.uniform(0, max(self.width_m - w, 0.1)), rng.uniform(0.7, 1.6)
            bottom = height - canvas.px(y)
            poster(canvas, (canvas.px(x), bottom - canvas.px(1.35 * w), canvas.px(x + w), bottom))
        for _ in range(rng.poisson(self.width_m / 9)):
            x, y = rng.uniform(0, max(self.width_m - 1.5, 0.1)), rng.uniform(0.5, 1.2)
            graffiti(canvas, (canvas.px(x), height - canvas.px(y + 0.7), canvas.px(x + 1.5), height - canvas.px(y)))
        foot = np.clip(np.arange(height, dtype=np.float32)[::-1] / (0.9 * self.px_per_m), 0, 1)
        canvas.pixels[:] *= (0.72 + 0.28 * foot)[:, None, None]
        eaves = canvas.px(0.5, 1)
        canvas.pixels[:eaves] *= np.linspace(0.55, 1, eaves, dtype=np.float32)[:, None, None]
        canvas.darken((0, 0, 2, height), 0.8)
        canvas.darken((width - 2, 0, width, height), 0.8)
