"""A compass heading against magnetic north made one against true north, by the World Magnetic Model.

https://www.ncei.noaa.gov/products/world-magnetic-model; each model is valid for five years.
"""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any, NamedTuple

from geocorrect.records import Position

_MODELS = {2010: "WMM_2010", 2015: "WMM_2015v2", 2020: "WMM_2020", 2025: "WMM_2025"}
_VALID_YEARS = 5
_DAYS_PER_YEAR = 365.25


@functools.cache
def _model(name: str) -> Any:
    from pygeomag import GeoMag

    return GeoMag(coefficients_file=f"wmm/{name}.COF")


class Declination(NamedTuple):
    """Angle from true to magnetic north."""

    degrees: float
    """East positive: true heading = magnetic heading + declination."""
    sigma_deg: float
    """Standard deviation of the model there."""


def declination(place: Position, day: datetime) -> Declination | None:
    """The declination of a place and date; None for a date that no model covers, or at the magnetic poles."""
    year = day.year + (day.timetuple().tm_yday - 1) / _DAYS_PER_YEAR
    model = next((name for start, name in _MODELS.items() if start <= year < start + _VALID_YEARS), None)
    if model is None:
        return None
    field = _model(model).calculate(place.lat_deg, place.lon_deg, 0.0, year)
    if field.in_blackout_zone or field.in_caution_zone:
        return None
    return Declination(float(field.d), float(field.calculate_uncertainty().d))
