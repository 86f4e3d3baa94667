"""Places as files state them, brought to WGS84 and its ellipsoid; messages say where in the file."""

from __future__ import annotations

from geocorrect.errors import InputError
from geocorrect.geometry.frame import wgs84_from_crs
from geocorrect.geometry.vertical import ellipsoidal_height_m

WGS84_NAMES = {"EPSG:4326", "EPSG:4979", "OGC:CRS84"}


def wgs84_place(where: str, crs: str, x: float, y: float) -> tuple[float, float]:
    """(longitude, latitude) in degrees of coordinates in a CRS; InputError when they are not on earth."""
    try:
        lon, lat = (x, y) if crs.upper() in WGS84_NAMES else map(float, wgs84_from_crs(crs, x, y))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    if not (abs(lon) <= 180 and abs(lat) <= 90):
        raise InputError(
            f"{where}: ({x:g}, {y:g}) is no place in {crs}; are latitude and longitude swapped, or is it another CRS?"
        )
    return lon, lat


def height_on_ellipsoid_m(
    where: str, lon_deg: float, lat_deg: float, height_m: float, reference: str, undulation_m: float
) -> float:
    """`ellipsoidal_height_m` of one place, with an InputError that says where."""
    try:
        return float(ellipsoidal_height_m(lon_deg, lat_deg, height_m, reference, undulation_m))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
