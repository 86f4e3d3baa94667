"""A shop front: sign band with a name, panes with goods behind them, door, plinth."""

from __future__ import annotations

import numpy as np

from geocorrect.demo.render.noise import Float32, octaves
from geocorrect.demo.street.lettering import shop_name, word, write
from geocorrect.demo.street.openings import Box, darken, fill
from geocorrect.demo.street.posters import VIVID, poster

BANDS = (
    (34, 62, 52),
    (120, 28, 30),
    (28, 40, 74),
    (232, 224, 204),
    (66, 44, 34),
    (40, 40, 42),
    (214, 160, 40),
    (24, 96, 120),
)


def shop_front(rng: np.random.Generator, canvas: Float32, box: Box, px_per_m: float) -> None:
    """Fill box, in place; its bottom is the pavement."""
    left, top, right, bottom = box
    band = BANDS[rng.integers(len(BANDS))]
    fill(canvas, box, (band[0] * 0.8 + 20, band[1] * 0.8 + 20, band[2] * 0.8 + 20))
    sign_bottom = top + int(0.72 * px_per_m)
    fill(canvas, (left, top, right, sign_bottom), band)
    letters = (244, 236, 214) if sum(band) < 400 else (40, 34, 34)
    write(canvas, shop_name(rng), (left, top, right, sign_bottom), letters)
    darken(canvas, (left, sign_bottom, right, sign_bottom + int(0.12 * px_per_m)), 0.5)
    plinth = bottom - int(0.45 * px_per_m)
    panes = max(int((right - left) / (1.3 * px_per_m)), 2)
    door_at = int(rng.integers(panes))
    frame = max(int(0.06 * px_per_m), 2)
    for k in range(panes):
        x0 = left + (right - left) * k // panes + frame
        x1 = left + (right - left) * (k + 1) // panes - frame
        _pane(rng, canvas, (x0, sign_bottom + 2 * frame, x1, (bottom if k == door_at else plinth) - frame), px_per_m)
        if k == door_at:
            handle = (x0 + x1) // 2 + (x1 - x0) // 3
            fill(
                canvas,
                (handle, bottom - int(1.2 * px_per_m), handle + frame, bottom - int(0.9 * px_per_m)),
                (220, 200, 120),
            )
    darken(canvas, (left, bottom - frame, right, bottom), 0.6)


def _pane(rng: np.random.Generator, canvas: Float32, box: Box, px_per_m: float) -> None:
    """A shop window: dark room, shelves of coloured goods, sheets stuck on the glass, reflections."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if width < 8 or height < 8:
        return
    room = np.array([54, 50, 46], np.float32) * rng.uniform(0.7, 1.4)
    canvas[top:bottom, left:right] = room * (1 + 0.2 * octaves(rng, (width, height), 60, 3, 0.7))[..., None]
    for shelf in range(top + int(0.5 * px_per_m), bottom - 4, max(int(0.45 * px_per_m), 6)):
        _goods(rng, canvas, (left, shelf, right, bottom), px_per_m)
        fill(canvas, (left, shelf, right, shelf + max(int(0.03 * px_per_m), 1)), (150, 132, 104))
    if rng.random() < 0.55 and width > 0.5 * px_per_m:
        x0 = left + int(rng.uniform(0.05, 0.4) * width)
        y0 = top + int(rng.uniform(0.05, 0.3) * height)
        poster(rng, canvas, (x0, y0, x0 + int(0.45 * width), y0 + int(0.62 * width)))
    sheen = np.linspace(0.26, 0.08, height, dtype=np.float32)[:, None, None]
    window = canvas[top:bottom, left:right]
    window += sheen[: len(window)] * (np.array([176, 196, 214], np.float32) - window)


def _goods(rng: np.random.Generator, canvas: Float32, box: Box, px_per_m: float) -> None:
    """A row of boxes and bottles standing on the top edge of box."""
    left, shelf, right, _ = box
    x = left + int(rng.uniform(0.02, 0.1) * px_per_m)
    while x < right - 3:
        width, height = int(rng.uniform(0.07, 0.26) * px_per_m) + 1, int(rng.uniform(0.12, 0.38) * px_per_m) + 1
        colour = VIVID[rng.integers(len(VIVID))]
        item = (x, shelf - height, min(x + width, right), shelf)
        fill(canvas, item, colour, 0.8)
        if width > 10 and rng.random() < 0.6:
            fill(canvas, (x, shelf - height * 2 // 3, item[2], shelf - height // 3), (236, 232, 222), 0.8)
            write(canvas, word(rng, 1), (x, shelf - height * 2 // 3, item[2], shelf - height // 3), colour)
        x += width + int(rng.uniform(0.0, 0.12) * px_per_m)
