"""A surface being painted: rectangles, stains, fading and words. Boxes and sizes are in pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from geocorrect.demo.render.noise import octaves
from geocorrect.demo.render.textures import Texture
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
