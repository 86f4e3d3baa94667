"""Tiles of orthophotos: grey, colour, colour with transparency, and colour with near infrared."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from geocorrect.georeference.orthophoto import HALF_WORLD_M, open_orthophoto

ZOOM, COLUMN, ROW = 18, 140_000, 97_000
SIZE_M = 2 * HALF_WORLD_M / 2**ZOOM
RED, GREEN, BLUE, INFRARED = 200, 90, 30, 10
ALPHA = ColorInterp.alpha


def tile_of(path: Path, bands: list[int], last: ColorInterp | None = None) -> np.ndarray:
    """The tile (256, 256, 4) that a picture of one colour covers to a quarter: its west half's north."""
    west, north = COLUMN * SIZE_M - HALF_WORLD_M, HALF_WORLD_M - ROW * SIZE_M
    transform = rasterio.Affine(SIZE_M / 256, 0.0, west, 0.0, -SIZE_M / 256, north)
    profile = {"driver": "GTiff", "width": 128, "height": 128, "count": len(bands), "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, crs="EPSG:3857", transform=transform) as file:
        if last is not None:
            file.colorinterp = [*file.colorinterp[:-1], last]
        file.write(np.broadcast_to(np.uint8(bands)[:, None, None], (len(bands), 128, 128)))
    png = open_orthophoto(path).tile(ZOOM, COLUMN, ROW)
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize(
    ("bands", "last", "expected"),
    [
        ([RED], None, (RED, RED, RED, 255)),
        ([RED, GREEN, BLUE], None, (RED, GREEN, BLUE, 255)),
        ([RED, GREEN, BLUE, 255], ALPHA, (RED, GREEN, BLUE, 255)),
        ([RED, GREEN, BLUE, INFRARED], ColorInterp.undefined, (RED, GREEN, BLUE, 255)),
    ],
)
def test_colours_and_transparency_are_the_pictures(
    bands: list[int], last: ColorInterp | None, expected: tuple[int, ...], tmp_path: Path
) -> None:
    tile = tile_of(tmp_path / "o.tif", bands, last)
    assert tile.shape == (256, 256, 4)
    assert tuple(tile[60, 60]) == expected
    assert not tile[200, 200, 3]
    assert not tile[60, 200, 3]
