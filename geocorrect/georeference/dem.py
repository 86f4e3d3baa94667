"""Ground heights from a digital elevation model, with its vertical datum declared or refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from geocorrect.anchors.readers.place import height_on_ellipsoid_m
from geocorrect.errors import InputError
from geocorrect.geometry.frame import crs_from_wgs84

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ElevationModel:
    """A raster of heights, read whole."""

    crs: str
    inverse: tuple[float, ...]
    """(a, b, c, d, e, f): column = a·x + b·y + c, row = d·x + e·y + f, from the corner of the top-left cell."""
    band: Float
    """(H, W) heights in metres; nan where there is none."""
    height_reference: str
    """What heights are measured from, as in `geometry.vertical`."""
    undulation_m: float
    """Of the geoid above the ellipsoid."""

    def height_m(self, lon_deg: float, lat_deg: float) -> float:
        """Ellipsoidal height, bilinear between cell centres; nan outside the raster or in a hole."""
        x, y = (float(value) for value in crs_from_wgs84(self.crs, lon_deg, lat_deg))
        a, b, c, d, e, f = self.inverse
        column, row = a * x + b * y + c - 0.5, d * x + e * y + f - 0.5
        value = float(map_coordinates(self.band, [[row], [column]], order=1, cval=np.nan)[0])
        if not np.isfinite(value):
            return float("nan")
        return height_on_ellipsoid_m("DEM", lon_deg, lat_deg, value, self.height_reference, self.undulation_m)


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
            crs, inverse = raster.crs.to_wkt(), tuple((~raster.transform)[:6])
    except RasterioError as error:
        raise InputError(f"{path}: not a readable raster ({error})") from None
    height_on_ellipsoid_m(str(path), 0.0, 0.0, 0.0, height_reference, undulation_m)
    return ElevationModel(crs, inverse, band, height_reference, undulation_m)
