"""Web Mercator as map tiles have it: the world as a square."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXTENT = 4096
"""Units of a side of a vector tile."""
LIMIT_DEG = 85.0511287
"""Latitude of the square's upper side."""

Float = NDArray[np.float64]


def world_from_wgs84(lon_deg: Float, lat_deg: Float) -> Float:
    """(…, 2) column and row in 0…1, from the north-west corner; what lies beyond the limit is moved there."""
    lat = np.radians(np.clip(lat_deg, -LIMIT_DEG, LIMIT_DEG))
    return np.stack([(lon_deg + 180.0) / 360.0, 0.5 - np.log(np.tan(np.pi / 4 + lat / 2)) / (2 * np.pi)], axis=-1)
