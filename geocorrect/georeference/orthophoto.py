"""A georeferenced picture of the ground (GeoTIFF, COG, …) as map tiles in Web Mercator."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError
from geocorrect.georeference.dem import opened_raster

TILE_PX = 256
HALF_WORLD_M = math.pi * 6378137.0
MAX_ZOOM = 24


@dataclass(frozen=True)
class Orthophoto:
    """A picture that was opened once to see that it can be shown."""

    path: Path
    bounds_deg: tuple[float, float, float, float]
    """West, south, east, north."""

    def tile(self, zoom: int, column: int, row: int) -> bytes | None:
        """A tile as PNG, transparent where the picture has nothing; None outside of it."""
        return _tile(self.path, zoom, column, row)


def open_orthophoto(path: Path) -> Orthophoto:
    """The picture; InputError when it cannot be read, has no place on earth, or is no 8-bit picture."""
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.warp import transform_bounds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # that is refused below, in words
        with opened_raster(path) as source:
            if source.crs is None or source.transform.is_identity:
                raise InputError(f"{path}: not georeferenced (no CRS or no transform); georeference it in QGIS first")
            if source.colorinterp[0].name == "palette":
                raise InputError(f"{path}: has a colour table; convert it: gdal_translate -expand rgb")
            if source.dtypes[0] != "uint8" or source.count not in (1, 3, 4):
                raise InputError(
                    f"{path}: {source.count} bands of {source.dtypes[0]}; an orthophoto has 1, 3 or 4 bands of 8 bit: "
                    "gdal_translate -ot Byte -scale -b 1 -b 2 -b 3"
                )
            return Orthophoto(path, tuple(transform_bounds(source.crs, "EPSG:4326", *source.bounds)))


@lru_cache(512)
def _tile(path: Path, zoom: int, column: int, row: int) -> bytes | None:
    import rasterio
    from PIL import Image
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.vrt import WarpedVRT

    size_m = 2 * HALF_WORLD_M / 2**zoom
    west, north = column * size_m - HALF_WORLD_M, HALF_WORLD_M - row * size_m
    place = rasterio.Affine(size_m / TILE_PX, 0.0, west, 0.0, -size_m / TILE_PX, north)
    shape: dict[str, Any] = {"crs": "EPSG:3857", "transform": place, "width": TILE_PX, "height": TILE_PX}
    with opened_raster(path) as source:
        has_alpha = source.colorinterp[-1] is ColorInterp.alpha
        with WarpedVRT(source, **shape, resampling=Resampling.bilinear, add_alpha=not has_alpha) as warped:
            # A fourth band that is no alpha is near infrared.
            bands = warped.read([*((1, 2, 3) if source.count >= 3 else (1, 1, 1)), warped.count])
    pixels = np.moveaxis(bands, 0, -1)
    if not pixels[..., 3].any():
        return None
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", compress_level=1)
    return out.getvalue()
