"""Ground heights from a digital elevation model, with its vertical datum declared or refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.readers.place import height_on_ellipsoid_m, stated_height_reference, wgs84_place
from geocorrect.errors import InputError
from geocorrect.geometry.crs import crs_from_wgs84, unit_of_heights_m

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

Float = NDArray[np.float64]

UNITS_M = {
    "m": 1.0, "metre": 1.0, "meter": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "km": 1000.0,
    "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "international foot": 0.3048,
    "us-ft": 1200 / 3937, "ftus": 1200 / 3937, "us survey foot": 1200 / 3937, "us_survey_foot": 1200 / 3937,
}  # fmt: skip
"""Units of a raster's band as GDAL writes them, in metres."""


@dataclass(frozen=True, eq=False)
class ElevationModel:
    """A raster of heights, read where it is asked for: national models do not fit into memory."""

    path: Path
    crs: str
    inverse: tuple[float, ...]
    """(a, b, c, d, e, f): column = a·x + b·y + c, row = d·x + e·y + f, from the corner of the top-left cell."""
    shape: tuple[int, int]
    """Rows and columns."""
    scale: float
    """Height = scale · value + offset, in the unit of the height reference; likewise the next."""
    offset: float
    height_reference: str
    """What heights are measured from, as in `geometry.crs`."""
    undulation_m: float
    """Of the geoid above the ellipsoid."""

    def height_m(self, lon_deg: float, lat_deg: float) -> float:
        """Ellipsoidal height, bilinear between cell centres; nan outside the raster or in a hole."""
        try:
            x, y = (float(value) for value in crs_from_wgs84(self.crs, lon_deg, lat_deg))
        except ValueError:
            return float("nan")
        a, b, c, d, e, f = self.inverse
        place = np.array([d * x + e * y + f, a * x + b * y + c]) - 0.5
        height = self.scale * self._value(place) + self.offset
        if not np.isfinite(height):
            return float("nan")
        return height_on_ellipsoid_m(str(self.path), lon_deg, lat_deg, height, self.height_reference, self.undulation_m)

    def _value(self, place: Float) -> float:
        """The band at a row and column, counted from the centre of the top-left cell."""
        last = np.array(self.shape) - 1
        if not ((place >= 0).all() and (place <= last).all()):
            return float("nan")
        first = np.minimum(place.astype(int), np.maximum(last - 1, 0))
        down, right = place - first
        with opened_raster(self.path) as raster:
            window = tuple((int(k), int(k) + 2) for k in first)
            cells = raster.read(1, window=window, masked=True).astype(np.float64).filled(np.nan)
        rows, columns = np.array([1 - down, down])[: cells.shape[0]], np.array([1 - right, right])[: cells.shape[1]]
        weights = np.outer(rows, columns)
        return float((weights * np.where(weights > 0, cells, 0.0)).sum())  # a hole without weight is no hole


def read_dem(path: Path, height_reference: str = "unknown", undulation_m: float = float("nan")) -> ElevationModel:
    """A raster DEM with its scale, offset and unit, by rasterio.

    Raises:
        InputError: It is unreadable, has no CRS, an unknown unit or no declared vertical datum, or what it says of its
            heights contradicts what is declared.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such DEM")
    with opened_raster(path) as raster:
        if raster.crs is None:
            raise InputError(f"{path}: the raster has no coordinate system; assign one (gdal_edit -a_srs)")
        crs, inverse, shape = raster.crs.to_wkt(), tuple((~raster.transform)[:6]), raster.shape
        middle = raster.xy(shape[0] // 2, shape[1] // 2)
        scale, offset, unit = float(raster.scales[0]), float(raster.offsets[0]), (raster.units[0] or "").strip()
    reference = stated_height_reference(str(path), crs, height_reference)
    if reference == "unknown":
        raise InputError(
            f"{path}: what its heights are measured from is not declared, and the trajectory's are ellipsoidal; add "
            "--dem-height-reference ellipsoid, orthometric (with --geoid-undulation) or a vertical CRS"
        )
    lon, lat = wgs84_place(str(path), crs, *middle)
    height_on_ellipsoid_m(str(path), lon, lat, 0.0, reference, undulation_m)
    expected_m = unit_of_heights_m(reference)
    if unit and unit.lower() not in UNITS_M:
        raise InputError(f"{path}: heights in {unit!r}; convert them to metres (gdal_calc) or name the unit m or ft")
    factor = UNITS_M[unit.lower()] / expected_m if unit else 1.0
    if expected_m != 1.0 and abs(factor - 1.0) > 1e-4:
        raise InputError(f"{path}: heights in {unit!r}, but those of {reference} have another unit")
    return ElevationModel(path, crs, inverse, shape, scale * factor, offset * factor, reference, undulation_m)


@contextmanager
def opened_raster(path: Path) -> Iterator[DatasetReader]:
    """The raster, open for the length of the block; InputError naming the file when it cannot be read."""
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as raster:
            yield raster
    except RasterioError as error:
        raise InputError(f"{path}: not a readable raster ({error})") from None
