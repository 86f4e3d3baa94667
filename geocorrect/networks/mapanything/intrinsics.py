"""The pinhole that predicted rays describe: least squares on a grid of pixels, horizontal and vertical apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

SAMPLES_PER_SIDE = 50
MIN_FORWARD = 1e-3
"""Rays with a smaller z are at 90° and more off axis, where no pinhole has a pixel."""


@dataclass(frozen=True)
class FittedIntrinsics:
    """Focal lengths and principal point in pixels of the network image, integer pixel centres, and how well they fit.

    All are nan where the rays describe no pinhole.
    """

    focal_x_px: float
    """Horizontal focal length."""
    focal_y_px: float
    """Vertical focal length."""
    centre_x_px: float
    """Column of the principal point."""
    centre_y_px: float
    """Row of the principal point."""
    residual_px: float
    """Root mean square distance of the pixels from where the fitted pinhole sees their rays."""

    @property
    def matrix(self) -> Float:
        """(3, 3) K."""
        return np.array(
            [
                [self.focal_x_px, 0.0, self.centre_x_px],
                [0.0, self.focal_y_px, self.centre_y_px],
                [0.0, 0.0, 1.0],
            ]
        )


NO_PINHOLE = FittedIntrinsics(*(float("nan"),) * 5)


def fit_intrinsics(rays: NDArray[np.floating], all_rays: bool = False) -> FittedIntrinsics:
    """The pinhole without skew that fits (H, W, 3) ray directions, in float64.

    all_rays: also those that do not look forward, as the official code has it; they are left out else, and where half
    of the rays are such there is no pinhole.
    """
    height, width = rays.shape[:2]
    rows = np.arange(0, height, max(1, height // SAMPLES_PER_SIDE))
    columns = np.arange(0, width, max(1, width // SAMPLES_PER_SIDE))
    sampled = np.asarray(rays[np.ix_(rows, columns)], np.float64).reshape(-1, 3)
    v, u = (axis.ravel().astype(float) for axis in np.meshgrid(rows, columns, indexing="ij"))
    if not all_rays:
        ahead = sampled[:, 2] > MIN_FORWARD
        if 2 * np.count_nonzero(ahead) < len(ahead):
            return NO_PINHOLE
        sampled, u, v = sampled[ahead], u[ahead], v[ahead]
    plane = sampled[:, :2] / sampled[:, 2:]
    (focal_x, centre_x), (focal_y, centre_y) = (_line(plane[:, axis], px) for axis, px in ((0, u), (1, v)))
    if not all_rays and not (focal_x > 0 and focal_y > 0):
        return NO_PINHOLE
    off_x, off_y = centre_x + focal_x * plane[:, 0] - u, centre_y + focal_y * plane[:, 1] - v
    return FittedIntrinsics(focal_x, focal_y, centre_x, centre_y, float(np.sqrt(np.mean(off_x**2 + off_y**2))))


def _line(x: Float, y: Float) -> tuple[float, float]:
    """Slope and offset of the least-squares line; nan where x does not vary."""
    x_mean, y_mean = x.mean(), y.mean()
    spread = float(((x - x_mean) ** 2).sum())
    slope = float(((x - x_mean) * (y - y_mean)).sum()) / spread if spread > 0 else float("nan")
    return slope, float(y_mean - slope * x_mean)
