"""A shop front: sign band with a name, panes with goods behind them, door, plinth."""

from __future__ import annotations

import numpy as np

from geocorrect.demo.render.noise import octaves
from geocorrect.demo.street.canvas import VIVID, Box, Canvas
from geocorrect.demo.street.posters import poster, word

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
