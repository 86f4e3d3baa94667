"""A surface being painted: rectangles, stains, fading and words. Boxes and sizes are in pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from geocorrect.demo.render.textures import Texture, octaves
from geocorrect.records import Float32, ImageArray

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; the end is exclusive."""
Colour = tuple[float, float, float]
Seed = tuple[int, ...]
VIVID = (
    (206, 44, 40), (36, 92, 170), (238, 186, 36), (28, 128, 82), (232, 232, 224), (30, 30, 34), (222, 106, 36),
    (120, 60, 130),
)  # fmt: skip
PX_PER_M = 90.0
"""Resolution of whatever stands in front of the buildings."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """A picture that is painted in place."""

    pixels: Float32
    """(H, W, 3) RGB 0…255."""
    rng: np.random.Generator
    """Decides all details, in the order of painting."""
    px_per_m: float = PX_PER_M

    @classmethod
    def filled(cls, rng: np.random.Generator, size: tuple[int, int], colour: Colour) -> Canvas:
        """Of one colour; size is (width, height)."""
        pixels = np.empty((size[1], size[0], 3), np.float32)
        pixels[:] = colour
        return cls(pixels, rng)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def px(self, length_m: float, least: int = 0) -> int:
        """Whole pixels of a length, at least some."""
        return max(int(length_m * self.px_per_m), least)

    def part(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The box between shares 0…1 of width and height."""
        width, height = self.size
        return int(left * width), int(top * height), int(right * width), int(bottom * height)

    def window(self, box: Box) -> Float32:
        """View of the pixels in a box; parts off the canvas are cut."""
        left, top, right, bottom = (max(value, 0) for value in box)
        return self.pixels[top:bottom, left:right]

    def fill(self, box: Box, colour: Colour, strength: float = 1.0) -> None:
        """Paint a rectangle, mixed with what is there by strength 0…1."""
        window = self.window(box)
        window += np.float32(strength) * (np.array(colour, np.float32) - window)

    def darken(self, box: Box, factor: float) -> None:
        """Multiply a rectangle: shadows and dirt."""
        window = self.window(box)
        window *= np.float32(factor)

    def fade(self, top: float, bottom: float) -> None:
        """Multiply all rows, by factors from top to bottom."""
        self.pixels[:] *= np.linspace(top, bottom, self.size[1], dtype=np.float32)[:, None, None]

    def stain(self, strength: float, coarsest_px: float, finest_px: float, falloff: float) -> None:
        """Multiply by noise (see `octaves`) around 1."""
        self.pixels[:] *= (1 + strength * octaves(self.rng, self.size, coarsest_px, finest_px, falloff))[..., None]

    def write(self, text: str, box: Box, colour: Colour, opacity: float = 1.0) -> None:
        """Write text as large as it fits into a box."""
        left, top, right, bottom = box
        if right - left < 4 or bottom - top < 4 or not text:
            return
        mask = _text_mask(text, right - left, bottom - top)[..., None] * np.float32(opacity)
        window = self.pixels[top:bottom, left:right]
        window += mask[: window.shape[0], : window.shape[1]] * (np.array(colour, np.float32) - window)


def painted(
    name: str, size: tuple[int, int], seed: Seed, paint: Callable[[Canvas], None], colour: Colour = (0, 0, 0)
) -> Texture:
    """A texture whose painter starts from a canvas of one colour and the generator of a seed."""

    def pixels() -> ImageArray:
        canvas = Canvas.filled(np.random.default_rng(seed), size, colour)
        paint(canvas)
        return np.clip(canvas.pixels, 0, 255).astype(np.uint8)

    return Texture(name, *size, pixels)


