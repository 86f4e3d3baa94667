"""Places as files state them, brought to WGS84 and its ellipsoid; messages say where in the file."""

from __future__ import annotations

from geocorrect.anchors.readers.rows import Row
from geocorrect.errors import InputError
from geocorrect.geometry.crs import (
    ELLIPSOID,
    ORTHOMETRIC,
    DeclaredCrs,
    declared_crs,
    ellipsoidal_height_m,
    wgs84_from_crs,
)

PLACE_OPTIONS = ("crs", "height_reference", "geoid_undulation_m")
"""What AnchorOptions say of the places in a file."""


def stated_crs(where: str, own: str | None, given: str | None, given_by: str = "--crs") -> str:
    """What coordinates are in: what the file says wins, --crs states it where the file is silent.

    Args:
        where: file, for messages.
        own: what the file says.
        given: what --crs says.
        given_by: instead of --crs, in messages.

    Raises:
        InputError: neither says it, they contradict each other, or one is no CRS.
    """
    if own is None or given is None:
        found = own or given
        if found is None:
            raise InputError(f"{where}: the coordinate system is not declared; add --crs EPSG:4326 (or what it is)")
        _declared(where, found)
        return found
    first, second = _declared(where, own), _declared(where, given)
    heights = {first.height_reference, second.height_reference} - {None}
    if not first.same_plan(second) or len(heights) > 1:
        raise InputError(f"{where}: the file's coordinates are in {own}, but {given_by} says {given}; drop {given_by}")
    return own if first.height_reference else given


def stated_height_reference(where: str, crs: str, given: str) -> str:
    """What heights are measured from: as the CRS says, else as given; InputError when they contradict each other."""
    own = _declared(where, crs).height_reference
    # "orthometric" only says which kind of vertical CRS it is.
    if own is None or given in ("unknown", own) or (given == ORTHOMETRIC and own != ELLIPSOID):
        return own or given
    raise InputError(f"{where}: heights in {crs} are measured from {own}, but {given} is declared; drop one of the two")


def declared_height_reference(where: str, crs: str, given: str, heights: str = "the heights are") -> str:
    """As `stated_height_reference`; InputError, too, when neither says what `heights` measured from."""
    reference = stated_height_reference(where, crs, given)
    if reference == "unknown":
        raise InputError(
            f"{where}: what {heights} measured from is not declared; add --height-reference ellipsoid, orthometric "
            "(with --geoid-undulation) or a vertical CRS"
        )
    return reference


def place_of(row: Row, crs: str, reference: str, undulation_m: float) -> tuple[float, float, float]:
    """(longitude deg, latitude deg, ellipsoidal height m) of a row with x, y or lon_deg, lat_deg, and height_m."""
    lon, lat = wgs84_place(row.where, crs, *(row.number(name) for name in row.plan_columns))
    where = f"{row.where}: height_m"
    return lon, lat, height_on_ellipsoid_m(where, lon, lat, row.number("height_m"), reference, undulation_m)


def wgs84_place(where: str, crs: str, x: float, y: float) -> tuple[float, float]:
    """(longitude, latitude) in degrees of coordinates in a CRS; InputError when they are not on earth."""
    try:
        lon, lat = (x, y) if _declared(where, crs).is_wgs84 else map(float, wgs84_from_crs(crs, x, y))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    if not (abs(lon) <= 180 and abs(lat) <= 90):
        raise InputError(
            f"{where}: ({x:g}, {y:g}) is no place in {crs}; are latitude and longitude swapped, or is it another CRS?"
        )
    return lon, lat


def height_on_ellipsoid_m(
    where: str, lon_deg: float, lat_deg: float, height: float, reference: str, undulation_m: float
) -> float:
    """`ellipsoidal_height_m` of one place, with an InputError that says where."""
    try:
        return float(ellipsoidal_height_m(lon_deg, lat_deg, height, reference, undulation_m))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _declared(where: str, crs: str) -> DeclaredCrs:
    try:
        return declared_crs(crs)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
