"""Single metadata fields, sanitised: unknown is nan or None, never 0, −1 or an exception.

What the service really sends in them: docs/mapillary_api.md, "Image fields".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.io.capture_time import plausible
from geocorrect.records import Position

NAN = float("nan")
_UNSIGNED_WRAP = 2.0**32
_HIGHEST_M = 20_000.0
_ZERO_RUN = 3
_MOST_LEVELS, _MOST_ENTRIES, _MOST_LETTERS = 4, 100, 1000


def number(value: Any) -> float:
    """A finite float, or nan."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NAN
    try:
        result = float(value)
    except OverflowError:
        return NAN
    return result if math.isfinite(result) else NAN


def rational(value: Any) -> float:
    """A finite float from anything that says it is a number (EXIF rationals), or nan."""
    try:
        return number(float(value))
    except (TypeError, ValueError, ArithmeticError):
        return NAN


def numbers(value: Any) -> tuple[float, ...] | None:
    """A tuple of finite floats; None when the value is no list of numbers."""
    if not isinstance(value, list | tuple):
        return None
    result = tuple(map(number, value))
    return None if any(map(math.isnan, result)) else result


def storable(value: Any, level: int = 0) -> Any:
    """A raw value as both back-ends can keep it: no NUL, valid Unicode, numbers of 64 bit, nothing deep or long.

    What cannot be kept is None, like what the service does not know.
    """
    if isinstance(value, str):
        return value[:_MOST_LETTERS].replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if level >= _MOST_LEVELS:
        return None
    if isinstance(value, list):
        return [storable(entry, level + 1) for entry in value[:_MOST_ENTRIES]]
    if isinstance(value, dict):
        entries = list(value.items())[:_MOST_ENTRIES]
        return {storable(str(key)): storable(entry, level + 1) for key, entry in entries}
    return None


def text(value: Any) -> str | None:
    """A non-empty, stripped string of printable characters, or None."""
    if not isinstance(value, str):
        return None
    return "".join(filter(str.isprintable, value)).strip()[:200] or None


def altitude_m(value: Any) -> float:
    """Metres; an unsigned 32-bit wrap is undone (4294967281 → −15), nonsense is nan."""
    metres = number(value)
    if metres > _UNSIGNED_WRAP / 2:
        metres -= _UNSIGNED_WRAP
    return metres if abs(metres) <= _HIGHEST_M else NAN


def compass_deg(value: Any) -> float:
    """Degrees clockwise from north in 0…360; −1 and every other negative value mean unknown, 370 means 10."""
    degrees = number(value)
    return degrees % 360.0 if 0 <= degrees <= 720 else NAN


def position(value: Any, height_m: float, height_reference: str) -> Position | None:
    """A GeoJSON point; None when absent, malformed, off the earth, or null island (devices without a fix)."""
    coordinates = numbers(value.get("coordinates")) if isinstance(value, Mapping) else None
    if coordinates is None or len(coordinates) < 2:
        return None
    lon, lat = coordinates[:2]
    if not (-180 <= lon <= 180 and -90 <= lat <= 90) or (abs(lon) < 1e-4 and abs(lat) < 1e-4):
        return None
    return Position(lon, lat, height_m, height_reference)


def capture_time(value: Any) -> datetime | None:
    """UTC from milliseconds since 1970; None when no photo can have been taken then."""
    try:
        return plausible(datetime.fromtimestamp(number(value) / 1000.0, UTC))
    except (ValueError, OverflowError, OSError):
        return None


def orientation(value: Any) -> int:
    """EXIF orientation 1…8; absent and 0 ("unknown" for uploaders) mean 1, anything else that makes no sense is 0."""
    code = number(value or 1)
    return int(code) if code in range(1, 9) else 0


def pixel_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """(width, height) of the upload in raw sensor orientation; None when unknown."""
    width, height = number(record.get("width")), number(record.get("height"))
    known = 1 <= width <= 100_000 and 1 <= height <= 100_000
    return (int(width), int(height)) if known else None


def enu_from_cam(value: Any) -> Rotation | None:
    """`computed_rotation` (axis-angle, world ENU → camera, any norm) as enu_from_cam; None if malformed."""
    vector = numbers(value)
    if vector is None or len(vector) != 3 or max(map(abs, vector)) > 100:
        return None
    return Rotation.from_rotvec(np.asarray(vector)).inv()


def zeros_in_a_row(angles: Sequence[float]) -> list[bool]:
    """Which compass values belong to a run of three or more exact zeros: devices without a compass write 0."""
    runs = [(value == 0.0, len(list(run))) for value, run in groupby(angles)]
    return [is_zero and length >= _ZERO_RUN for is_zero, length in runs for _ in range(length)]
