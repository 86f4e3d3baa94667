"""The front of a building: wall, floors of windows, ground floor with shops, doors, posters and graffiti."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from geocorrect.demo.render.textures import Texture, octaves
from geocorrect.demo.street.canvas import VIVID, Box, Canvas, Colour, Seed, graffiti, painted, poster, wall, word

STOREY_M = 3.1


SHUTTERS: tuple[Colour | None, ...] = ((58, 84, 62), (92, 60, 44), (70, 88, 102), (120, 112, 98), None)
FRAMES: tuple[Colour, ...] = ((226, 222, 212), (96, 70, 52), (60, 62, 64))
WOODS: tuple[Colour, ...] = ((94, 62, 40), (60, 78, 66), (112, 40, 34), (52, 58, 74))


@dataclass(frozen=True)
class WindowStyle:
    """What the windows of one building share: they repeat, as in a real street."""

    frame: Colour
    shutter: Colour | None
    sash_columns: int
    sash_rows: int

    @classmethod
    def chosen(cls, rng: np.random.Generator) -> WindowStyle:
        """A random but consistent taste."""
        frame, shutter = FRAMES[rng.integers(len(FRAMES))], SHUTTERS[rng.integers(len(SHUTTERS))]
        return cls(frame, shutter, int(rng.integers(1, 4)), int(rng.integers(2, 5)))


def window(canvas: Canvas, box: Box, style: WindowStyle) -> None:
    """One window with reveal, sashes, sill and perhaps shutters (open or closed)."""
    left, top, right, bottom = box
    rim, sill = canvas.px(0.09, 2), canvas.px(0.07, 2)
    canvas.fill((left - rim, top - rim, right + rim, bottom + rim), (224, 216, 198), 0.75)
    canvas.darken(box, 0.5)
    _glass(canvas, box)
    _sashes(canvas, box, style)
    canvas.darken((left, top, right, top + canvas.px(0.10, 1)), 0.55)
    canvas.fill((left - 2 * rim, bottom + rim, right + 2 * rim, bottom + rim + sill), (210, 204, 192))
    canvas.darken((left - 2 * rim, bottom + rim + sill, right + 2 * rim, bottom + rim + 2 * sill), 0.62)
    if style.shutter is not None:
        _shutters(canvas, box, style.shutter)


def _glass(canvas: Canvas, box: Box) -> None:
    """Dark glass with a reflected sky gradient, a curtain or a lit room, different in each pane."""
    (left, top, right, bottom), rng = box, canvas.rng
    width, height = right - left, bottom - top
    if width < 3 or height < 3:
        return
    base = np.array([46, 54, 62], np.float32) * rng.uniform(0.7, 1.3)
    sheen = np.linspace(rng.uniform(0.6, 1.9), rng.uniform(0.5, 1.1), height, dtype=np.float32)[:, None, None]
    pane = base * sheen * (1 + 0.22 * octaves(rng, (width, height), max(width, 12), 3, 0.6)[..., None])
    if rng.random() < 0.45:
        hem = int(height * rng.uniform(0.3, 1.0))
        folds = 1 + 0.10 * np.sin(np.arange(width) * rng.uniform(0.25, 0.7))[None, :, None]
        cloth = np.array([206, 200, 188], np.float32) * rng.uniform(0.55, 0.95) * folds
        pane[:hem] = 0.35 * pane[:hem] + 0.65 * cloth
    shown = canvas.pixels[top:bottom, left:right]
    shown[:] = pane[: shown.shape[0], : shown.shape[1]]


def _sashes(canvas: Canvas, box: Box, style: WindowStyle) -> None:
    (left, top, right, bottom), bar = box, canvas.px(0.045, 1)
    for k in range(style.sash_columns + 1):
        x = left + round(k * (right - left - bar) / style.sash_columns)
        canvas.fill((x, top, x + bar, bottom), style.frame)
    for k in range(style.sash_rows + 1):
        y = top + round(k * (bottom - top - bar) / style.sash_rows)
        canvas.fill((left, y, right, y + bar), style.frame)


def _shutters(canvas: Canvas, box: Box, colour: Colour) -> None:
    left, top, right, bottom = box
    half, slat = (right - left) // 2, canvas.px(0.055, 3)
    closed = canvas.rng.random() < 0.25
    sides = ((left, left + half), (left + half, right)) if closed else ((left - half, left), (right, right + half))
    for x0, x1 in sides:
        tone = float(canvas.rng.uniform(0.85, 1.12))
        canvas.fill((x0, top, x1, bottom), (colour[0] * tone, colour[1] * tone, colour[2] * tone))
        for y in range(top + slat, bottom - 1, slat):
            canvas.darken((x0 + 2, y, x1 - 2, y + max(slat // 3, 1)), 0.66)
        canvas.darken((x0, top, x0 + 1, bottom), 0.6)
        canvas.darken((x1 - 1, top, x1, bottom), 0.6)


def door(canvas: Canvas, box: Box) -> None:
    """A panelled door in a stone frame."""
    (left, top, right, bottom), rng = box, canvas.rng
    rim, inset = canvas.px(0.16, 2), canvas.px(0.07, 2)
    canvas.fill((left - rim, top - rim, right + rim, bottom), (198, 190, 172))
    canvas.fill(box, WOODS[rng.integers(len(WOODS))])
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    for i in range(rows):
        for j in range(columns):
            x0, x1 = (left + (right - left) * k // columns for k in (j, j + 1))
            y0, y1 = (top + (bottom - top) * k // rows for k in (i, i + 1))
            canvas.darken((x0 + inset, y0 + inset, x1 - inset, y1 - inset), float(rng.uniform(0.7, 0.85)))
            canvas.fill((x0 + inset, y1 - inset - 1, x1 - inset, y1 - inset), (200, 180, 150), 0.5)
    middle = (top + bottom) // 2
    canvas.fill((right - 2 * rim // 3, middle, right - rim // 3, middle + rim // 2), (212, 186, 92))


BANDS = (
    (34, 62, 52), (120, 28, 30), (28, 40, 74), (232, 224, 204), (66, 44, 34), (40, 40, 42), (214, 160, 40),
    (24, 96, 120),
)  # fmt: skip
_TRADES = """
BAR FARMACIA LIBRERIA PANETTERIA OTTICA SARTORIA FERRAMENTA CAFFÈ TRATTORIA FIORI GELATERIA TABACCHI EDICOLA ALIMENTARI
CICLI OROLOGI PASTA VINO CALZE DISCHI
"""
TRADES = tuple(_TRADES.split())


def shop_front(canvas: Canvas, box: Box) -> None:
    """Fill a box whose bottom is the pavement."""
    (left, top, right, bottom), rng = box, canvas.rng
    band = BANDS[rng.integers(len(BANDS))]
    canvas.fill(box, (band[0] * 0.8 + 20, band[1] * 0.8 + 20, band[2] * 0.8 + 20))
    sign_bottom, frame = top + canvas.px(0.72), canvas.px(0.06, 2)
    canvas.fill((left, top, right, sign_bottom), band)
    name = f"{TRADES[rng.integers(len(TRADES))]} {word(rng, int(rng.integers(2, 4))).capitalize()}"
    canvas.write(name, (left, top, right, sign_bottom), (244, 236, 214) if sum(band) < 400 else (40, 34, 34))
    canvas.darken((left, sign_bottom, right, sign_bottom + canvas.px(0.12)), 0.5)
    panes = max(int((right - left) / (1.3 * canvas.px_per_m)), 2)
    door_at = int(rng.integers(panes))
    for k in range(panes):
        x0 = left + (right - left) * k // panes + frame
        x1 = left + (right - left) * (k + 1) // panes - frame
        foot = bottom if k == door_at else bottom - canvas.px(0.45)
        _pane(canvas, (x0, sign_bottom + 2 * frame, x1, foot - frame))
        if k == door_at:
            handle = (x0 + x1) // 2 + (x1 - x0) // 3
            at = (handle, bottom - canvas.px(1.2), handle + frame, bottom - canvas.px(0.9))
            canvas.fill(at, (220, 200, 120))
    canvas.darken((left, bottom - frame, right, bottom), 0.6)


def _pane(canvas: Canvas, box: Box) -> None:
    """A shop window: dark room, boards of coloured goods, sheets stuck on the glass, reflections."""
    (left, top, right, bottom), rng = box, canvas.rng
    width, height = right - left, bottom - top
    if width < 8 or height < 8:
        return
    room = np.array([54, 50, 46], np.float32) * rng.uniform(0.7, 1.4)
    window = canvas.window(box)
    window[:] = room * (1 + 0.2 * octaves(rng, (width, height), 60, 3, 0.7))[..., None]
    for board in range(top + canvas.px(0.5), bottom - 4, canvas.px(0.45, 6)):
        _goods(canvas, left, board, right)
        canvas.fill((left, board, right, board + canvas.px(0.03, 1)), (150, 132, 104))
    if rng.random() < 0.55 and width > 0.5 * canvas.px_per_m:
        x0, y0 = left + int(rng.uniform(0.05, 0.4) * width), top + int(rng.uniform(0.05, 0.3) * height)
        poster(canvas, (x0, y0, x0 + int(0.45 * width), y0 + int(0.62 * width)))
    sheen = np.linspace(0.26, 0.08, height, dtype=np.float32)[:, None, None]
    window += sheen * (np.array([176, 196, 214], np.float32) - window)


def _goods(canvas: Canvas, left: int, board: int, right: int) -> None:
    """A row of boxes and bottles standing on a board."""
    rng = canvas.rng
    x = left + canvas.px(rng.uniform(0.02, 0.1))
    while x < right - 3:
        width, height = canvas.px(rng.uniform(0.07, 0.26)) + 1, canvas.px(rng.uniform(0.12, 0.38)) + 1
        colour, end = VIVID[rng.integers(len(VIVID))], min(x + width, right)
        canvas.fill((x, board - height, end, board), colour, 0.8)
        if width > 10 and rng.random() < 0.6:
            label = (x, board - height * 2 // 3, end, board - height // 3)
            canvas.fill(label, (236, 232, 222), 0.8)
            canvas.write(word(rng, 1), label, colour)
        x += width + canvas.px(rng.uniform(0.0, 0.12))


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
