"""Ground heights from a digital elevation model, with its vertical datum declared or refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import InputError
from geocorrect.geometry.frame import crs_from_wgs84
from geocorrect.geometry.vertical import ellipsoidal_height_m

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ElevationModel:
    """A raster of heights, read whole. height_reference, undulation_m: as in `geometry.vertical`."""

    path: Path
    crs: str
    inverse: tuple[float, ...]
    band: Float
    height_reference: str
    undulation_m: float

    def height_m(self, lon_deg: float, lat_deg: float) -> float:
        """Ellipsoidal height, bilinear between cell centres; nan outside the raster or in a hole."""
        x, y = crs_from_wgs84(self.crs, lon_deg, lat_deg)
        a, b, c, d, e, f = self.inverse
        column, row = a * float(x) + b * float(y) + c - 0.5, d * float(x) + e * float(y) + f - 0.5
        height, width = self.band.shape
        if not (0 <= column <= width - 1 and 0 <= row <= height - 1):
            return float("nan")
        left, top = min(int(column), width - 2), min(int(row), height - 2)
        u, v = column - left, row - top
        cell = self.band[top : top + 2, left : left + 2]
        value = float(np.array([1 - v, v]) @ cell @ np.array([1 - u, u]))
        if not np.isfinite(value):
            return float("nan")
        return float(ellipsoidal_height_m(lon_deg, lat_deg, value, self.height_reference, self.undulation_m))


def read_dem(path: Path, height_reference: str = "unknown", undulation_m: float = float("nan")) -> ElevationModel:
    """Read a raster DEM by rasterio; InputError when it is unreadable, has no CRS, or no declared vertical datum."""
    if height_reference == "unknown":
        raise InputError(
            f"{path}: what its heights are measured from is not declared, and the trajectory's are ellipsoidal; add "
            "--dem-height-reference ellipsoid, orthometric (with --geoid-undulation) or a vertical CRS"
        )
    import rasterio
    from rasterio.errors import RasterioError

    if not path.is_file():
        raise InputError(f"{path}: no such DEM")
    try:
        with rasterio.open(path) as raster:
            if raster.crs is None:
                raise InputError(f"{path}: the raster has no coordinate system; assign one (gdal_edit -a_srs)")
            band = raster.read(1, masked=True).astype(np.float64).filled(np.nan)
            model = ElevationModel(
                path, raster.crs.to_wkt(), tuple((~raster.transform)[:6]), band, height_reference, undulation_m
            )
    except RasterioError as error:
        raise InputError(f"{path}: not a readable raster ({error})") from None
    try:
        ellipsoidal_height_m(0.0, 0.0, 0.0, height_reference, undulation_m)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    return model
