"""A result outside the catalog: a place and named values, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.rows.column_types import nullable_list
from geocorrect.catalog.rows.result_table import ResultTable, shown_at

ATTRIBUTION = (
    "Poses corrected with geocorrect; photos by their creators at their provider, see creator, page_url and licence."
)

# In the order in which tables show them; numbers with their decimals. Degrees with 7 decimals are a centimetre.
PROPERTIES: dict[str, int | None] = {
    "image_id": None, "sequence_id": None, "captured_at": None, "status": None, "reason": None, "detail": None,
    "heading_deg": 3, "pitch_deg": 3, "roll_deg": 3, "expected_error_m": 3, "expected_heading_error_deg": 3,
    "semi_major_m": 3, "semi_minor_m": 3, "ellipse_azimuth_deg": 1,
    "displacement_m": 3, "displacement_east_m": 3, "displacement_north_m": 3, "heading_change_deg": 3,
    "reported_lon_deg": 7, "reported_lat_deg": 7, "reported_heading_deg": 3,
    "computed_lon_deg": 7, "computed_lat_deg": 7, "computed_heading_deg": 3,
    "matcher": None, "depth": None, "depth_is_oracle": None, "scale_source": None, "n_anchors": None,
    "n_inliers": None, "median_residual_px": 2, "run_key": None, "recorded_at": None,
    "creator": None, "page_url": None, "licence": None,
}  # fmt: skip
PLACE_DIGITS = {"lon_deg": 7, "lat_deg": 7, "height_m": 3}
COLUMNS = (*PLACE_DIGITS, *PROPERTIES)


def rounded(value: float, digits: int) -> float | None:
    """The number with so many decimals; None for nan and infinity."""
    return float(np.round(value, digits)) + 0.0 if math.isfinite(value) else None


def places(table: ResultTable) -> NDArray[np.float64]:
    """(N, 3) rounded longitude, latitude and height of corrections; of rejections what was reported, without height."""
    values = zip((*shown_at(table), table["height_m"]), PLACE_DIGITS.values(), strict=True)
    return np.stack([np.round(numbers, digits) + 0.0 for numbers, digits in values], axis=1)


def property_columns(table: ResultTable) -> dict[str, Any]:
    """The named values of results: (N,) rounded arrays with nan for unknown, or lists with None."""
    columns = {
        name: table[name] if digits is None else np.round(table[name], digits) + 0.0
        for name, digits in PROPERTIES.items()
    }
    pairs = zip(table["reason"], table["detail"], strict=True)
    return columns | {"detail": [None if reason is None else detail for reason, detail in pairs]}


def property_rows(table: ResultTable) -> Iterator[dict[str, Any]]:
    """The named values of every result, one after the other; None = unknown."""
    columns = [listed(values) for values in property_columns(table).values()]
    names = list(PROPERTIES)
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def listed(values: Any) -> Sequence[Any]:
    """A column as a list; nan becomes None."""
    return nullable_list(values) if isinstance(values, np.ndarray) else list(values)


@dataclass
class Bounds:
    """The box of many places; west > east when it crosses the antimeridian (RFC 7946, section 5.2).

    With heights as soon as one place has one: a box has as many dimensions as its contents (section 5).
    """

    _lons: list[float] = field(default_factory=lambda: [math.inf, -math.inf, math.inf, -math.inf])
    _lats: list[float] = field(default_factory=lambda: [math.inf, -math.inf])
    _heights: list[float] = field(default_factory=lambda: [math.inf, -math.inf])

    def add(self, positions: NDArray[np.float64]) -> None:
        """Widen the box by places, (N, 3); nan: no place, or one without height."""
        lon, lat, height = positions[np.isfinite(positions[:, :2]).all(axis=1)].T
        for first, side in ((0, lon[lon < 0]), (2, lon[lon >= 0])):
            if len(side):
                self._lons[first] = min(self._lons[first], float(side.min()))
                self._lons[first + 1] = max(self._lons[first + 1], float(side.max()))
        for limits, values in ((self._lats, lat), (self._heights, height[np.isfinite(height)])):
            if len(values):
                limits[:] = [min(limits[0], float(values.min())), max(limits[1], float(values.max()))]

    def box(self) -> list[float] | None:
        """[west, south, lowest, east, north, highest], without heights where none is known, None for no place."""
        if math.isinf(self._lats[0]):
            return None
        west_min, west_max, east_min, east_max = self._lons
        west, east = min(west_min, east_min), max(west_max, east_max)
        if east - west > 180.0:
            west, east = east_min, west_max
        corners = zip((west, east), self._lats, self._heights, strict=True)
        return [number for corner in corners for number in corner if math.isfinite(number)]


@dataclass
class Licences:
    """Which licences the exported photos have."""

    names: set[str] = field(default_factory=set)

    def add(self, licences: Iterable[str]) -> None:
        """Add the licences of some photos."""
        self.names |= set(licences)

    def text(self) -> str:
        """One line for the file's head or tail."""
        return ", ".join(sorted(name or "unknown" for name in self.names)) or "none (no photo)"
