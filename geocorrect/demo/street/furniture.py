"""What stands in a street or hangs on its fronts: lamp posts, signs, kiosks, planters, bins, balconies, awnings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from geocorrect.demo.render.surfaces import UP, WHOLE, Block, Quad, lit, panel
from geocorrect.demo.render.textures import Texture, octaves, plain
from geocorrect.demo.street.canvas import PX_PER_M, VIVID, Canvas, Seed, painted, poster, word
from geocorrect.records import Float


def random_street_object(
    rng: np.random.Generator, seed: Seed, at_m: tuple[float, float], ground_m: float
) -> tuple[list[Quad], Float]:
    """One random object on a pavement, and its footprint (N, 2); nothing at all gives ([], (0, 2))."""
    kind = rng.choice(["lamp", "sign", "planter", "kiosk", "bin", "nothing"], p=[0.2, 0.24, 0.2, 0.12, 0.12, 0.12])
    yaw = float(rng.normal(0, 3))
    if kind in ("lamp", "sign"):
        facing = float(rng.choice([0.0, 180.0]) + rng.normal(0, 8)) if kind == "sign" else None
        height = 2.9 if kind == "sign" else 5.6
        return _post(seed, at_m, height, facing), Block(at_m, 0.4, 0.4, ground_m, height).footprint_m
    if kind == "planter":
        block = Block(at_m, 1.3, 0.6, ground_m, 1.15, yaw)
        return _planter(seed, block), block.footprint_m
    if kind == "nothing":
        return [], np.zeros((0, 2))
    length, width, height = (2.0, 0.9, 2.4) if kind == "kiosk" else (0.7, 0.6, 1.15)
    centre = (at_m[0], at_m[1] + float(np.sign(at_m[1])) * 0.4)
    block = Block(centre, length, width, ground_m, height, yaw)
    return kiosk(seed, block), block.footprint_m


def _post(seed: Seed, at_m: tuple[float, float], height_m: float, sign_facing_deg: float | None) -> list[Quad]:
    """A steel post with a lamp, or with a sign plate that faces a direction (degrees from the street axis)."""
    rng = np.random.default_rng(seed)
    steel = plain("steel", (104, 106, 104), 9, int(rng.integers(1 << 30)))
    quads = Block(at_m, 0.11, 0.11, 0.0, height_m).quads(steel, steel, steel)
    if sign_facing_deg is None:
        lamp = plain("lamp", (222, 218, 204), 5, int(rng.integers(1 << 30)))
        return quads + Block(at_m, 0.62, 0.3, height_m, height_m + 0.28).quads(lamp, lamp, steel)
    plate = painted("sign", (96, 120), (*seed, 1), _paint_sign, (232, 232, 228))
    angle = np.radians(sign_facing_deg)
    facing = np.array([np.cos(angle), np.sin(angle), 0.0])
    foot = np.array([*at_m, height_m - 0.8]) + 0.07 * facing
    return [*quads, panel(foot, facing, (0.62, 0.78), plate), panel(foot - 0.14 * facing, -facing, (0.62, 0.78), steel)]


def _planter(seed: Seed, block: Block) -> list[Quad]:
    """A stone trough with a clipped hedge in it."""
    hedge = painted("hedge", (160, 96), seed, _paint_hedge)
    trough = plain("trough", (162, 150, 134), 12, seed[-1])
    middle = block.bottom_m + 0.4 * (block.top_m - block.bottom_m)
    lower = Block(block.centre_m, block.length_m + 0.1, block.width_m + 0.1, block.bottom_m, middle, block.yaw_deg)
    upper = Block(block.centre_m, block.length_m, block.width_m, middle, block.top_m, block.yaw_deg)
    return lower.quads(trough, trough, trough) + upper.quads(hedge, hedge, hedge)


def kiosk(seed: Seed, block: Block) -> list[Quad]:
    """A news stand, bill board or bin covered with posters."""
    sides, ends = _painted_sides("kiosk", seed, block, _paint_kiosk)
    return block.quads(sides, ends, plain("kiosk roof", (84, 92, 84), 8, seed[-1]))


def balcony(seed: Seed, block: Block) -> list[Quad]:
    """A balcony with a stone slab and an iron railing before a shaded wall."""
    front, ends = _painted_sides("railing", seed, block, _paint_railing)
    return block.quads(front, ends, plain("balcony floor", (170, 160, 146), 10, seed[-1]))


def awning(seed: Seed, foot_m: Float, outward: Float, width_m: float) -> list[Quad]:
    """A striped cloth over a shop: foot_m is the middle of its line on the wall."""
    rng = np.random.default_rng(seed)
    cloth = painted("awning", (round(width_m * 60), 90), seed, _paint_awning)
    normal = outward / np.linalg.norm(outward)
    right = np.cross(-normal, UP) * width_m
    depth, drop = float(rng.uniform(0.9, 1.3)), float(rng.uniform(0.35, 0.55))
    down = normal * depth - UP * drop
    top = Quad(foot_m - right / 2, right, down, cloth, shade=lit(np.cross(down, right)))
    flap = panel(foot_m + down - UP * 0.22, normal, (width_m, 0.22), cloth, (0.0, 0.8, 1.0, 0.2))
    below = Quad(top.corner_m + right, -right, down, cloth, shade=0.5)
    return [top, below, flap]


def _painted_sides(name: str, seed: Seed, block: Block, paint: Callable[[Canvas], None]) -> tuple[Texture, Texture]:
    """Textures of a block's long sides and of its ends."""
    height = round((block.top_m - block.bottom_m) * PX_PER_M)
    sides = painted(name, (round(block.length_m * PX_PER_M), height), (*seed, 1), paint)
    return sides, painted(f"{name} end", (round(block.width_m * PX_PER_M), height), (*seed, 2), paint)


