"""Positions and orientations of cameras as columns: whole batches at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.catalog.rows.column_types import nullable_list
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose

Float = NDArray[np.float64]
CHI2_95_2DOF = 5.991464547107979
MAX_DISTANCE_M = 1e6
"""A scene is a town or a region; coordinates of UTM or of the Earth's centre are further away than this."""


def pose_columns(poses: Sequence[Pose], frame: Frame, names: Sequence[str]) -> tuple[dict[str, Any], Float]:
    """Place, pose, angle, covariance and geom columns of cameras, and true_north_turn_deg (N,) at each.

    A camera that is nowhere near the frame is an InputError; names are what it calls them.
    Arrays with nan for unknown: `covariance` (N, 36), `geom` (N, 3) longitude, latitude, height; else (N,).
    """
    enu = np.array([pose.translation_m for pose in poses])
    for k in np.flatnonzero(np.abs(enu).max(axis=1) > MAX_DISTANCE_M)[:1]:
        raise InputError(
            f"{names[k]}: {enu[k].tolist()} m is more than {MAX_DISTANCE_M / 1000:g} km from the origin of the frame "
            f"{frame.name!r}; give it in metres east, north and up of there"
        )
    quaternions = np.array([pose.quaternion_xyzw for pose in poses])
    unknown = np.full((6, 6), np.nan)
    covariances = [unknown if pose.covariance is None else pose.covariance for pose in poses]
    lon, lat, height = frame.wgs84_from_enu(enu)
    turn = frame.true_north_turn_deg(enu)
    heading, pitch, roll = _angles(quaternions, turn)
    columns: dict[str, Any] = {
        "lon_deg": lon, "lat_deg": lat, "height_m": height,
        "enu_x_m": enu[:, 0], "enu_y_m": enu[:, 1], "enu_z_m": enu[:, 2],
        **{name: quaternions[:, i] for i, name in enumerate(("qx", "qy", "qz", "qw"))},
        "heading_deg": heading, "pitch_deg": pitch, "roll_deg": roll,
        "covariance": np.array(covariances).reshape(-1, 36),
        "geom": np.stack([lon, lat, height], axis=1),
    }  # fmt: skip
    return columns, turn


def as_rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Columns of `pose_columns` turned into one dict per row: nan becomes None, geom a point."""
    points = list(shapely.points(columns["geom"]))
    lists = [points if name == "geom" else nullable_list(values) for name, values in columns.items()]
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]


def error_ellipses(covariances: Float, north_turn_deg: Float) -> tuple[Float, Float, Float]:
    """Semi-major and semi-minor axis (m) and azimuth (deg from true north, 0…180) of horizontal 95 % ellipses.

    covariances: (N, 6, 6), translation first; north_turn_deg: (N,) `Frame.true_north_turn_deg` of each place.
    """
    variances, axes = np.linalg.eigh(covariances[:, :2, :2])
    semi = np.sqrt(np.maximum(variances, 0.0) * CHI2_95_2DOF)
    azimuth = np.degrees(np.arctan2(axes[:, 0, 1], axes[:, 1, 1])) - north_turn_deg
    return semi[:, 1], semi[:, 0], azimuth % 180.0


def _angles(quaternions: Float, north_turn_deg: Float) -> tuple[Float, Float, Float]:
    """Heading, pitch, roll (deg) of many cameras: `Frame.heading_deg` and `pitch_roll_deg` for a whole batch."""
    r = Rotation.from_quat(quaternions).as_matrix()
    forward, up = r[:, :, 2], r[:, 2, :]
    heading = (np.degrees(np.arctan2(forward[:, 0], forward[:, 1])) - north_turn_deg) % 360.0
    heading[np.hypot(forward[:, 0], forward[:, 1]) < 1e-6] = np.nan
    pitch = np.degrees(np.arcsin(np.clip(r[:, 2, 2], -1.0, 1.0)))
    roll = np.degrees(np.arctan2(up[:, 0], -up[:, 1]))
    roll[np.hypot(up[:, 0], up[:, 1]) < 1e-6] = np.nan
    return heading, pitch, roll
