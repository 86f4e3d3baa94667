"""Unique things on walls: words, posters, graffiti. They tell one stretch of wall from the next."""

from __future__ import annotations

import cv2
import numpy as np

from geocorrect.demo.street.canvas import VIVID, Box, Canvas

_SYLLABLES = """
ba be bo ca ce co da de di fa fi ga gi la le li lo ma me mi mo na ne ni no pa pe po ra re ri ro sa se si so ta te ti to
va ve vi zo sca stro gra bre tri fio pia
"""
SYLLABLES = tuple(_SYLLABLES.split())


def word(rng: np.random.Generator, syllables: int) -> str:
    """A made-up Italian-sounding word."""
    return "".join(SYLLABLES[i] for i in rng.integers(len(SYLLABLES), size=syllables))


def poster(canvas: Canvas, box: Box) -> None:
    """A printed sheet: coloured ground, shapes, three lines of words, worn by weather."""
    (left, top, right, bottom), rng = box, canvas.rng
    width, height = right - left, bottom - top
    if min(width, height) < 12 or min(top, left) < 0 or right > canvas.size[0] or bottom > canvas.size[1]:
        return
    ground, ink, other = (VIVID[i] for i in rng.choice(len(VIVID), 3, replace=False))
    sheet = Canvas.filled(rng, (width, height), ground)
    for _ in range(int(rng.integers(3, 7))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = ink if rng.random() < 0.5 else other
        radius = int(rng.uniform(0.06, 0.3) * width) + 1
        if rng.random() < 0.5:
            cv2.circle(sheet.pixels, centre, radius, colour, -1, cv2.LINE_AA)
        else:
            end = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.line(sheet.pixels, centre, end, colour, max(radius // 3, 1), cv2.LINE_AA)
    for k in range(3):
        y = int(height * (0.08 + 0.3 * k))
        sheet.write(word(rng, 3).upper(), (0, y, width, y + int(height * 0.2)), ink)
    sheet.stain(0.07, 24, 1.5, 0.7)
    canvas.darken((left + 2, top + 2, right + 2, bottom + 2), 0.7)
    window = canvas.window(box)
    window[:] = 0.9 * sheet.pixels + 0.1 * window


def graffiti(canvas: Canvas, box: Box) -> None:
    """A sprayed tag: a thick wandering line and a word."""
    (left, top, right, bottom), rng = box, canvas.rng
    colour = VIVID[rng.integers(len(VIVID))]
    steps = rng.uniform([left, top], [right, bottom], (int(rng.integers(6, 11)), 2))
    along = np.linspace(0, len(steps) - 1, 80)
    path = np.stack([np.interp(along, np.arange(len(steps)), steps[:, k]) for k in (0, 1)], 1)
    path = cv2.GaussianBlur(path[None].astype(np.float32), (9, 1), 3)[0]
    cv2.polylines(canvas.pixels, [path.astype(np.int32)], False, colour, max((bottom - top) // 16, 2), cv2.LINE_AA)
    canvas.write(word(rng, 2).upper(), box, VIVID[rng.integers(len(VIVID))], 0.8)
