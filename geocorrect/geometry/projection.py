"""Projection models: camera-frame points ↔ distorted plane coordinates, before focal length and principal point.

Models, names and order of coefficients are OpenSfM's (camera_projections_functions.h, camera_distortions_functions.h);
of `full_opencv` they are OpenCV's (its rational model; the name is COLMAP's). Every model is
project → distort → affine. With r = √(x² + y²) and θ = atan2(r, z), the plane is

    perspective  P = (x/z, y/z)           equidistant fisheye  F = (x, y)·θ/r          dual  l·P + (1 − l)·F
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

import numpy as np

from geocorrect.geometry.distortion import Distortion, Float, Mask

DEFAULT_TRANSITION = 0.5
"""Blend of a dual camera whose file does not name one (OpenSfM `io.py`)."""


class Projection(StrEnum):
    """Camera models; values are OpenSfM's names, and one of COLMAP."""

    PERSPECTIVE = "perspective"
    SIMPLE_RADIAL = "simple_radial"
    RADIAL = "radial"
    BROWN = "brown"
    FULL_OPENCV = "full_opencv"
    FISHEYE = "fisheye"
    FISHEYE_OPENCV = "fisheye_opencv"
    FISHEYE62 = "fisheye62"
    FISHEYE624 = "fisheye624"
    DUAL = "dual"
    SPHERICAL = "spherical"


_K6 = ("k1", "k2", "k3", "k4", "k5", "k6")

COEFFICIENTS: dict[Projection, tuple[str, ...]] = {
    Projection.PERSPECTIVE: ("k1", "k2"),
    Projection.SIMPLE_RADIAL: ("k1",),
    Projection.RADIAL: ("k1", "k2"),
    Projection.BROWN: ("k1", "k2", "p1", "p2", "k3"),
    Projection.FULL_OPENCV: ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    Projection.FISHEYE: ("k1", "k2"),
    Projection.FISHEYE_OPENCV: ("k1", "k2", "k3", "k4"),
    Projection.FISHEYE62: (*_K6, "p1", "p2"),
    Projection.FISHEYE624: (*_K6, "p1", "p2", "s0", "s1", "s2", "s3"),
    Projection.DUAL: ("k1", "k2", "transition"),
    Projection.SPHERICAL: (),
}
"""Order of `Camera.distortion` per model."""

SINGLE_FOCAL = frozenset({Projection.PERSPECTIVE, Projection.FISHEYE, Projection.DUAL})
"""Models that OpenSfM writes with one focal length and a centred principal point."""

_FISHEYES = frozenset({Projection.FISHEYE, Projection.FISHEYE_OPENCV, Projection.FISHEYE62, Projection.FISHEYE624})


@dataclass(frozen=True)
class Lens:
    """A camera model without focal length and principal point."""

    perspective_share: float
    """1 perspective plane, 0 equidistant fisheye, between: dual."""
    distortion: Distortion
    """Distortion of that plane."""

    @cached_property
    def max_radius(self) -> float:
        """Largest plane radius with a one-to-one image; a fisheye ends at θ = π."""
        return self.distortion.max_radius if self.perspective_share else min(self.distortion.max_radius, np.pi)

    def project(self, points_cam: Float) -> tuple[Float, Mask]:
        """(N, 2) distorted plane coordinates of (N, 3) camera-frame points, and which of them the model images."""
        plane, valid = self._plane(points_cam)
        return self.distortion.distort(plane), valid

    def project_with_jacobian(self, points_cam: Float) -> tuple[Float, Mask, Float]:
        """As `project`, with the exact (N, 2, 3) derivative by the point."""
        plane, valid = self._plane(points_cam)
        by_point = self._plane_jacobian(points_cam)
        if self.distortion.is_identity:
            return plane, valid, by_point
        by_plane = self.distortion.jacobian(plane)
        # Two outer products instead of a batched matmul: three times faster for stacks of 2×2.
        jacobian = by_plane[:, :, :1] * by_point[:, :1, :] + by_plane[:, :, 1:] * by_point[:, 1:, :]
        return self.distortion.distort(plane), valid, jacobian

    def unproject(self, distorted: Float) -> tuple[Float, Mask]:
        """(N, 3) unit bearings of (N, 2) distorted plane coordinates, and where there is one."""
        plane, valid = self.distortion.undistort(distorted)
        rho = np.hypot(plane[:, 0], plane[:, 1])
        valid = valid & (rho < self.max_radius)
        if self.perspective_share == 0.0:
            scale = np.sinc(rho / np.pi)  # sin ρ / ρ, 1 at the centre
            return np.column_stack([plane * scale[:, None], np.cos(rho)]), valid
        tangent = rho if self.perspective_share == 1.0 else self._dual_tangent(rho)
        valid &= tangent < 1e100  # beyond, a dual plane radius past the horizon overflows
        scale = np.divide(tangent, rho, out=np.ones_like(rho), where=rho > 0)
        rays = np.column_stack([plane * scale[:, None], np.ones(len(plane))])
        return rays / np.linalg.norm(rays, axis=1, keepdims=True), valid

    def _plane(self, points: Float) -> tuple[Float, Mask]:
        """Undistorted plane coordinates, and where the model is one-to-one."""
        x, y, z = points[:, 0], points[:, 1], points[:, 2]
        share = self.perspective_share
        if share == 0.0:
            plane, valid = points[:, :2] * _theta_over_r(x, y, z)[:, None], (z > 0) | (x != 0) | (y != 0)
        else:
            plane, valid = points[:, :2] / z[:, None], z > 0
        if 0.0 < share < 1.0:
            plane = share * plane + (1 - share) * points[:, :2] * _theta_over_r(x, y, z)[:, None]
        return plane, valid & (np.hypot(plane[:, 0], plane[:, 1]) < self.max_radius)

    def _plane_jacobian(self, points: Float) -> Float:
        share = self.perspective_share
        if share == 1.0:
            return _perspective_jacobian(points)
        fisheye = _fisheye_jacobian(points)
        return fisheye if share == 0.0 else share * _perspective_jacobian(points) + (1 - share) * fisheye

    def _dual_tangent(self, rho: Float) -> Float:
        """Solve l·tan θ + (1 − l)·θ = ρ for tan θ: concave in it, so that Newton from below never overshoots."""
        share = self.perspective_share
        tangent = rho.copy()
        for _ in range(100):
            error = share * tangent + (1 - share) * np.arctan(tangent) - rho
            step = error / (share + (1 - share) / (1 + tangent * tangent))
            tangent = tangent - step
            if (np.abs(step) <= 4e-16 * np.abs(tangent)).all():
                break
        return tangent


