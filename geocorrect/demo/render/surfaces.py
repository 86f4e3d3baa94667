"""The synthetic world: textured planar rectangles (quads), kept as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocorrect.demo.render.textures import Texture
from geocorrect.geometry.pose import Pose
from geocorrect.records import Float

Window = tuple[float, float, float, float]
"""Part of a texture: left, top, width, height as fractions."""
WHOLE: Window = (0.0, 0.0, 1.0, 1.0)
SUN = np.array([0.35, -0.55, 0.76])
"""Direction to the sun in street axes."""


@dataclass(frozen=True, eq=False)
class Quad:
    """One rectangle, parallelogram or triangle; its back is invisible and stops no laser beam."""

    corner_m: Float
    """(3,) top-left corner, seen from the front."""
    right_m: Float
    """(3,) edge from it to the right."""
    down_m: Float
    """(3,) edge from it downwards."""
    texture: Texture
    window: Window = WHOLE
    """Part of the texture that is shown."""
    shade: float = 1.0
    """How bright the surface is lit, 1 = full."""
    shape: Literal["rectangle", "triangle"] = "rectangle"
    """A triangle is the half of the parallelogram at corner_m."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Quads as arrays, (Q, …); see `Quad`."""

    corner_m: Float
    right_m: Float
    down_m: Float
    texture_index: NDArray[np.int64]
    """(Q,) in `textures`."""
    texel_window: Float
    """(Q, 4) left, top, width, height in texels."""
    shade: Float
    cut: Float
    """(Q,) 1 for triangles, else 0."""
    textures: tuple[Texture, ...]

    @classmethod
    def of(cls, quads: Sequence[Quad]) -> Scene:
        """Gather quads; textures that are the same object are shared."""
        textures = {id(quad.texture): quad.texture for quad in quads}
        order = {key: index for index, key in enumerate(textures)}
        size = np.array([(q.texture.width_px, q.texture.height_px) * 2 for q in quads], float)
        return cls(
            corner_m=np.array([q.corner_m for q in quads], float),
            right_m=np.array([q.right_m for q in quads], float),
            down_m=np.array([q.down_m for q in quads], float),
            texture_index=np.array([order[id(q.texture)] for q in quads]),
            texel_window=np.array([q.window for q in quads], float) * size,
            shade=np.array([q.shade for q in quads], float),
            cut=np.array([float(q.shape == "triangle") for q in quads]),
            textures=tuple(textures.values()),
        )

    def ray_forms(self, world_from_sensor: Pose) -> Float:
        """(Q, 3, 3) matrices M with M @ direction = (u, v, 1) / range for a ray of the sensor.

        direction is in sensor axes and range counts in units of its length: with (x/z, y/z, 1) it is z-depth. u and v
        run 0…1 over the quad. Quads that show their back, or pass through the sensor, give zeros (never hit).
        """
        rotation = world_from_sensor.rotation.as_matrix()
        origin = (self.corner_m - world_from_sensor.translation_m) @ rotation
        columns = np.stack([self.right_m @ rotation, self.down_m @ rotation, origin], axis=-1)
        front = np.linalg.det(columns) > 1e-9
        forms = np.zeros_like(columns)
        forms[front] = np.linalg.inv(columns[front])
        return forms

    def corners_in(self, world_from_sensor: Pose) -> Float:
        """(Q, 4, 3) corners in sensor axes, clockwise from the top left as seen from the front."""
        right = self.corner_m + self.right_m
        world = np.stack([self.corner_m, right, right + self.down_m, self.corner_m + self.down_m], axis=1)
        rotation = world_from_sensor.rotation.as_matrix()
        result: Float = (world - world_from_sensor.translation_m) @ rotation
        return result


def lit(normal: ArrayLike) -> float:
    """Brightness of a surface under the demo's fixed sun and sky, from its outward normal (street axes, z up)."""
    n = np.asarray(normal, float)
    n = n / np.linalg.norm(n)
    return float(0.62 + 0.10 * n[2] + 0.34 * max(float(n @ SUN), 0.0))


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
