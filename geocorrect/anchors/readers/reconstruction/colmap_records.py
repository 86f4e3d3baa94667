"""What a COLMAP model says, as it says it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.pose import Float


class CameraRecord(NamedTuple):
    """A line of cameras."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


class ImageRecord(NamedTuple):
    """An entry of images."""

    quaternion_wxyz: Float
    translation: Float
    """Of cam_from_world."""
    camera_id: int
    name: str
    px_colmap: Float
    """(M, 2), the corner of the top-left pixel at (0, 0)."""
    point_ids: NDArray[np.int64]
    """(M,) −1 where there is none."""


class PointRecord(NamedTuple):
    """A line of points3D, without colour and track."""

    xyz: tuple[float, float, float]
    error_px: float


class Records(NamedTuple):
    """A whole model."""

    cameras: dict[int, CameraRecord]
    images: list[ImageRecord]
    points: dict[int, PointRecord]
