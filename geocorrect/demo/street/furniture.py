"""What stands in a street or hangs on its fronts: lamp posts, signs, kiosks, planters, bins, balconies, awnings."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from geocorrect.demo.render.surfaces import Quad, lit
from geocorrect.demo.render.textures import Texture, octaves, plain
from geocorrect.demo.street.canvas import PX_PER_M, VIVID, Canvas, Seed, painted, poster, word
from geocorrect.demo.street.solids import UP, Block, panel
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
