"""Unique things on walls: posters, graffiti, number plates. They tell one stretch of wall from the next."""

from __future__ import annotations

import cv2
import numpy as np

from geocorrect.demo.render.noise import Float32, octaves
from geocorrect.demo.street.lettering import word, write
from geocorrect.demo.street.openings import Box, darken, fill

VIVID = (
    (206, 44, 40),
    (36, 92, 170),
    (238, 186, 36),
    (28, 128, 82),
    (232, 232, 224),
    (30, 30, 34),
    (222, 106, 36),
    (120, 60, 130),
)


def poster(rng: np.random.Generator, canvas: Float32, box: Box) -> None:
    """A printed sheet: coloured ground, shapes, three lines of words, worn by weather."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if width < 12 or height < 12 or top < 0 or left < 0 or bottom > canvas.shape[0] or right > canvas.shape[1]:
        return
    ground, ink, other = (VIVID[i] for i in rng.choice(len(VIVID), 3, replace=False))
    sheet = np.empty((height, width, 3), np.float32)
    sheet[:] = ground
    for _ in range(int(rng.integers(3, 7))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = tuple(float(c) for c in (ink if rng.random() < 0.5 else other))
        radius = int(rng.uniform(0.06, 0.3) * width) + 1
        if rng.random() < 0.5:
            cv2.circle(sheet, centre, radius, colour, -1, cv2.LINE_AA)
        else:
            end = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.line(sheet, centre, end, colour, max(radius // 3, 1), cv2.LINE_AA)
    for k in range(3):
        y = int(height * (0.08 + 0.3 * k))
        write(sheet, word(rng, 3).upper(), (0, y, width, y + int(height * 0.2)), ink)
    sheet *= (1 + 0.07 * octaves(rng, (width, height), 24, 1.5, 0.7))[..., None]
    darken(canvas, (left + 2, top + 2, right + 2, bottom + 2), 0.7)
    canvas[top:bottom, left:right] = 0.9 * sheet + 0.1 * canvas[top:bottom, left:right]


def graffiti(rng: np.random.Generator, canvas: Float32, box: Box) -> None:
    """A sprayed tag: a thick wandering line and a word."""
    left, top, right, bottom = box
    colour = tuple(float(c) for c in VIVID[rng.integers(len(VIVID))])
    steps = rng.uniform([left, top], [right, bottom], (int(rng.integers(6, 11)), 2))
    smooth = np.stack(
        [np.interp(np.linspace(0, len(steps) - 1, 80), np.arange(len(steps)), steps[:, k]) for k in (0, 1)], 1
    )
    smooth = cv2.GaussianBlur(smooth[None].astype(np.float32), (9, 1), 3)[0]
    cv2.polylines(canvas, [smooth.astype(np.int32)], False, colour, max((bottom - top) // 16, 2), cv2.LINE_AA)
    write(canvas, word(rng, 2).upper(), box, VIVID[rng.integers(len(VIVID))], 0.8)


def number_plate(canvas: Float32, number: int, box: Box) -> None:
    """A white house number on blue tile."""
    fill(canvas, box, (34, 62, 120))
    write(canvas, str(number), box, (244, 244, 240))
