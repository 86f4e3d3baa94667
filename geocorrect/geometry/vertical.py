"""Heights of any vertical reference above the WGS84 ellipsoid, or a refusal; never a guess.

A height above sea level and an ellipsoidal height differ by the geoid undulation: 48 m in Rome, 50 m in the Alps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

Float = NDArray[np.float64]

ELLIPSOID = "ellipsoid"
ORTHOMETRIC = "orthometric"


def ellipsoidal_height_m(
    lon_deg: ArrayLike, lat_deg: ArrayLike, height_m: ArrayLike, reference: str, undulation_m: float = float("nan")
) -> Float:
    """Heights above the WGS84 ellipsoid, metres.

    Args:
        lon_deg: longitudes of the points.
        lat_deg: their latitudes.
        height_m: their heights above `reference`.
        reference: "ellipsoid"; "orthometric" (above sea level); or a vertical CRS such as EPSG:5773, converted by PROJ
            when its geoid grid is installed.
        undulation_m: height of the geoid above the ellipsoid there; used instead of a grid.

    Raises:
        ValueError: says the remedy where no exact conversion is possible.
    """
    heights = np.asarray(height_m, float)
    if reference == ELLIPSOID:
        if np.isfinite(undulation_m):
            raise ValueError("heights declared above the ellipsoid need no geoid undulation; drop one of the two")
        return heights
    if np.isfinite(undulation_m):
        return heights + undulation_m
    if reference == ORTHOMETRIC:
        raise ValueError("heights above sea level need the geoid undulation there (metres, about 48 in Rome)")
    return _by_grid(lon_deg, lat_deg, heights, reference)


def _by_grid(lon_deg: ArrayLike, lat_deg: ArrayLike, height_m: Float, reference: str) -> Float:
    try:
        vertical = CRS(reference)
    except CRSError as error:
        raise ValueError(
            f"height reference {reference!r} is neither ellipsoid, orthometric nor a vertical CRS ({error})"
        ) from None
    if not vertical.is_vertical or vertical.is_compound:
        raise ValueError(f"height reference {reference!r} is not a vertical CRS")
    compound = f"EPSG:4326+{reference.upper().removeprefix('EPSG:')}"
    try:
        transformer = Transformer.from_crs(compound, "EPSG:4979", always_xy=True, allow_ballpark=False, only_best=True)
        lon, lat = np.asarray(lon_deg, float), np.asarray(lat_deg, float)
        heights = np.asarray(transformer.transform(lon, lat, height_m, errcheck=True)[2], float)
        problem = "" if np.isfinite(heights).all() else "the grid is not installed"
    except (ProjError, CRSError) as error:
        problem = str(error)
    if problem:
        raise ValueError(
            f"PROJ cannot convert heights of {reference} to the ellipsoid here ({problem}); "
            "install the geoid grid (projsync) or give the geoid undulation in metres"
        )
    return heights
