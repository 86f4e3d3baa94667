"""The colours of results in QGIS and in the report: distinct also with a colour vision deficiency."""

from __future__ import annotations

import math

ERROR_CLASSES: tuple[tuple[float, str], ...] = (
    (0.1, "#0b3c8c"),
    (0.25, "#3f9fe0"),
    (0.5, "#ece7b5"),
    (1.0, "#f08c1e"),
    (math.inf, "#7a1200"),
)
"""Upper limit of the expected error (m) and its colour, from blue (good) over pale yellow to brown."""
STATUS_COLOURS = {"accepted": "#0072b2", "review": "#a02dff", "rejected": "#3d4650"}


def red_green_blue(colour: str) -> str:
    """The colour as QGIS writes it: "11,60,140"."""
    return ",".join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))
