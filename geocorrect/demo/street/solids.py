"""Boxes and panels made of quads, in street axes: x along the street, y to its left, z up; metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from geocorrect.demo.render.surfaces import WHOLE, Quad, Window, lit
from geocorrect.demo.render.textures import Texture
from geocorrect.records import Float

UP = np.array([0.0, 0.0, 1.0])
HANGING_M = 1.5
"""Boxes whose foot is higher than this can be seen from below."""


def panel(
    foot_m: ArrayLike, outward: ArrayLike, size_m: tuple[float, float], texture: Texture, window: Window = WHOLE
) -> Quad:
    """A vertical rectangle. foot_m: middle of its lower edge; outward: horizontal normal; size_m: width and height."""
    normal = np.asarray(outward, float) / np.linalg.norm(outward)
    right, up = np.cross(-normal, UP) * size_m[0], UP * size_m[1]
    return Quad(np.asarray(foot_m, float) - right / 2 + up, right, -up, texture, window, lit(normal))


def floor(low_m: tuple[float, float], high_m: tuple[float, float], z: float, texture: Texture) -> Quad:
    """A horizontal rectangle seen from above between two opposite corners (x, y); the texture's top is at high_m[1]."""
    corner, across = np.array([low_m[0], high_m[1], z]), np.array([high_m[0] - low_m[0], 0.0, 0.0])
    return Quad(corner, across, np.array([0.0, low_m[1] - high_m[1], 0.0]), texture, WHOLE, lit(UP))


@dataclass(frozen=True)
class Block:
    """An upright box."""

    centre_m: tuple[float, float]
    """Street x and y of its middle."""
    length_m: float
    width_m: float
    bottom_m: float
    top_m: float
    yaw_deg: float = 0.0
    """Turn of its length from the street's x, counter-clockwise."""

    @property
    def forward(self) -> Float:
        """Unit vector of its length."""
        angle = np.radians(self.yaw_deg)
        return np.array([np.cos(angle), np.sin(angle), 0.0])

    @property
    def left(self) -> Float:
        """Unit vector of its width."""
        return np.cross(UP, self.forward)

    def quads(self, sides: Texture, ends: Texture | tuple[Texture, Texture], lid: Texture) -> list[Quad]:
        """Two long sides, the front and back ends (alike, or one texture each), a lid; an underside if it hangs."""
        front, back = ends if isinstance(ends, tuple) else (ends, ends)
        centre = np.array([*self.centre_m, self.bottom_m])
        height = self.top_m - self.bottom_m
        half_l, half_w = self.forward * self.length_m / 2, self.left * self.width_m / 2
        lid_corner = centre + UP * height - half_l + half_w
        quads = [
            panel(centre + half_w, self.left, (self.length_m, height), sides),
            panel(centre - half_w, -self.left, (self.length_m, height), sides),
            panel(centre + half_l, self.forward, (self.width_m, height), front),
            panel(centre - half_l, -self.forward, (self.width_m, height), back),
            Quad(lid_corner, 2 * half_l, -2 * half_w, lid, WHOLE, lit(UP)),
        ]
        if self.bottom_m > HANGING_M:
            quads.append(Quad(centre - half_l - half_w, 2 * half_l, 2 * half_w, lid, WHOLE, lit(-UP)))
        return quads

    @property
    def footprint_m(self) -> Float:
        """(4, 2) corners of the base, counter-clockwise."""
        length, width = self.forward * self.length_m, self.left * self.width_m
        corners = np.array([-length - width, length - width, length + width, -length + width])
        return np.array(self.centre_m) + corners[:, :2] / 2
