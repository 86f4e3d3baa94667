"""Human-readable numbers: with a unit, an interval and a sample size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from geocorrect.report.statistics import Estimate

UNKNOWN = "–"
TIED = "\u00a0"
"""No line break between a number and its unit."""


def length(metres: float) -> str:
    """3.6 cm, 42 cm, 7.5 m, 123 m; – when unknown."""
    if not math.isfinite(metres):
        return UNKNOWN
    scale, unit = length_unit(metres)
    return f"{_digits(metres * scale)}{TIED}{unit}"


def length_unit(metres: float) -> tuple[float, str]:
    """The factor and name of the unit in which a length is easiest to read."""
    return (100.0, "cm") if abs(metres) < 1.0 else (1.0, "m")


def length_with_interval(estimate: Estimate) -> str:
    """7.5 m [6.9–8.0], the interval in the unit of the value."""
    if not math.isfinite(estimate.low):
        return length(estimate.value)
    scale, _ = length_unit(estimate.value)
    low, high = _digits(estimate.low * scale), _digits(estimate.high * scale)
    return f"{length(estimate.value)} [{low}–{high}]"


def degrees(value: float) -> str:
    """0.016°, 3.2°, 42°; – when unknown."""
    return f"{_digits(value)}°" if math.isfinite(value) else UNKNOWN


def signed(value: float, unit: str, decimals: int = 1) -> str:
    """+2.4 m, −0.3 m, +17.0°; equal decimals, so that a column compares; – when unknown."""
    if not math.isfinite(value):
        return UNKNOWN
    text = f"{abs(value):.{decimals}f}"
    sign = "" if float(text) == 0.0 else "−" if value < 0 else "+"
    return f"{sign}{text}{'' if unit == '°' else TIED}{unit}"


def share(estimate: Estimate) -> str:
    """85 % [76–91]; – for a share of nothing."""
    if estimate.n == 0:
        return UNKNOWN
    return f"{100 * estimate.value:.0f}{TIED}% [{100 * estimate.low:.0f}–{100 * estimate.high:.0f}]"


def count(n: int, singular: str, plural: str | None = None) -> str:
    """1 photo, 12,345 photos."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def listed(parts: Sequence[str]) -> str:
    """a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def shortened(text: str, longest: int = 120) -> str:
    """The text, cut with an ellipsis when a provider sent a novel."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def place(lon_deg: float, lat_deg: float) -> str:
    """41.90310° N, 12.50960° E."""
    return f"{abs(lat_deg):.5f}° {'N' if lat_deg >= 0 else 'S'}, {abs(lon_deg):.5f}° {'E' if lon_deg >= 0 else 'W'}"


def moment(value: datetime | None) -> str:
    """2026-11-20 13:17 UTC; – when unknown."""
    return UNKNOWN if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def days(first: datetime, last: datetime) -> str:
    """The words "on 2024-06-10", or from one day to another, in UTC."""
    start, end = (value.astimezone(UTC).date().isoformat() for value in (first, last))
    return f"on {start}" if start == end else f"from {start} to {end}"


def _digits(value: float) -> str:
    size = float(f"{abs(value):.2g}")
    decimals = 3 if size < 0.1 else 2 if size < 1 else 1 if size < 10 else 0
    return f"{value:.{decimals}f}"
