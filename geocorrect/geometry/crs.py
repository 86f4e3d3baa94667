"""Coordinates of any declared CRS ↔ WGS84, and heights of any vertical reference above its ellipsoid; never a guess.

PROJ's best operation at the place is taken or, where its grid is not installed, refused: an old datum that is not
shifted is 80 to 250 m off. A height above sea level and an ellipsoidal height differ by the geoid undulation: 48 m in
Rome, 50 m in the Alps.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Proj, Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.crs import CompoundCRS
from pyproj.enums import TransformDirection
from pyproj.exceptions import CRSError
from pyproj.transformer import TransformerGroup
from scipy.spatial.transform import Rotation

Float = NDArray[np.float64]

ELLIPSOID = "ellipsoid"
ORTHOMETRIC = "orthometric"
WGS84 = "EPSG:4326"
MAX_UNDULATION_M = 110.0
"""The geoid is between 107 m below and 86 m above the ellipsoid."""
CELL_DEG = 0.1
"""Places within a cell share an operation; finding one takes milliseconds."""
COARSE_M = 1.5
"""Operations that are less accurate than this are reported."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeclaredCrs:
    """What a file or a user says that coordinates are in."""

    horizontal: CRS
    """The two plan coordinates."""
    height_reference: str | None
    """"ellipsoid" or a vertical CRS where the CRS has a third coordinate, None where it has not."""

    @property
    def is_wgs84(self) -> bool:
        """Whether plan coordinates are WGS84 longitude and latitude."""
        return self.same_plan(declared_crs(WGS84))

    def same_plan(self, other: DeclaredCrs) -> bool:
        """Whether plan coordinates mean the same, in whatever order."""
        return bool(self.horizontal.equals(other.horizontal, ignore_axis_order=True))


@lru_cache(maxsize=64)
def declared_crs(text: str) -> DeclaredCrs:
    """The CRS of an EPSG code, a name such as WGS84, a PROJ string or WKT; ValueError saying why it is none."""
    words = text
    if text.startswith("+proj") and not any(key in text for key in ("+datum", "+towgs84", "+nadgrids")):
        # The ellipsoid WGS84 belongs to one datum only; all others are shared by several.
        words = text.replace("+ellps=WGS84", "+datum=WGS84")
    try:
        crs = CRS.from_user_input(words)
        parts = crs.sub_crs_list if crs.is_compound else [crs]
        plan, axes = parts[0], parts[0].axis_info
        if not (plan.is_geographic or plan.is_projected) or len(axes) not in (2, 3):
            raise ValueError(f"{text[:80]!r} has no longitude and latitude or easting and northing")
        if len(parts) > 1:
            return DeclaredCrs(plan, ":".join(parts[1].to_authority() or [parts[1].to_wkt()]))
        if len(axes) == 2:
            return DeclaredCrs(plan, None)
        if axes[2].unit_conversion_factor != 1.0:
            raise ValueError(f"{text[:80]!r} has heights in {axes[2].unit_name}; convert them to metres")
        return DeclaredCrs(plan.to_2d(), ELLIPSOID)
    except CRSError as error:
        reason = str(error).rsplit("Internal Proj Error: ", 1)[-1].strip("() ")
        raise ValueError(
            f"{text[:80]!r} is no coordinate system ({reason}); name it by its code, such as EPSG:32633"
        ) from None


def geojson_crs(content: Mapping[str, Any]) -> str:
    """The CRS that a GeoJSON names in its member `crs` (as before RFC 7946), else WGS84; ValueError when it is none."""
    if content.get("crs") is None:
        return WGS84
    try:
        name = str(content["crs"]["properties"]["name"])
    except (KeyError, TypeError):
        raise ValueError(f"its crs {str(content['crs'])[:80]} names no coordinate system") from None
    declared_crs(name)
    return name


