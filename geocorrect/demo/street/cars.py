"""Cars: a painted body, and a cabin with slanted windscreens."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np

from geocorrect.demo.render.surfaces import WHOLE, Quad, lit
from geocorrect.demo.render.textures import Texture, plain
from geocorrect.demo.street.canvas import PX_PER_M, Canvas, Seed, painted, word
from geocorrect.demo.street.solids import UP, Block, panel
from geocorrect.records import Float

PAINTS = (
    (196, 198, 200), (38, 40, 44), (138, 24, 28), (32, 58, 104), (226, 226, 222), (92, 98, 104), (64, 84, 72),
    (186, 150, 60),
)  # fmt: skip
Paint = tuple[int, int, int]
FRONT_LIGHT, REAR_LIGHT = (240, 238, 226), (188, 32, 30)


def car(seed: Seed, centre_m: tuple[float, float], yaw_deg: float) -> tuple[list[Quad], Block]:
    """A car and its body block, whose footprint casts the shadow; yaw_deg: where it heads, from the street's x."""
    rng = np.random.default_rng(seed)
    paint = PAINTS[rng.integers(len(PAINTS))]
    length, width, top = float(rng.uniform(3.8, 4.6)), float(rng.uniform(1.68, 1.82)), float(rng.uniform(0.86, 0.96))
    body = Block(centre_m, length, width, 0.0, top, yaw_deg)
    side = painted("car side", (round(length * PX_PER_M), round(top * PX_PER_M)), (*seed, 1), _paint_side, paint)
    lid = plain("car lid", paint, 2.5, int(rng.integers(1 << 30)))
    nose, tail = (
        painted("car end", (160, 84), (*seed, 2), partial(_paint_end, light=light), paint)
        for light in (FRONT_LIGHT, REAR_LIGHT)
    )
    return body.quads(side, (nose, tail), lid) + _cabin(rng, seed, body, paint, lid), body


def _cabin(rng: np.random.Generator, seed: Seed, body: Block, paint: Paint, lid: Texture) -> list[Quad]:
    """Roof, side windows, slanted windscreens and the triangles beside them."""
    glass = painted("car windows", (200, 48), (*seed, 3), partial(_paint_windows, panes=3), paint)
    screen = painted("car screen", (150, 60), (*seed, 4), partial(_paint_windows, panes=1), paint)
    height, half = float(rng.uniform(0.5, 0.58)), body.left * (body.width_m - 0.2) / 2
    base = np.array([*body.centre_m, body.top_m])
    front, rear = 0.16 * body.length_m, -0.34 * body.length_m
    slope_front, slope_rear = float(rng.uniform(0.5, 0.7)), float(rng.uniform(0.15, 0.5))
    roof_front, roof_rear = (base + body.forward * x + UP * height for x in (front, rear))
    quads = [Quad(roof_rear + half, roof_front - roof_rear, -2 * half, lid, WHOLE, lit(UP))]
    for sign, roof_end, slope in ((1.0, roof_front, slope_front), (-1.0, roof_rear, slope_rear)):
        outward = sign * body.forward
        down = outward * slope - UP * height
        across = sign * half
        normal = np.cross(down, across)
        light = lit(-normal if normal[2] < 0 else normal)
        quads.append(Quad(roof_end - across, 2 * across, down, screen, WHOLE, light))
        for flank in (half, -half):
            foot = roof_end - UP * height + flank
            quads.append(_triangle(foot, outward * slope, UP * height, flank, lid))
    middle, extent = (front + rear) / 2, front - rear
    return quads + [
        panel(base + body.forward * middle + flank, flank, (extent, height), glass) for flank in (half, -half)
    ]


def _triangle(corner: Float, first: Float, second: Float, outward: Float, texture: Texture) -> Quad:
    """The triangle between two edges from a corner, seen from the side to which outward points."""
    right, down = (first, second) if np.cross(first, second) @ outward < 0 else (second, first)
    return Quad(corner, right, down, texture, WHOLE, lit(outward), "triangle")


def _paint_side(canvas: Canvas) -> None:
    width, height = canvas.size
    canvas.fade(1.12, 0.72)
    canvas.stain(0.05, 120, 4, 0.6)
    canvas.fill(canvas.part(0, 0.62, 1, 0.66), (52, 52, 54), 0.7)
    canvas.fill(canvas.part(0, 0.86, 1, 1), (26, 26, 28))
    for x in (0.30, 0.52, 0.72):
        canvas.darken((int(x * width), 0, int(x * width) + 2, int(0.8 * height)), 0.55)
        canvas.fill(canvas.part(x + 0.14, 0.16, x + 0.17, 0.21), (200, 200, 200))
    for x in (0.19, 0.81):
        centre, radius = (int(x * width), int(0.68 * height)), int(0.31 * height)
        cv2.circle(canvas.pixels, centre, int(1.14 * radius), (20, 20, 22), -1, cv2.LINE_AA)
        cv2.circle(canvas.pixels, centre, int(0.66 * radius), (150, 152, 156), -1, cv2.LINE_AA)
        for angle in np.radians(np.arange(5) * 72.0):
            tip = int(centre[0] + 0.6 * radius * np.cos(angle)), int(centre[1] + 0.6 * radius * np.sin(angle))
            cv2.line(canvas.pixels, centre, tip, (60, 60, 64), max(radius // 8, 1), cv2.LINE_AA)


def _paint_end(canvas: Canvas, light: Paint) -> None:
    rng = canvas.rng
    canvas.fade(1.1, 0.7)
    canvas.fill(canvas.part(0, 0.8, 1, 1), (28, 28, 30))
    for x0, x1 in ((0.04, 0.2), (0.8, 0.96)):
        canvas.fill(canvas.part(x0, 0.2, x1, 0.42), light)
    canvas.fill(canvas.part(0.34, 0.52, 0.66, 0.68), (236, 236, 230))
    text = f"{word(rng, 1).upper()} {int(rng.integers(100, 999))} {word(rng, 1).upper()}"
    canvas.write(text, canvas.part(0.35, 0.52, 0.65, 0.68), (20, 20, 24))


def _paint_windows(canvas: Canvas, panes: int) -> None:
    for k in range(panes):
        left, top, right, bottom = canvas.part((k + 0.07) / panes, 0.12, (k + 0.93) / panes, 0.95)
        canvas.fill((left, top, right, bottom), (40, 46, 52))
        sky = (left, top, right, int(0.45 * canvas.size[1]))
        canvas.fill(sky, (134, 152, 168), float(canvas.rng.uniform(0.2, 0.5)))
    canvas.stain(0.06, 60, 3, 0.6)
