"""A map turned so that the street runs from left to right, with a north arrow and a scale bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from geocorrect.records import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class MapView:
    """centre_m: (2,) ENU point that becomes the origin; along: (2,) unit vector that becomes the x axis."""

    centre_m: Float
    along: Float

    @classmethod
    def fitted_to(cls, points_m: Float) -> MapView:
        """Turned along the longest extent of (N, 2) points, towards the east."""
        centre = points_m.mean(axis=0)
        _, _, axes = np.linalg.svd(points_m - centre, full_matrices=False)
        return cls(centre, axes[0] if axes[0, 0] >= 0 else -axes[0])

    def turned(self, points_m: ArrayLike) -> Float:
        """(N, 2) map coordinates of (N, 2) ENU points."""
        offset = np.asarray(points_m, float).reshape(-1, 2) - self.centre_m
        across = np.array([-self.along[1], self.along[0]])
        return np.stack([offset @ self.along, offset @ across], axis=1)


def draw_north_and_scale(axes: Axes, view: MapView, bar_m: float = 20.0) -> None:
    """A north arrow and a scale bar in the lower corners of a map drawn with `view`, one data unit = one metre."""
    north = np.array([view.along[1], view.along[0]])  # the frame's +y axis in map coordinates
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    length = 0.16 * (top - bottom)
    foot = np.array([right - 1.6 * length, bottom + 0.35 * length])
    arrow = {"arrowstyle": "-|>", "color": "#1f2937", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    tip, letter = foot + length * north, foot + 1.35 * length * north
    axes.annotate("", (tip[0], tip[1]), (foot[0], foot[1]), arrowprops=arrow, zorder=6)
    axes.text(float(letter[0]), float(letter[1]), "N", ha="center", va="center", weight="bold", zorder=6)
    start, height = left + 0.02 * (right - left), bottom + 0.07 * (top - bottom)
    axes.plot([start, start + bar_m], [height, height], color="#1f2937", linewidth=3, solid_capstyle="butt", zorder=6)
    axes.text(start + bar_m / 2, height + 0.02 * (top - bottom), f"{bar_m:g} m", ha="center", va="bottom", zorder=6)
