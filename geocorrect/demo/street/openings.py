"""Windows and doors painted on a façade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocorrect.demo.render.noise import octaves
from geocorrect.demo.street.canvas import Box, Canvas, Colour

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