def wgs84_from_crs(crs: str, x: ArrayLike, y: ArrayLike) -> tuple[Float, Float]:
    """(lon, lat) degrees of map coordinates given in x/y = easting/northing (or lon/lat) order of any CRS.

    Several points are brought over by one operation, the best at their middle. ValueError where there is none, or its
    grid is missing, or a finite point has no place (swapped axes); nan stays nan.
    """
    plan = declared_crs(crs).horizontal
    lon, lat = _roughly(plan).transform(np.asarray(x, float), np.asarray(y, float))
    return _transformed(crs, _middle(lon, lat), x, y, TransformDirection.FORWARD)


def crs_from_wgs84(crs: str, lon_deg: ArrayLike, lat_deg: ArrayLike) -> tuple[Float, Float]:
    """Map coordinates x/y (easting/northing order, whatever the CRS says) of lon/lat degrees; as `wgs84_from_crs`."""
    return _transformed(crs, _middle(lon_deg, lat_deg), lon_deg, lat_deg, TransformDirection.INVERSE)


def grid_convergence_deg(crs: str, lon_deg: float, lat_deg: float) -> float:
    """Angle from true north to grid north, clockwise positive, degrees: true = grid + convergence."""
    factors = Proj(declared_crs(crs).horizontal).get_factors(lon_deg, lat_deg)
    return float(factors.meridian_convergence)


def true_from_grid(crs: str, lon_deg: float, lat_deg: float) -> Rotation:
    """Rotation from grid east, grid north, up of a CRS into true east, true north, up at a place."""
    # Headings run clockwise, rotations about the vertical the other way.
    return Rotation.from_euler("z", -grid_convergence_deg(crs, lon_deg, lat_deg), degrees=True)


def ellipsoidal_height_m(
    lon_deg: ArrayLike, lat_deg: ArrayLike, height: ArrayLike, reference: str, undulation_m: float = float("nan")
) -> Float:
    """Heights above the WGS84 ellipsoid, metres.

    Args:
        lon_deg: longitudes of the points.
        lat_deg: their latitudes.
        height: their heights above `reference`, in its unit: metres, but for vertical CRS that have another.
        reference: "ellipsoid"; "orthometric" (above sea level); or a vertical CRS such as EPSG:5773, converted by PROJ
            when its geoid grid is installed.
        undulation_m: height of the geoid above the ellipsoid there; used instead of a grid.

    Raises:
        ValueError: says the remedy where no exact conversion is possible.
    """
    heights, has_undulation = np.asarray(height, float), np.isfinite(undulation_m)
    if has_undulation and abs(undulation_m) > MAX_UNDULATION_M:
        raise ValueError(f"no geoid undulation on earth is {undulation_m:g} m; give it in metres")
    if reference == ELLIPSOID:
        if has_undulation:
            raise ValueError("heights declared above the ellipsoid need no geoid undulation; drop one of the two")
        return heights
    if reference == ORTHOMETRIC:
        if not has_undulation:
            raise ValueError("heights above sea level need the geoid undulation there (metres, about 48 in Rome)")
        return heights + undulation_m
    vertical = _vertical_crs(reference)
    if has_undulation:
        axis = vertical.axis_info[0]
        upward = -1.0 if axis.direction == "down" else 1.0
        return upward * heights * axis.unit_conversion_factor + undulation_m
    lon, lat = np.asarray(lon_deg, float), np.asarray(lat_deg, float)
    try:
        operation = _best(CompoundCRS("heights", [WGS84, vertical]).to_wkt(), "EPSG:4979", *_middle(lon, lat))
    except ValueError as error:
        raise ValueError(f"heights of {reference}: {error}; or give the geoid undulation in metres") from None
    return np.asarray(operation.transform(lon, lat, heights, errcheck=True)[2], float)


def unit_of_heights_m(reference: str) -> float:
    """The unit that heights above a reference are given in, metres; ValueError when it is none."""
    if reference in (ELLIPSOID, ORTHOMETRIC):
        return 1.0
    return float(_vertical_crs(reference).axis_info[0].unit_conversion_factor)


