"""The virtual points by which the Map-free benchmark measures a pose on the screen (Arnold et al., ECCV 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP_M = 0.3
COUNTS = (7, 4, 7)
START_M = (-0.9, -0.45, 1.8)


def virtual_points_m() -> NDArray[np.float64]:
    """(196, 3) in a camera's frame: 2.1 × 1.2 × 2.1 m, from 1.8 m on; y outermost, z innermost."""
    axes = [start + STEP_M * np.arange(count) for start, count in zip(START_M, COUNTS, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="xy"), axis=-1).reshape(-1, 3)
