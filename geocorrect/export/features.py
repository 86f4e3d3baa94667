"""What a result looks like outside the catalog: a place and named values, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from geocorrect.catalog import StoredResult

ATTRIBUTION = (
    "Poses corrected with geocorrect; photos by their creators at their provider, see creator, page_url and licence."
)


def rounded(value: float, digits: int) -> float | None:
    """The number with so many decimals; None for nan and infinity."""
    return round(value, digits) + 0.0 if math.isfinite(value) else None


def instant(value: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def place(stored: StoredResult) -> list[float] | None:
    """[lon, lat, height] of a correction, [lon, lat] reported of a rejection, None without any position.

    Degrees with 7 decimals (1 cm), metres with 3.
    """
    if math.isfinite(stored.lon_deg):
        return [round(stored.lon_deg, 7), round(stored.lat_deg, 7), round(stored.height_m, 3)]
    if math.isfinite(stored.reported_lon_deg):
        return [round(stored.reported_lon_deg, 7), round(stored.reported_lat_deg, 7)]
    return None


def properties(stored: StoredResult) -> dict[str, Any]:
    """Named values of a result, in the order in which tables show them; None = unknown."""
    return {
        "image_id": stored.image_id,
        "sequence_id": stored.sequence_id,
        "captured_at": instant(stored.captured_at),
        "status": stored.status.value,
        "reason": None if stored.reason is None else stored.reason.value,
        "detail": None if stored.reason is None else stored.detail,
        "heading_deg": rounded(stored.heading_deg, 3),
        "pitch_deg": rounded(stored.pitch_deg, 3),
        "roll_deg": rounded(stored.roll_deg, 3),
        "expected_error_m": rounded(stored.expected_error_m, 3),
        "expected_heading_error_deg": rounded(stored.expected_heading_error_deg, 3),
        "semi_major_m": rounded(stored.semi_major_m, 3),
        "semi_minor_m": rounded(stored.semi_minor_m, 3),
        "ellipse_azimuth_deg": rounded(stored.ellipse_azimuth_deg, 1),
        "displacement_m": rounded(stored.displacement_m, 3),
        "displacement_east_m": rounded(stored.displacement_east_m, 3),
        "displacement_north_m": rounded(stored.displacement_north_m, 3),
        "heading_change_deg": rounded(stored.heading_change_deg, 3),
        "reported_lon_deg": rounded(stored.reported_lon_deg, 7),
        "reported_lat_deg": rounded(stored.reported_lat_deg, 7),
        "reported_heading_deg": rounded(stored.reported_heading_deg, 3),
        "matcher": stored.matcher,
        "depth": stored.depth,
        "depth_is_oracle": stored.depth_is_oracle,
        "scale_source": stored.scale_source,
        "n_anchors": stored.n_anchors,
        "n_inliers": stored.n_inliers,
        "median_residual_px": rounded(stored.median_residual_px, 2),
        "run_key": stored.run_key,
        "recorded_at": instant(stored.recorded_at),
        "creator": stored.attribution.creator,
        "page_url": stored.attribution.page_url,
        "licence": stored.attribution.licence,
    }


@dataclass
class Bounds:
    """The box of many places; west > east when it crosses the antimeridian (RFC 7946, section 5.2)."""

    _lons: list[float] = field(default_factory=lambda: [math.inf, -math.inf, math.inf, -math.inf])
    _lats: list[float] = field(default_factory=lambda: [math.inf, -math.inf])

    def add(self, position: Iterable[float]) -> None:
        """Widen the box by a place."""
        lon, lat = list(position)[:2]
        first = 0 if lon < 0 else 2
        self._lons[first] = min(self._lons[first], lon)
        self._lons[first + 1] = max(self._lons[first + 1], lon)
        self._lats = [min(self._lats[0], lat), max(self._lats[1], lat)]

    def box(self) -> list[float] | None:
        """[west, south, east, north], None for no place at all."""
        if math.isinf(self._lats[0]):
            return None
        west_min, west_max, east_min, east_max = self._lons
        west, east = min(west_min, east_min), max(west_max, east_max)
        if east - west > 180.0:
            west, east = east_min, west_max
        return [west, self._lats[0], east, self._lats[1]]


@dataclass
class Licences:
    """Which licences the exported photos carry."""

    names: set[str] = field(default_factory=set)

    def add(self, stored: StoredResult) -> None:
        """Take note of a photo's licence."""
        self.names.add(stored.attribution.licence or "unknown")

    def text(self) -> str:
        """One line for the file's head or tail."""
        return ", ".join(sorted(self.names)) or "none (no photo)"
