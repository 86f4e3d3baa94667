"""Words on the street: shop signs, posters, number plates."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from geocorrect.demo.render.noise import Float32

_SYLLABLES = """
ba be bo ca ce co da de di fa fi ga gi la le li lo ma me mi mo na ne ni no pa pe po ra re ri ro sa se si so ta te ti to
va ve vi zo sca stro gra bre tri fio pia
"""
_TRADES = """
BAR FARMACIA LIBRERIA PANETTERIA OTTICA SARTORIA FERRAMENTA CAFFÈ TRATTORIA FIORI GELATERIA TABACCHI EDICOLA ALIMENTARI
CICLI OROLOGI PASTA VINO CALZE DISCHI
"""
SYLLABLES, TRADES = tuple(_SYLLABLES.split()), tuple(_TRADES.split())


def word(rng: np.random.Generator, syllables: int) -> str:
    """A made-up Italian-sounding word."""
    return "".join(SYLLABLES[i] for i in rng.integers(len(SYLLABLES), size=syllables))


def shop_name(rng: np.random.Generator) -> str:
    """A trade and a made-up owner."""
    return f"{TRADES[rng.integers(len(TRADES))]} {word(rng, int(rng.integers(2, 4))).capitalize()}"


def write(
    canvas: Float32, text: str, box: tuple[int, int, int, int], colour: tuple[float, float, float], opacity: float = 1.0
) -> None:
    """Write text as large as it fits into box (left, top, right, bottom) of an (H, W, 3) canvas, in place."""
    left, top, right, bottom = box
    if right - left < 4 or bottom - top < 4 or not text:
        return
    mask = _mask(text, right - left, bottom - top)[..., None] * np.float32(opacity)
    window = canvas[top:bottom, left:right]
    window += mask[: window.shape[0], : window.shape[1]] * (np.array(colour, np.float32) - window)


@lru_cache(maxsize=512)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font: no font file of the machine is needed, and letters look the same everywhere."""
    return ImageFont.load_default(size_px)


def _mask(text: str, width: int, height: int) -> NDArray[np.float32]:
    """(height, width) coverage 0…1 of the text, centred."""
    size = round(0.8 * height)
    font = _font(size)
    drawn = font.getlength(text)
    if drawn > 0.94 * width:
        font = _font(max(int(size * 0.94 * width / drawn), 4))
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, fill=255, font=font, anchor="mm")
    return np.asarray(picture, np.float32) / np.float32(255)
