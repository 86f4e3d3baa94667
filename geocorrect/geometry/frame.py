"""Geodetic frames: WGS84 ↔ ECEF ↔ local ENU ↔ UTM, true and grid north, heading ↔ rotation.

The mathematics of the project lives in a local ENU frame at a named origin; longitude/latitude and UTM
exist only at the borders. Heights are ellipsoidal (EPSG:4979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose

Float = NDArray[np.float64]

WGS84_A_M = 6378137.0
WGS84_F = 1 / 298.257223563
WGS84_E2 = WGS84_F * (2 - WGS84_F)


def ecef_from_wgs84(lon_deg: ArrayLike, lat_deg: ArrayLike, height_m: ArrayLike) -> Float:
    """(..., 3) earth-centred metres from geodetic degrees and ellipsoidal height."""
    lon, lat = np.radians(np.asarray(lon_deg, float)), np.radians(np.asarray(lat_deg, float))
    h = np.asarray(height_m, float)
    n = WGS84_A_M / np.sqrt(1 - WGS84_E2 * np.sin(lat) ** 2)
    x = (n + h) * np.cos(lat) * np.cos(lon)
    y = (n + h) * np.cos(lat) * np.sin(lon)
    z = (n * (1 - WGS84_E2) + h) * np.sin(lat)
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def wgs84_from_ecef(ecef_m: ArrayLike) -> tuple[Float, Float, Float]:
    """(lon deg, lat deg, ellipsoidal height m) of (..., 3) points; Bowring's start, then Newton-like steps.

    Converges to better than 1e-9 m for every point more than 100 km from the centre of the earth.
    """
    p = np.asarray(ecef_m, float)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    lon = np.arctan2(y, x)
    rho = np.hypot(x, y)
    b = WGS84_A_M * (1 - WGS84_F)
    reduced = np.arctan2(z * WGS84_A_M, rho * b)
    for _ in range(4):
        lat = np.arctan2(
            z + WGS84_E2 / (1 - WGS84_E2) * b * np.sin(reduced) ** 3,
            rho - WGS84_E2 * WGS84_A_M * np.cos(reduced) ** 3,
        )
        reduced = np.arctan2((1 - WGS84_F) * np.sin(lat), np.cos(lat))
    n = WGS84_A_M / np.sqrt(1 - WGS84_E2 * np.sin(lat) ** 2)
    # rho·cos + z·sin is well conditioned at the poles, unlike rho / cos(lat).
    height = rho * np.cos(lat) + z * np.sin(lat) - WGS84_A_M**2 / n
    return np.degrees(lon), np.degrees(lat), height


@dataclass(frozen=True)
class Frame:
    """A local east-north-up frame tangent to WGS84 at an origin."""

    name: str
    """Human-readable name."""
    lon_deg: float
    """Longitude of the origin."""
    lat_deg: float
    """Latitude of the origin."""
    height_m: float = 0.0
    """Ellipsoidal height of the origin."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.lon_deg) and -180 <= self.lon_deg <= 180):
            raise ValueError(f"frame {self.name!r}: longitude {self.lon_deg} is outside -180…180")
        if not (np.isfinite(self.lat_deg) and -90 <= self.lat_deg <= 90):
            raise ValueError(f"frame {self.name!r}: latitude {self.lat_deg} is outside -90…90 (swapped?)")
        if not np.isfinite(self.height_m):
            raise ValueError(f"frame {self.name!r}: height must be finite")

    @property
    def ecef_from_enu(self) -> Pose:
        """Pose of this frame in ECEF."""
        origin = ecef_from_wgs84(self.lon_deg, self.lat_deg, self.height_m)
        return Pose(Rotation.from_matrix(_east_north_up(self.lon_deg, self.lat_deg)), origin)

    def enu_from_wgs84(self, lon_deg: ArrayLike, lat_deg: ArrayLike, height_m: ArrayLike) -> Float:
        """(..., 3) metres east, north, up."""
        ecef_from_enu = self.ecef_from_enu
        # The origin is taken off first: turned, the six digits before the point would cost nanometres.
        off = ecef_from_wgs84(lon_deg, lat_deg, height_m) - ecef_from_enu.translation_m
        return Pose(ecef_from_enu.rotation.inv(), np.zeros(3)).apply(off)

    def wgs84_from_enu(self, enu_m: ArrayLike) -> tuple[Float, Float, Float]:
        """(lon deg, lat deg, ellipsoidal height m) of (..., 3) local points."""
        return wgs84_from_ecef(self.ecef_from_enu.apply(enu_m))

    def this_from(self, other: Frame) -> Pose:
        """Rigid transform that brings points of another local frame into this one."""
        return self.ecef_from_enu.inverse() @ other.ecef_from_enu

    def true_north_turn_deg(self, enu_m: ArrayLike) -> Float:
        """Clockwise angle in degrees from the frame's +y axis to true north at local points (..., 3).

        Zero at the origin; on the northern hemisphere it falls with distance east (about −0.008° per km in Rome).
        """
        north = self._enu_from_local_enu(enu_m)[..., :, 1]
        return np.asarray(np.degrees(np.arctan2(north[..., 0], north[..., 1])))

    def heading_deg(self, world_from_cam: Pose) -> float:
        """Heading of the optical axis, clockwise from *true* north at the camera, 0 ≤ heading < 360.

        nan for a camera looking straight up or down.
        """
        local_axes = self._enu_from_local_enu(world_from_cam.translation_m)
        forward = local_axes.T @ world_from_cam.rotation.as_matrix()[:, 2]
        if np.hypot(forward[0], forward[1]) < 1e-6:
            return float("nan")
        heading = float(np.degrees(np.arctan2(forward[0], forward[1]))) % 360.0
        return heading if heading < 360.0 else 0.0  # −1e-17 % 360 is 360

    def _enu_from_local_enu(self, enu_m: ArrayLike) -> Float:
        """(..., 3, 3) matrices: columns are true east, north and up at local points, in the axes of this frame."""
        lon, lat, _ = self.wgs84_from_enu(enu_m)
        return np.asarray(_east_north_up(self.lon_deg, self.lat_deg).T @ _east_north_up(lon, lat))


