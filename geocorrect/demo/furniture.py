"""What stands about in a street: parked cars, lamp posts, sign posts, kiosks, planters, bins, balconies, awnings."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np

from geocorrect.demo.lettering import word, write
from geocorrect.demo.noise import Float32, octaves
from geocorrect.demo.openings import darken, fill
from geocorrect.demo.posters import VIVID, poster
from geocorrect.demo.solids import UP, Block, panel
from geocorrect.demo.surfaces import Float, Quad, lit
from geocorrect.demo.textures import ImageArray, Texture, plain

PX_PER_M = 90.0
PAINTS = (
    (196, 198, 200),
    (38, 40, 44),
    (138, 24, 28),
    (32, 58, 104),
    (226, 226, 222),
    (92, 98, 104),
    (64, 84, 72),
    (186, 150, 60),
)
Seed = tuple[int, ...]


def car(seed: Seed, centre_m: tuple[float, float], yaw_deg: float) -> tuple[list[Quad], Block]:
    """A parked car (body and cabin) and its body block, whose footprint casts the shadow."""
    rng = np.random.default_rng(seed)
    paint = PAINTS[rng.integers(len(PAINTS))]
    body = Block(
        centre_m,
        float(rng.uniform(3.8, 4.6)),
        float(rng.uniform(1.68, 1.82)),
        0.0,
        float(rng.uniform(0.86, 0.98)),
        yaw_deg,
    )
    back = body.forward[:2] * -0.12 * body.length_m / 2
    cabin_centre = (centre_m[0] + float(back[0]), centre_m[1] + float(back[1]))
    cabin = Block(
        cabin_centre,
        0.55 * body.length_m,
        body.width_m - 0.22,
        body.top_m,
        body.top_m + float(rng.uniform(0.5, 0.58)),
        yaw_deg,
    )
    size = (round(body.length_m * PX_PER_M), round(body.top_m * PX_PER_M))
    roof = plain("car roof", paint, 2.5, int(rng.integers(1 << 30)))
    side = Texture("car side", *size, partial(_paint_car_side, (*seed, 1), size, paint))
    end = Texture("car end", 160, 84, partial(_paint_car_end, (*seed, 2), (160, 84), paint))
    windows = Texture("car windows", 200, 48, partial(_paint_car_windows, (*seed, 3), (200, 48), paint))
    return body.quads(side, end, roof) + cabin.quads(windows, windows, roof), body


def post(seed: Seed, at_m: tuple[float, float], height_m: float, sign_facing_deg: float | None) -> list[Quad]:
    """A steel post with a lamp, or with a sign plate that faces a direction (degrees from the street axis)."""
    rng = np.random.default_rng(seed)
    steel = plain("steel", (104, 106, 104), 9, int(rng.integers(1 << 30)))
    quads = Block(at_m, 0.11, 0.11, 0.0, height_m).quads(steel, steel, steel)
    if sign_facing_deg is None:
        lamp = plain("lamp", (222, 218, 204), 5, int(rng.integers(1 << 30)))
        return quads + Block(at_m, 0.62, 0.3, height_m, height_m + 0.28).quads(lamp, lamp, steel)
    plate = Texture("sign", 96, 120, partial(_paint_sign, (*seed, 1), (96, 120)))
    angle = np.radians(sign_facing_deg)
    facing = np.array([np.cos(angle), np.sin(angle), 0.0])
    foot = np.array([*at_m, height_m - 0.8]) + 0.07 * facing
    return [*quads, panel(foot, facing, (0.62, 0.78), plate), panel(foot - 0.14 * facing, -facing, (0.62, 0.78), steel)]


def kiosk(seed: Seed, block: Block) -> list[Quad]:
    """A news stand, bill board or bin covered with posters."""
    long_side = round(block.length_m * PX_PER_M), round((block.top_m - block.bottom_m) * PX_PER_M)
    short_side = round(block.width_m * PX_PER_M), long_side[1]
    sides = Texture("kiosk side", *long_side, partial(_paint_kiosk, (*seed, 1), long_side))
    ends = Texture("kiosk end", *short_side, partial(_paint_kiosk, (*seed, 2), short_side))
    return block.quads(sides, ends, plain("kiosk roof", (84, 92, 84), 8, seed[-1]))


def planter(seed: Seed, block: Block) -> list[Quad]:
    """A stone trough with a clipped hedge in it."""
    hedge = Texture("hedge", 160, 96, partial(_paint_hedge, seed, (160, 96)))
    trough = plain("trough", (162, 150, 134), 12, seed[-1])
    middle = block.bottom_m + 0.4 * (block.top_m - block.bottom_m)
    lower = Block(block.centre_m, block.length_m + 0.1, block.width_m + 0.1, block.bottom_m, middle, block.yaw_deg)
    upper = Block(block.centre_m, block.length_m, block.width_m, middle, block.top_m, block.yaw_deg)
    return lower.quads(trough, trough, trough) + upper.quads(hedge, hedge, hedge)


def balcony(seed: Seed, block: Block) -> list[Quad]:
    """A balcony with a stone slab and an iron railing before a shaded wall."""
    size = round(block.length_m * PX_PER_M), round((block.top_m - block.bottom_m) * PX_PER_M)
    end = round(block.width_m * PX_PER_M), size[1]
    front = Texture("railing", *size, partial(_paint_railing, (*seed, 1), size))
    ends = Texture("railing end", *end, partial(_paint_railing, (*seed, 2), end))
    return block.quads(front, ends, plain("balcony floor", (170, 160, 146), 10, seed[-1]))


def something(
    rng: np.random.Generator, seed: Seed, at_m: tuple[float, float], ground_m: float
) -> tuple[list[Quad], Float]:
    """One random thing that stands on a pavement, and its footprint (N, 2); nothing at all gives ([], (0, 2))."""
    kind = rng.choice(["lamp", "sign", "planter", "kiosk", "bin", "nothing"], p=[0.2, 0.24, 0.2, 0.12, 0.12, 0.12])
    yaw = float(rng.normal(0, 3))
    if kind in ("lamp", "sign"):
        facing = float(rng.choice([0.0, 180.0]) + rng.normal(0, 8)) if kind == "sign" else None
        height = 2.9 if kind == "sign" else 5.6
        return post(seed, at_m, height, facing), Block(at_m, 0.4, 0.4, ground_m, height).footprint_m
    if kind == "planter":
        block = Block(at_m, 1.3, 0.6, ground_m, 1.15, yaw)
        return planter(seed, block), block.footprint_m
    if kind == "nothing":
        return [], np.zeros((0, 2))
    length, width, height = (2.0, 0.9, 2.4) if kind == "kiosk" else (0.7, 0.6, 1.15)
    centre = (at_m[0], at_m[1] + float(np.sign(at_m[1])) * 0.4)
    block = Block(centre, length, width, ground_m, height, yaw)
    return kiosk(seed, block), block.footprint_m


def awning(seed: Seed, foot_m: Float, outward: Float, width_m: float) -> list[Quad]:
    """A striped cloth over a shop: foot_m is the middle of its line on the wall."""
    rng = np.random.default_rng(seed)
    cloth = Texture("awning", round(width_m * 60), 90, partial(_paint_awning, seed, (round(width_m * 60), 90)))
    normal = outward / np.linalg.norm(outward)
    right = np.cross(-normal, UP) * width_m
    depth, drop = float(rng.uniform(0.9, 1.3)), float(rng.uniform(0.35, 0.55))
    down = normal * depth - UP * drop
    top = Quad(foot_m - right / 2, right, down, cloth, shade=lit(np.cross(down, right)))
    flap = panel(foot_m + down - UP * 0.22, normal, (width_m, 0.22), cloth, (0.0, 0.8, 1.0, 0.2))
    return [top, flap]


def _paint_car_side(seed: Seed, size: tuple[int, int], paint: tuple[int, int, int]) -> ImageArray:
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
    return _bytes(canvas)


def _paint_car_end(seed: Seed, size: tuple[int, int], paint: tuple[int, int, int]) -> ImageArray:
    rng, (width, height) = np.random.default_rng(seed), size
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = paint
    canvas *= np.linspace(1.1, 0.7, height, dtype=np.float32)[:, None, None]
    fill(canvas, (0, int(0.8 * height), width, height), (28, 28, 30))
    light = (206, 40, 34) if rng.random() < 0.5 else (236, 232, 214)
    for x0, x1 in ((0.04, 0.2), (0.8, 0.96)):
        fill(canvas, (int(x0 * width), int(0.2 * height), int(x1 * width), int(0.42 * height)), light)
    fill(canvas, (int(0.34 * width), int(0.52 * height), int(0.66 * width), int(0.68 * height)), (236, 236, 230))
    text = f"{word(rng, 1).upper()} {int(rng.integers(100, 999))} {word(rng, 1).upper()}"
    write(canvas, text, (int(0.35 * width), int(0.52 * height), int(0.65 * width), int(0.68 * height)), (20, 20, 24))
    return _bytes(canvas)


def _paint_car_windows(seed: Seed, size: tuple[int, int], paint: tuple[int, int, int]) -> ImageArray:
    rng, (width, height) = np.random.default_rng(seed), size
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = paint
    for x0, x1 in ((0.03, 0.32), (0.35, 0.66), (0.69, 0.97)):
        box = (int(x0 * width), int(0.12 * height), int(x1 * width), int(0.95 * height))
        fill(canvas, box, (40, 46, 52))
        fill(canvas, (box[0], box[1], box[2], int(0.45 * height)), (134, 152, 168), float(rng.uniform(0.2, 0.5)))
    return _bytes(canvas * (1 + 0.06 * octaves(rng, size, 60, 3, 0.6))[..., None])


def _paint_sign(seed: Seed, size: tuple[int, int]) -> ImageArray:
    rng, (width, height) = np.random.default_rng(seed), size
    ground, ink = (VIVID[i] for i in rng.choice(5, 2, replace=False))
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = (232, 232, 228)
    fill(canvas, (4, 4, width - 4, height - 4), ground)
    cv2.circle(canvas, (width // 2, height // 2 - 12), width // 3, tuple(float(c) for c in ink), -1, cv2.LINE_AA)
    write(canvas, str(rng.integers(10, 90)), (0, 16, width, height - 40), (240, 240, 236))
    write(canvas, word(rng, 3).upper(), (6, height - 34, width - 6, height - 8), (244, 244, 240))
    return _bytes(canvas)


def _paint_kiosk(seed: Seed, size: tuple[int, int]) -> ImageArray:
    rng, (width, height) = np.random.default_rng(seed), size
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = (70, 96, 84)
    canvas *= (1 + 0.07 * octaves(rng, size, 80, 2, 0.7))[..., None]
    for _ in range(int(width * height / 4200)):
        w = int(rng.uniform(0.3, 0.6) * PX_PER_M)
        x, y = int(rng.integers(max(width - w, 1))), int(rng.integers(max(height - int(1.35 * w), 1)))
        poster(rng, canvas, (x, y, x + w, y + int(1.35 * w)))
    return _bytes(canvas)


def _paint_railing(seed: Seed, size: tuple[int, int]) -> ImageArray:
    rng, (width, height) = np.random.default_rng(seed), size
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = np.array([128, 116, 100]) * rng.uniform(0.8, 1.15)
    canvas *= (1 + 0.08 * octaves(rng, size, 60, 3, 0.6))[..., None]
    bar = max(int(0.11 * PX_PER_M), 3)
    for x in range(0, width, bar):
        fill(canvas, (x, 0, x + max(bar // 4, 1), height), (34, 34, 36))
    for y0, y1 in ((0.0, 0.06), (0.5, 0.54)):
        fill(canvas, (0, int(y0 * height), width, int(y1 * height) + 1), (34, 34, 36))
    fill(canvas, (0, int(0.84 * height), width, height), (198, 190, 172))
    if rng.random() < 0.6:  # flower boxes
        x0 = int(rng.uniform(0.05, 0.5) * width)
        box = (x0, int(0.2 * height), min(x0 + int(0.7 * PX_PER_M), width), int(0.5 * height))
        leaves = octaves(rng, (box[2] - box[0], box[3] - box[1]), 10, 1.5, 0.9)[..., None]
        green = np.array([70, 112, 52], np.float32) * (1 + 0.25 * leaves)
        red = np.array(VIVID[rng.integers(len(VIVID))], np.float32)
        canvas[box[1] : box[3], box[0] : box[2]] = np.where(leaves > 1.1, red, green)
    return _bytes(canvas)


def _paint_hedge(seed: Seed, size: tuple[int, int]) -> ImageArray:
    rng = np.random.default_rng(seed)
    leaves: Float32 = octaves(rng, size, 14, 1.5, 0.9)
    shade = octaves(rng, size, 60, 10, 0.6)
    return _bytes(np.array([68, 98, 44], np.float32) * (1 + 0.28 * leaves + 0.15 * shade)[..., None])


def _paint_awning(seed: Seed, size: tuple[int, int]) -> ImageArray:
    rng, (width, height) = np.random.default_rng(seed), size
    first, second = VIVID[rng.integers(len(VIVID))], (228, 222, 206)
    stripe = (np.arange(width) // max(int(rng.uniform(12, 26)), 1)) % 2
    canvas = np.where(stripe[None, :, None] == 0, np.array(first, np.float32), np.array(second, np.float32))
    canvas = np.repeat(canvas, height, axis=0) * (1 + 0.06 * octaves(rng, size, 50, 2, 0.7))[..., None]
    return _bytes(canvas)


def _bytes(canvas: Float32) -> ImageArray:
    return np.clip(canvas, 0, 255).astype(np.uint8)