@lru_cache(maxsize=512)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font: no font file of the machine is needed, and letters look the same everywhere."""
    return ImageFont.load_default(size_px)


def _text_mask(text: str, width: int, height: int) -> Float32:
    """(height, width) coverage 0…1 of the text, centred."""
    size = round(0.8 * height)
    font = _font(size)
    drawn = font.getlength(text)
    if drawn > 0.94 * width:
        font = _font(max(int(size * 0.94 * width / drawn), 4))
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, fill=255, font=font, anchor="mm")
    return np.asarray(picture, np.float32) / np.float32(255)


PLASTER: tuple[Colour, ...] = (
    (214, 178, 122), (222, 196, 150), (196, 132, 94), (206, 158, 118), (186, 174, 152), (228, 214, 186), (176, 108, 82),
    (204, 188, 140), (190, 196, 186),
)  # fmt: skip
BRICK: tuple[Colour, ...] = ((150, 84, 62), (166, 104, 76), (132, 78, 64), (176, 128, 98))
STONE: tuple[Colour, ...] = ((188, 180, 164), (170, 164, 154), (204, 194, 172))


def wall(canvas: Canvas) -> None:
    """Cover the canvas with one randomly chosen material."""
    rng = canvas.rng
    kind = rng.choice(["plaster", "brick", "stone"], p=[0.64, 0.18, 0.18])
    if kind == "plaster":
        _plaster(canvas, PLASTER[rng.integers(len(PLASTER))])
    elif kind == "brick":
        blocks(canvas, (0.25, 0.072), BRICK[rng.integers(len(BRICK))], 15)
    else:
        blocks(canvas, (0.72, 0.36), STONE[rng.integers(len(STONE))], 9)


def _plaster(canvas: Canvas, colour: Colour) -> None:
    """Painted render: clouds of damp, peeled patches that show an older coat, rain streaks and fine grain."""
    rng, size, p = canvas.rng, canvas.size, canvas.px_per_m
    stains = octaves(rng, size, 3.0 * p, 6, 0.62)
    grain = octaves(rng, size, 5, 1, 0.9)
    coat = np.array(colour, np.float32) * (1 + 0.055 * stains + 0.035 * grain)[..., None]
    older = np.array(colour, np.float32) * rng.uniform(0.74, 0.9) + np.array([22, 20, 18], np.float32)
    peel = octaves(rng, size, 0.9 * p, 3, 0.6)
    picture = np.where((peel > 2.1)[..., None], older * (1 + 0.05 * grain[..., None]), coat)
    streaks = octaves(rng, (size[0], max(size[1] // 24, 2)), 10, 1, 0.8)
    rows = np.linspace(0, len(streaks) - 1, size[1]).astype(int)
    canvas.pixels[:] = picture * (1 - 0.028 * np.clip(streaks[rows], 0, 2.5)[..., None])


def blocks(canvas: Canvas, block_m: tuple[float, float], colour: Colour, spread: float) -> None:
    """Masonry in running bond: each block its own tone (spread in grey levels), mortar between, stains over all."""
    rng, (width, height) = canvas.rng, canvas.size
    length_px, height_px = block_m[0] * canvas.px_per_m, block_m[1] * canvas.px_per_m
    row = (np.arange(height) / height_px).astype(int)
    shift = rng.uniform(0, 1, row[-1] + 1) * 0.2 + 0.5 * (np.arange(row[-1] + 1) % 2)
    along = np.arange(width)[None, :] / length_px + shift[row][:, None]
    column = along.astype(int)
    tone, tint = (
        rng.standard_normal((row[-1] + 1, int(column.max()) + 1, channels), np.float32) * strength
        for channels, strength in ((1, spread), (3, spread * 0.25))
    )
    picture = np.array(colour, np.float32) + (tone + tint)[row[:, None], column]
    joint = _joints(along - column, length_px) | _joints(np.arange(height) / height_px - row, height_px)[:, None]
    picture[joint] = np.array(colour, np.float32) * 0.45 + np.float32(82)
    stains = octaves(rng, canvas.size, 160, 8, 0.6)
    grain = octaves(rng, canvas.size, 4, 1, 0.9)
    canvas.pixels[:] = picture * (1 + 0.05 * stains + 0.04 * grain)[..., None]


def _joints(fraction: NDArray[np.float64], block_px: float) -> NDArray[np.bool_]:
    """Mortar covers about 1 px, more on large blocks."""
    return fraction < max(1.0, 0.035 * block_px) / block_px


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
