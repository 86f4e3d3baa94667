"""Windows and doors painted on a façade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocorrect.demo.render.noise import Float32, octaves

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the end is exclusive."""


@dataclass(frozen=True)
class WindowStyle:
    """What the windows of one building share: they repeat, as in a real street."""

    frame: tuple[float, float, float]
    shutter: tuple[float, float, float] | None
    sash_columns: int
    sash_rows: int

    @classmethod
    def chosen(cls, rng: np.random.Generator) -> WindowStyle:
        """A random but consistent taste."""
        shutters = ((58, 84, 62), (92, 60, 44), (70, 88, 102), (120, 112, 98), None)
        frames = ((226, 222, 212), (96, 70, 52), (60, 62, 64))
        return cls(
            frames[rng.integers(len(frames))],
            shutters[rng.integers(len(shutters))],
            int(rng.integers(1, 4)),
            int(rng.integers(2, 5)),
        )


def fill(canvas: Float32, box: Box, colour: tuple[float, float, float], strength: float = 1.0) -> None:
    """Paint a rectangle in place, mixed with what is there by strength 0…1; parts off the canvas are cut."""
    left, top, right, bottom = (max(value, 0) for value in box)
    window = canvas[top:bottom, left:right]
    window += np.float32(strength) * (np.array(colour, np.float32) - window)


def darken(canvas: Float32, box: Box, factor: float) -> None:
    """Multiply a rectangle in place: shadows and dirt."""
    left, top, right, bottom = (max(value, 0) for value in box)
    canvas[top:bottom, left:right] *= np.float32(factor)


def glass(rng: np.random.Generator, canvas: Float32, box: Box) -> None:
    """Dark glass with a reflected sky gradient, a curtain or a lit room, different in each pane."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if width < 3 or height < 3:
        return
    base = np.array([46, 54, 62], np.float32) * rng.uniform(0.7, 1.3)
    sheen = np.linspace(rng.uniform(0.6, 1.9), rng.uniform(0.5, 1.1), height, dtype=np.float32)[:, None, None]
    cloud = octaves(rng, (width, height), max(width, 12), 3, 0.6)[..., None]
    pane = base * sheen * (1 + 0.22 * cloud)
    if rng.random() < 0.45:
        hem = int(height * rng.uniform(0.3, 1.0))
        folds = 1 + 0.10 * np.sin(np.arange(width) * rng.uniform(0.25, 0.7))[None, :, None]
        cloth = np.array([206, 200, 188], np.float32) * rng.uniform(0.55, 0.95) * folds
        pane[:hem] = 0.35 * pane[:hem] + 0.65 * cloth
    canvas[top:bottom, left:right] = pane[: canvas.shape[0] - top, : canvas.shape[1] - left]


def window(rng: np.random.Generator, canvas: Float32, box: Box, px_per_m: float, style: WindowStyle) -> None:
    """One window with reveal, sashes, sill and perhaps shutters (open or closed)."""
    left, top, right, bottom = box
    rim = max(int(0.09 * px_per_m), 2)
    fill(canvas, (left - rim, top - rim, right + rim, bottom + rim), (224, 216, 198), 0.75)
    darken(canvas, (left, top, right, bottom), 0.5)
    glass(rng, canvas, (left, top, right, bottom))
    _sashes(canvas, box, max(int(0.045 * px_per_m), 1), style)
    darken(canvas, (left, top, right, top + max(int(0.10 * px_per_m), 1)), 0.55)
    sill = max(int(0.07 * px_per_m), 2)
    fill(canvas, (left - 2 * rim, bottom + rim, right + 2 * rim, bottom + rim + sill), (210, 204, 192))
    darken(canvas, (left - 2 * rim, bottom + rim + sill, right + 2 * rim, bottom + rim + 2 * sill), 0.62)
    if style.shutter is not None:
        _shutters(rng, canvas, box, px_per_m, style.shutter)


def _sashes(canvas: Float32, box: Box, bar: int, style: WindowStyle) -> None:
    left, top, right, bottom = box
    for k in range(style.sash_columns + 1):
        x = left + round(k * (right - left - bar) / style.sash_columns)
        fill(canvas, (x, top, x + bar, bottom), style.frame)
    for k in range(style.sash_rows + 1):
        y = top + round(k * (bottom - top - bar) / style.sash_rows)
        fill(canvas, (left, y, right, y + bar), style.frame)


def _shutters(
    rng: np.random.Generator, canvas: Float32, box: Box, px_per_m: float, colour: tuple[float, float, float]
) -> None:
    left, top, right, bottom = box
    half = (right - left) // 2
    closed = rng.random() < 0.25
    sides = ((left, left + half), (left + half, right)) if closed else ((left - half, left), (right, right + half))
    for x0, x1 in sides:
        tone = float(rng.uniform(0.85, 1.12))
        fill(canvas, (x0, top, x1, bottom), (colour[0] * tone, colour[1] * tone, colour[2] * tone))
        slat = max(int(0.055 * px_per_m), 3)
        for y in range(top + slat, bottom - 1, slat):
            darken(canvas, (x0 + 2, y, x1 - 2, y + max(slat // 3, 1)), 0.66)
        darken(canvas, (x0, top, x0 + 1, bottom), 0.6)
        darken(canvas, (x1 - 1, top, x1, bottom), 0.6)


def door(rng: np.random.Generator, canvas: Float32, box: Box, px_per_m: float) -> None:
    """A panelled door in a stone frame."""
    left, top, right, bottom = box
    rim = max(int(0.16 * px_per_m), 2)
    fill(canvas, (left - rim, top - rim, right + rim, bottom), (198, 190, 172))
    wood = ((94, 62, 40), (60, 78, 66), (112, 40, 34), (52, 58, 74))[rng.integers(4)]
    fill(canvas, box, wood)
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    for i in range(rows):
        for j in range(columns):
            x0, x1 = left + (right - left) * j // columns, left + (right - left) * (j + 1) // columns
            y0, y1 = top + (bottom - top) * i // rows, top + (bottom - top) * (i + 1) // rows
            inset = max(int(0.07 * px_per_m), 2)
            darken(canvas, (x0 + inset, y0 + inset, x1 - inset, y1 - inset), float(rng.uniform(0.7, 0.85)))
            fill(canvas, (x0 + inset, y1 - inset - 1, x1 - inset, y1 - inset), (200, 180, 150), 0.5)
    fill(
        canvas,
        (right - 2 * rim // 3, (top + bottom) // 2, right - rim // 3, (top + bottom) // 2 + rim // 2),
        (212, 186, 92),
    )
