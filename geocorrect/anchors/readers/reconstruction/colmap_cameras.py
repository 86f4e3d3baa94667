"""COLMAP's camera models (`src/colmap/sensor/models.h`) as ours, exactly or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from geocorrect.anchors.readers.reconstruction.colmap_records import CameraRecord
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.projection import COEFFICIENTS, Projection

MODELS: tuple[tuple[str, tuple[str, ...], Projection | None], ...] = (
    ("SIMPLE_PINHOLE", ("f", "cx", "cy"), Projection.PERSPECTIVE),
    ("PINHOLE", ("fx", "fy", "cx", "cy"), Projection.PERSPECTIVE),
    ("SIMPLE_RADIAL", ("f", "cx", "cy", "k1"), Projection.SIMPLE_RADIAL),
    ("RADIAL", ("f", "cx", "cy", "k1", "k2"), Projection.RADIAL),
    ("OPENCV", ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"), Projection.BROWN),
    ("OPENCV_FISHEYE", ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"), Projection.FISHEYE_OPENCV),
    ("FULL_OPENCV", ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"), Projection.FULL_OPENCV),
    ("FOV", ("fx", "fy", "cx", "cy", "omega"), None),
    ("SIMPLE_RADIAL_FISHEYE", ("f", "cx", "cy", "k1"), Projection.FISHEYE_OPENCV),
    ("RADIAL_FISHEYE", ("f", "cx", "cy", "k1", "k2"), Projection.FISHEYE_OPENCV),
    (
        "THIN_PRISM_FISHEYE",
        ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "s0", "s2"),
        Projection.FISHEYE624,
    ),
    (
        "RAD_TAN_THIN_PRISM_FISHEYE",
        (
            *("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4", "k5", "k6"),
            *("tilt0", "tilt1", "prism0", "prism1", "prism2", "prism3"),
        ),
        Projection.FISHEYE62,
    ),
    ("SIMPLE_DIVISION", ("f", "cx", "cy", "k"), None),
    ("DIVISION", ("fx", "fy", "cx", "cy", "k"), None),
    ("SIMPLE_FISHEYE", ("f", "cx", "cy"), Projection.FISHEYE),
    ("FISHEYE", ("fx", "fy", "cx", "cy"), Projection.FISHEYE),
    ("EUCM", ("fx", "fy", "cx", "cy", "alpha", "beta"), None),
    ("EQUIRECTANGULAR", ("w", "h"), Projection.SPHERICAL),
)  # fmt: skip
"""By COLMAP's number: name, parameters by our names, and the model of ours that has them.

The last four of RAD_TAN_THIN_PRISM_FISHEYE act on distorted coordinates, ours on undistorted ones: only zero is equal.
"""
BY_NAME = {name: (parameters, projection) for name, parameters, projection in MODELS}


def camera_of(where: str, record: CameraRecord) -> Camera:
    """The camera of a record; InputError where we have no equal one."""
    if record.model not in BY_NAME:
        raise InputError(f"{where}: camera model {record.model} is not known; known are {', '.join(BY_NAME)}")
    names, projection = BY_NAME[record.model]
    if len(record.parameters) != len(names):
        raise InputError(f"{where}: {record.model} has {len(names)} parameters, got {len(record.parameters)}")
    named = dict(zip(names, record.parameters, strict=True))
    try:
        if projection is None:
            raise ValueError(f"{record.model} has no equal here")
        return _camera(projection, record, named, COEFFICIENTS[projection])
    except ValueError as error:
        raise InputError(
            f"{where}: {error}; undistort the images (colmap image_undistorter) and take that model"
        ) from None


def _camera(projection: Projection, record: CameraRecord, named: dict[str, float], ours: Sequence[str]) -> Camera:
    if projection is Projection.SPHERICAL:
        return Camera.spherical(record.width, record.height)
    affine = ("f", "fx", "fy", "cx", "cy")
    beyond = [name for name, value in named.items() if name not in (*ours, *affine) and value != 0.0]
    if beyond:
        raise ValueError(f"{record.model} with {', '.join(beyond)} other than 0 has no equal here")
    fx, fy = named.get("fx", named.get("f", 0.0)), named.get("fy", named.get("f", 0.0))
    cx, cy = named["cx"] - 0.5, named["cy"] - 0.5
    coefficients = [named.get(name, 0.0) for name in ours]
    if projection in (Projection.BROWN, Projection.FULL_OPENCV):
        return Camera.from_opencv(record.width, record.height, (fx, fy, cx, cy), coefficients)
    return Camera(projection, record.width, record.height, fx, fy, cx, cy, tuple(coefficients))
