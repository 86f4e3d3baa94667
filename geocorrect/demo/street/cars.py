"""Cars: a painted body, and a cabin with slanted windscreens."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np

from geocorrect.demo.render.noise import octaves
from geocorrect.demo.render.surfaces import WHOLE, Quad, lit
from geocorrect.demo.render.textures import ImageArray, Texture, plain
from geocorrect.demo.street.furniture import PX_PER_M, Seed, to_bytes
from geocorrect.demo.street.lettering import word, write
from geocorrect.demo.street.openings import darken, fill
from geocorrect.demo.street.solids import UP, Block, panel

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
    size = (round(length * PX_PER_M), round(top * PX_PER_M))
    side = Texture("car side", *size, partial(_paint_side, (*seed, 1), size, paint))
    lid = plain("car lid", paint, 2.5, int(rng.integers(1 << 30)))
    nose, tail = (
        Texture("car end", 160, 84, partial(_paint_end, (*seed, 2), (160, 84), paint, light))
        for light in (FRONT_LIGHT, REAR_LIGHT)
    )
    return body.quads(side, (nose, tail), lid) + _cabin(rng, seed, body, paint, lid), body


def _cabin(rng: np.random.Generator, seed: Seed, body: Block, paint: Paint, lid: Texture) -> list[Quad]:
    """Roof, side windows, slanted windscreens and the triangles beside them."""
    glass = Texture("car windows", 200, 48, partial(_paint_windows, (*seed, 3), (200, 48), paint, 3))
    screen = Texture("car screen", 150, 60, partial(_paint_windows, (*seed, 4), (150, 60), paint, 1))
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
        quads.append(
            Quad(roof_end - across, 2 * across, down, screen, WHOLE, lit(-normal if normal[2] < 0 else normal))
        )
        for flank in (half, -half):
            foot = roof_end - UP * height + flank
            quads.append(_triangle(foot, outward * slope, UP * height, flank, lid))
    middle, extent = (front + rear) / 2, front - rear
    for flank in (half, -half):
        quads.append(panel(base + body.forward * middle + flank, flank, (extent, height), glass))
    return quads


def _triangle(corner: np.ndarray, first: np.ndarray, second: np.ndarray, outward: np.ndarray, texture: Texture) -> Quad:
    """The triangle between two edges from a corner, seen from the side to which outward points."""
    right, down = (first, second) if np.cross(first, second) @ outward < 0 else (second, first)
    return Quad(corner, right, down, texture, WHOLE, lit(outward), "triangle")


def _paint_side(seed: Seed, size: tuple[int, int], paint: Paint) -> ImageArray:
    rng, (width, height) = np.random.default_rng(seed), size
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = paint
    canvas *= np.linspace(1.12, 0.72, height, dtype=np.float32)[:, None, None]
    canvas *= (1 + 0.05 * octaves(rng, size, 120, 4, 0.6))[..., None]
    fill(canvas, (0, int(0.62 * height), width, int(0.66 * height)), (52, 52, 54), 0.7)
    fill(canvas, (0, int(0.86 * height), width, height), (26, 26, 28))
    for x in (0.30, 0.52, 0.72):
        darken(canvas, (int(x * width), 0, int(x * width) + 2, int(0.8 * height)), 0.55)
        fill(
            canvas,
            (int((x + 0.14) * width), int(0.16 * height), int((x + 0.17) * width), int(0.21 * height)),
            (200, 200, 200),
        )
    for x in (0.19, 0.81):
        centre, radius = (int(x * width), int(0.68 * height)), int(0.31 * height)
        cv2.circle(canvas, centre, int(1.14 * radius), (20.0, 20.0, 22.0), -1, cv2.LINE_AA)
        cv2.circle(canvas, centre, int(0.66 * radius), (150.0, 152.0, 156.0), -1, cv2.LINE_AA)
        for angle in np.arange(5) * 72.0:
            tip = (
                int(centre[0] + 0.6 * radius * np.cos(np.radians(angle))),
                int(centre[1] + 0.6 * radius * np.sin(np.radians(angle))),
            )
            cv2.line(canvas, centre, tip, (60.0, 60.0, 64.0), max(radius // 8, 1), cv2.LINE_AA)
    return to_bytes(canvas)


def _paint_end(seed: Seed, size: tuple[int, int], paint: Paint, light: Paint) -> ImageArray:
    rng, (width, height) = np.random.default_rng(seed), size
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = paint
    canvas *= np.linspace(1.1, 0.7, height, dtype=np.float32)[:, None, None]
    fill(canvas, (0, int(0.8 * height), width, height), (28, 28, 30))
    for x0, x1 in ((0.04, 0.2), (0.8, 0.96)):
        fill(canvas, (int(x0 * width), int(0.2 * height), int(x1 * width), int(0.42 * height)), light)
    fill(canvas, (int(0.34 * width), int(0.52 * height), int(0.66 * width), int(0.68 * height)), (236, 236, 230))
    text = f"{word(rng, 1).upper()} {int(rng.integers(100, 999))} {word(rng, 1).upper()}"
    write(canvas, text, (int(0.35 * width), int(0.52 * height), int(0.65 * width), int(0.68 * height)), (20, 20, 24))
    return to_bytes(canvas)


def _paint_windows(seed: Seed, size: tuple[int, int], paint: Paint, panes: int) -> ImageArray:
    rng, (width, height) = np.random.default_rng(seed), size
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = paint
    for k in range(panes):
        box = (int((k + 0.07) / panes * width), int(0.12 * height), int((k + 0.93) / panes * width), int(0.95 * height))
        fill(canvas, box, (40, 46, 52))
        fill(canvas, (box[0], box[1], box[2], int(0.45 * height)), (134, 152, 168), float(rng.uniform(0.2, 0.5)))
    return to_bytes(canvas * (1 + 0.06 * octaves(rng, size, 60, 3, 0.6))[..., None])