def _east_north_up(lon_deg: ArrayLike, lat_deg: ArrayLike) -> Float:
    """(..., 3, 3) matrices whose columns are east, north, up in ECEF."""
    lon, lat = np.radians(np.asarray(lon_deg, float)), np.radians(np.asarray(lat_deg, float))
    so, co, sa, ca = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
    east = np.stack([-so, co, np.zeros_like(so)], axis=-1)
    north = np.stack([-sa * co, -sa * so, ca], axis=-1)
    up = np.stack([ca * co, ca * so, sa], axis=-1)
    return np.stack([east, north, up], axis=-1)


def pitch_roll_deg(world_from_cam: Pose) -> tuple[float, float]:
    """(pitch, roll) in degrees against the frame's z axis, pitch up positive.

    Roll is OpenSfM's (geometry.py): atan2(up_x, −up_y) with `up` the world's up vector in camera axes, positive when
    it leans to the picture's right; nan for a camera looking straight up or down.
    """
    up_in_cam = world_from_cam.rotation.as_matrix()[2]
    pitch = float(np.degrees(np.arcsin(np.clip(up_in_cam[2], -1.0, 1.0))))
    if np.hypot(up_in_cam[0], up_in_cam[1]) < 1e-6:
        return pitch, float("nan")
    return pitch, float(np.degrees(np.arctan2(up_in_cam[0], -up_in_cam[1])))


def upright_turns(world_from_cam: Pose) -> int | None:
    """Counter-clockwise quarter turns of a picture after which up is up; None for a camera that looks up or down."""
    roll_deg = pitch_roll_deg(world_from_cam)[1]
    return round(roll_deg / 90.0) % 4 if np.isfinite(roll_deg) else None


def rotation_from_heading(
    heading_deg: float | Float, pitch_deg: float | Float = 0.0, roll_deg: float | Float = 0.0
) -> Rotation:
    """world_from_cam rotation (OpenCV camera axes, ENU world) from heading, pitch and roll in degrees, one or (N,).

    Inverse of `Frame.heading_deg` (at the frame's origin) and `pitch_roll_deg`.
    """
    # A camera that looks straight up, the lower side of its picture to the north, has the world's axes.
    angles_deg = np.broadcast_arrays(np.negative(heading_deg), np.subtract(pitch_deg, 90.0), np.negative(roll_deg))
    return Rotation.from_euler("ZXZ", np.stack(angles_deg, axis=-1), degrees=True)


def angle_difference_deg(first_deg: ArrayLike, second_deg: ArrayLike) -> Float:
    """Difference first − second wrapped to −180…180 degrees; nan where either is nan."""
    wrapped: Float = (np.asarray(first_deg, float) - np.asarray(second_deg, float) + 180.0) % 360.0 - 180.0
    return wrapped


def utm_epsg(lon_deg: float, lat_deg: float) -> int:
    """EPSG code of the plain UTM zone of a point (no Norway/Svalbard exceptions: those are a map-sheet custom)."""
    if not -80.0 <= lat_deg <= 84.0:
        raise ValueError(f"latitude {lat_deg} is outside UTM (80° S … 84° N)")
    zone = int((lon_deg + 180.0) // 6.0) % 60 + 1
    return (32600 if lat_deg >= 0 else 32700) + zone