@lru_cache(maxsize=16)
def _vertical_crs(reference: str) -> CRS:
    try:
        vertical = CRS.from_user_input(reference)
        known = vertical.is_vertical and not vertical.is_compound
    except CRSError:
        known = False
    if not known:
        raise ValueError(f"height reference {reference!r} is neither ellipsoid, orthometric nor a vertical CRS")
    return vertical


@lru_cache(maxsize=64)
def _roughly(plan: CRS) -> Transformer:
    """Good enough to say in which part of the world a point is."""
    return Transformer.from_crs(plan, WGS84, always_xy=True)


def _middle(lon_deg: ArrayLike, lat_deg: ArrayLike) -> tuple[float, float]:
    """The cell of the finite places in the middle; nan when there is none."""
    places = np.stack(np.broadcast_arrays(np.asarray(lon_deg, float), np.asarray(lat_deg, float)), -1).reshape(-1, 2)
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        return float("nan"), float("nan")
    lon, lat = CELL_DEG * np.round(np.median(places, axis=0) / CELL_DEG)
    return float(lon), float(lat)


def _transformed(
    crs: str, cell: tuple[float, float], x: ArrayLike, y: ArrayLike, direction: TransformDirection
) -> tuple[Float, Float]:
    x_in, y_in = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    x_out, y_out = np.full(x_in.shape, np.nan), np.full(x_in.shape, np.nan)
    if np.isfinite(cell).all():
        operation = _best(crs, WGS84, *cell)
        x_out, y_out = (np.asarray(v, float) for v in operation.transform(x_in, y_in, direction=direction))
    known = np.isfinite(x_in) & np.isfinite(y_in)
    lost = known & ~(np.isfinite(x_out) & np.isfinite(y_out))
    if lost.any():
        first_x, first_y = x_in[lost][0], y_in[lost][0]
        source, target = (crs, WGS84) if direction is TransformDirection.FORWARD else (WGS84, crs)
        raise ValueError(f"({first_x:g}, {first_y:g}) in {source} has no coordinates in {target} (swapped axes?)")
    return np.where(known, x_out, np.nan), np.where(known, y_out, np.nan)


@lru_cache(maxsize=256)
def _best(source: str, target: str, lon_deg: float, lat_deg: float) -> Transformer:
    """PROJ's best operation at a place; ValueError when there is none or its grid is missing."""
    half = CELL_DEG / 2
    west, east = np.clip([lon_deg - half, lon_deg + half], -180.0, 180.0)
    south, north = np.clip([lat_deg - half, lat_deg + half], -90.0, 90.0)
    begin = declared_crs(source).horizontal if target == WGS84 else CRS(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a missing grid, which is an error here
        area = AreaOfInterest(west, south, east, north)
        options: Any = {"always_xy": True, "allow_ballpark": False, "area_of_interest": area}
        group = TransformerGroup(begin, target, **options)
    if not group.best_available:
        missing = [grid.short_name for grid in group.unavailable_operations[0].grids if not grid.available]
        fetch = "; ".join(f"projsync --file {name}" for name in missing)
        raise ValueError(
            f"the best operation from {begin.name} to WGS84 needs {', '.join(missing)}, which is not installed; "
            f"run `{fetch}`, or convert the coordinates to WGS84 first"
        )
    if not group.transformers:
        raise ValueError(
            f"no operation from {begin.name} to WGS84 is known at longitude {lon_deg:.1f}, latitude {lat_deg:.1f}; "
            "name the datum by an EPSG code or its shift by +towgs84, or convert the coordinates to WGS84 first"
        )
    best = group.transformers[0]
    _report_coarse(begin.name, best.accuracy)
    return best


@cache
def _report_coarse(name: str, accuracy_m: float) -> None:
    if accuracy_m > COARSE_M:
        logger.warning("coordinates in %s: their shift to WGS84 is accurate to %.0f m only", name, accuracy_m)