def _paint_sign(canvas: Canvas) -> None:
    rng, (width, height) = canvas.rng, canvas.size
    ground, ink = (VIVID[i] for i in rng.choice(5, 2, replace=False))
    canvas.fill((4, 4, width - 4, height - 4), ground)
    cv2.circle(canvas.pixels, (width // 2, height // 2 - 12), width // 3, ink, -1, cv2.LINE_AA)
    canvas.write(str(rng.integers(10, 90)), (0, 16, width, height - 40), (240, 240, 236))
    canvas.write(word(rng, 3).upper(), (6, height - 34, width - 6, height - 8), (244, 244, 240))


def _paint_kiosk(canvas: Canvas) -> None:
    rng, (width, height) = canvas.rng, canvas.size
    canvas.pixels[:] = (70, 96, 84)
    canvas.stain(0.07, 80, 2, 0.7)
    for _ in range(int(width * height / 4200)):
        w = canvas.px(rng.uniform(0.3, 0.6))
        x, y = int(rng.integers(max(width - w, 1))), int(rng.integers(max(height - int(1.35 * w), 1)))
        poster(canvas, (x, y, x + w, y + int(1.35 * w)))


def _paint_railing(canvas: Canvas) -> None:
    rng, (width, height) = canvas.rng, canvas.size
    canvas.pixels[:] = np.array([128, 116, 100]) * rng.uniform(0.8, 1.15)
    canvas.stain(0.08, 60, 3, 0.6)
    bar = canvas.px(0.11, 3)
    for x in range(0, width, bar):
        canvas.fill((x, 0, x + max(bar // 4, 1), height), (34, 34, 36))
    for y0, y1 in ((0.0, 0.06), (0.5, 0.54)):
        canvas.fill((0, int(y0 * height), width, int(y1 * height) + 1), (34, 34, 36))
    canvas.fill(canvas.part(0, 0.84, 1, 1), (198, 190, 172))
    if rng.random() < 0.6:  # flower boxes
        x0 = int(rng.uniform(0.05, 0.5) * width)
        box = (x0, int(0.2 * height), min(x0 + canvas.px(0.7), width), int(0.5 * height))
        leaves = octaves(rng, (box[2] - box[0], box[3] - box[1]), 10, 1.5, 0.9)[..., None]
        green = np.array([70, 112, 52], np.float32) * (1 + 0.25 * leaves)
        red = np.array(VIVID[rng.integers(len(VIVID))], np.float32)
        canvas.window(box)[:] = np.where(leaves > 1.1, red, green)


def _paint_hedge(canvas: Canvas) -> None:
    leaves = octaves(canvas.rng, canvas.size, 14, 1.5, 0.9)
    shade = octaves(canvas.rng, canvas.size, 60, 10, 0.6)
    canvas.pixels[:] = np.array([68, 98, 44], np.float32) * (1 + 0.28 * leaves + 0.15 * shade)[..., None]


def _paint_awning(canvas: Canvas) -> None:
    rng, colours = canvas.rng, np.array([VIVID[canvas.rng.integers(len(VIVID))], (228, 222, 206)], np.float32)
    canvas.pixels[:] = colours[np.arange(canvas.size[0]) // max(int(rng.uniform(12, 26)), 1) % 2]
    canvas.stain(0.06, 50, 2, 0.7)


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
