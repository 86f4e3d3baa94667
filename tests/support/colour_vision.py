"""How colours look to people with a colour vision deficiency, and how far apart they then are.

Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision Deficiency (2009), table 1 at
severity 1.0, in linear RGB; distances are CIE 1976 in CIELAB (D65).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
DEFICIENCIES: dict[str, list[list[float]]] = {
    "none": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
_XYZ_FROM_RGB = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]


def lab(colour: str, deficiency: str = "none") -> Float:
    """CIELAB of "red,green,blue[,alpha]" or "#rrggbb" in sRGB, as somebody with the deficiency sees it."""
    if colour.startswith("#"):
        colour = ",".join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))
    rgb = np.array(colour.split(",")[:3], float) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0.0, 1.0)
    x, y, z = (float(f) for f in np.cbrt(np.maximum(np.array(_XYZ_FROM_RGB) @ seen / [0.95047, 1.0, 1.08883], 0.0)))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(first: str, second: str, deficiency: str = "none") -> float:
    """How different two colours look; about 2 can just be seen."""
    return float(np.linalg.norm(lab(first, deficiency) - lab(second, deficiency)))