@lru_cache(maxsize=4096)
def lens_of(projection: Projection, coefficients: tuple[float, ...]) -> Lens:
    """The lens of a model; coefficients complete and in the order of `COEFFICIENTS`. Not for spherical cameras."""
    named = dict(zip(COEFFICIENTS[projection], coefficients, strict=True))
    p1, p2, s0, s1, s2, s3 = (named.get(name, 0.0) for name in ("p1", "p2", "s0", "s1", "s2", "s3"))
    radial = tuple(named[name] for name in _K6 if name in named)
    above = 3 if projection is Projection.FULL_OPENCV else len(radial)
    distortion = Distortion(radial[:above], (p1, p2), (s0, s1, s2, s3), radial[above:])
    return Lens(named.get("transition", 0.0 if projection in _FISHEYES else 1.0), distortion)


def turned_coefficients(projection: Projection, coefficients: tuple[float, ...]) -> tuple[float, ...]:
    """Coefficients after the plane's turn x' = y, y' = −x: (p2, p1), (s0, s2) and (s1, s3) turn as vectors."""
    named = dict(zip(COEFFICIENTS[projection], coefficients, strict=True))
    turned = dict(named)
    for x_name, y_name in (("p2", "p1"), ("s0", "s2"), ("s1", "s3")):
        if x_name in named:
            turned[x_name], turned[y_name] = named[y_name], -named[x_name]
    return tuple(turned.values())


def spherical_angles(points_cam: Float) -> tuple[Float, Mask]:
    """(N, 2) longitude (right positive) and downward latitude in radians; valid but for the null vector."""
    x, y, z = points_cam[:, 0], points_cam[:, 1], points_cam[:, 2]
    angles = np.column_stack([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))])
    return angles, (x != 0) | (y != 0) | (z != 0)


def spherical_jacobian(points_cam: Float) -> Float:
    """(N, 2, 3) derivative of `spherical_angles`; not finite at the poles."""
    x, y, z = points_cam[:, 0], points_cam[:, 1], points_cam[:, 2]
    h2 = x * x + z * z
    h, d2 = np.sqrt(h2), h2 + y * y
    zero = np.zeros_like(x)
    longitude = np.column_stack([z / h2, zero, -x / h2])
    latitude = np.column_stack([-x * y / (h * d2), h / d2, -y * z / (h * d2)])
    return np.stack([longitude, latitude], axis=1)


def spherical_bearings(angles: Float) -> Float:
    """(N, 3) unit bearings of longitude and downward latitude."""
    lon, down = angles[:, 0], angles[:, 1]
    return np.column_stack([np.cos(down) * np.sin(lon), np.sin(down), np.cos(down) * np.cos(lon)])


def _theta_over_r(x: Float, y: Float, z: Float) -> Float:
    r = np.hypot(x, y)
    return np.divide(np.arctan2(r, z), r, out=1.0 / np.where(z == 0, 1.0, z), where=r > 0)


def _perspective_jacobian(points: Float) -> Float:
    inverse_z = 1.0 / points[:, 2]
    out = np.zeros((len(points), 2, 3))
    out[:, 0, 0] = out[:, 1, 1] = inverse_z
    out[:, :, 2] = -points[:, :2] * (inverse_z * inverse_z)[:, None]
    return out


def _fisheye_jacobian(points: Float) -> Float:
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    r2 = x * x + y * y
    d2 = r2 + z * z
    s = _theta_over_r(x, y, z)
    near_axis = r2 < 1e-8 * z * z
    # (ds/dr)/r; near the axis the quotient cancels and the first term of its series is exact enough.
    q = np.where(near_axis, -2.0 / (3.0 * z**3), (z / d2 - s) / np.where(r2 > 0, r2, 1.0))
    out = np.empty((len(points), 2, 3))
    out[:, 0, 0], out[:, 1, 1] = s + x * x * q, s + y * y * q
    out[:, 0, 1] = out[:, 1, 0] = x * y * q
    out[:, :, 2] = -points[:, :2] / d2[:, None]
    return out
