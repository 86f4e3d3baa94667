"""The angle conventions that mobile mapping tables come in, each by its name: angles → rotation of what they turn.

`heading_pitch_roll`: of the vehicle: heading clockwise from north, pitch nose up, roll right side down; applied in this
    order. Body axes: x forward, y left, z up.
`heading_pitch_roll_ned`: the same angles of the same vehicle, for a rig that is given in axes x forward, y right, z
    down, as inertial systems write them.
`yaw_pitch_roll_enu`: yaw counter-clockwise from east, pitch nose down, roll right side down (ROS); body axes x forward,
    y left, z up.
`omega_phi_kappa`: photogrammetric: R = Rx(ω) · Ry(φ) · Rz(κ) turns photo axes (x right, y up, z towards the viewer)
    into east, north, up.
`quaternion`: qx, qy, qz, qw of the body (x forward, y left, z up) in east, north, up.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Float

Convention = Literal[
    "heading_pitch_roll", "heading_pitch_roll_ned", "yaw_pitch_roll_enu", "omega_phi_kappa", "quaternion"
]
Unit = Literal["deg", "rad", "gon"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
COLUMNS: dict[Convention, tuple[str, ...]] = {
    "heading_pitch_roll": ("heading", "pitch", "roll"),
    "heading_pitch_roll_ned": ("heading", "pitch", "roll"),
    "yaw_pitch_roll_enu": ("yaw", "pitch", "roll"),
    "omega_phi_kappa": ("omega", "phi", "kappa"),
    "quaternion": ("qx", "qy", "qz", "qw"),
}
"""Columns of the table, or what the description's `columns` maps to them."""
RAD_PER_UNIT: dict[Unit, float] = {"deg": np.pi / 180.0, "rad": 1.0, "gon": np.pi / 200.0}
PHOTO_FROM_CAM = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
FLU_FROM_NED = PHOTO_FROM_CAM
FLU_FROM_CAM = Rotation.from_matrix([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Axes forward, left, up from right, down, ahead."""
BODY_FROM_FORWARD_CAM: dict[Convention, Rotation] = {
    "heading_pitch_roll": FLU_FROM_CAM,
    "heading_pitch_roll_ned": FLU_FROM_NED.inv() * FLU_FROM_CAM,
    "yaw_pitch_roll_enu": FLU_FROM_CAM,
    "omega_phi_kappa": Rotation.identity(),
    "quaternion": FLU_FROM_CAM,
}
"""A camera that looks forward, upright, in the body axes of each convention; what `omega_phi_kappa` turns is one."""


def enu_from_body(values: Float, convention: Convention, unit: Unit) -> Rotation:
    """Rotation of the body (of the camera, in OpenCV axes, for `omega_phi_kappa`) in east, north, up.

    values are those of COLUMNS, in its order. ValueError for a quaternion that is none.
    """
    if convention == "quaternion":
        if not 0.99 < np.linalg.norm(values) < 1.01:
            raise ValueError(f"quaternion of length {np.linalg.norm(values):.3g}, expected 1 (qx, qy, qz, qw)")
        return Rotation.from_quat(values)
    first, second, third = values * RAD_PER_UNIT[unit]
    if convention == "omega_phi_kappa":
        return Rotation.from_euler("XYZ", [first, second, third]) * PHOTO_FROM_CAM
    if convention == "yaw_pitch_roll_enu":
        return Rotation.from_euler("ZYX", [first, second, third])
    body = Rotation.from_euler("ZYX", [np.pi / 2 - first, -second, third])
    return body * FLU_FROM_NED if convention == "heading_pitch_roll_ned" else body
