"""Camera parameters as others write them: OpenSfM's JSON and vector layouts, OpenCV's matrices.

OpenSfM divides focal lengths and principal points by S = max(width, height), with the origin at the image centre
((w − 1)/2, (h − 1)/2); so the same numbers serve every size of a picture. Sources: OpenSfM `io.py camera_from_json`,
`camera_to_vector`, `doc/source/geometry.rst`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from geocorrect.geometry.projection import COEFFICIENTS, DEFAULT_TRANSITION, SINGLE_FOCAL, Projection

_AFFINE = ("focal_x", "focal_y", "c_x", "c_y")
_SAME_AS = {"equirectangular": "spherical"}


class Intrinsics(NamedTuple):
    """What a camera needs besides its size; the fields are those of `Camera`, in its order."""

    projection: Projection
    focal_x_px: float
    focal_y_px: float
    principal_x_px: float
    principal_y_px: float
    distortion: tuple[float, ...]


def projection_named(name: object) -> Projection:
    """The model of an OpenSfM or Mapillary name; ValueError lists the known ones."""
    text = str(name).strip().lower()
    known = {projection.value: projection for projection in Projection if projection is not Projection.FULL_OPENCV}
    try:
        return known[_SAME_AS.get(text, text)]
    except KeyError:
        raise ValueError(f"unknown projection_type {name!r}; known are {', '.join(known)}") from None


def intrinsics_from_opensfm(parameters: Mapping[str, Any], width: int, height: int) -> Intrinsics:
    """From OpenSfM's normalised JSON keys, with its defaults (coefficient 0, transition 0.5, type perspective)."""
    projection = projection_named(parameters.get("projection_type", Projection.PERSPECTIVE))
    centre_x, centre_y, size = (width - 1) / 2, (height - 1) / 2, max(width, height)
    if projection is Projection.SPHERICAL:
        return Intrinsics(projection, np.nan, np.nan, centre_x, centre_y, ())
    if projection in SINGLE_FOCAL:
        focal_x = focal_y = _number(parameters, "focal", projection)
        c_x = c_y = 0.0
    else:
        focal_x, focal_y = (_number(parameters, key, projection) for key in ("focal_x", "focal_y"))
        c_x, c_y = (_number(parameters, key, projection, 0.0) for key in ("c_x", "c_y"))
    defaults = {"transition": DEFAULT_TRANSITION}
    coefficients = tuple(
        _number(parameters, name, projection, defaults.get(name, 0.0)) for name in COEFFICIENTS[projection]
    )
    principal = c_x * size + centre_x, c_y * size + centre_y
    return Intrinsics(projection, focal_x * size, focal_y * size, *principal, coefficients)


def intrinsics_from_vector(
    projection_type: str, parameters: Sequence[float] | None, width: int, height: int
) -> Intrinsics:
    """From a `camera_parameters` array; the length must be the one of the model (`vector_names`)."""
    projection = projection_named(projection_type)
    names = vector_names(projection)
    values = [] if parameters is None else list(parameters)
    if len(values) != len(names):
        expected = f"{len(names)} ({', '.join(names)})" if names else "none"
        raise ValueError(f"{projection} camera has {len(values)} parameters, expected {expected}")
    named: dict[str, Any] = dict(zip(names, values, strict=True))
    return intrinsics_from_opensfm({"projection_type": projection, **named}, width, height)


def vector_names(projection: Projection) -> tuple[str, ...]:
    """Names and order of OpenSfM's parameter vector for a model."""
    if projection is Projection.SPHERICAL:
        return ()
    return (("focal",) if projection in SINGLE_FOCAL else _AFFINE) + COEFFICIENTS[projection]


def opensfm_from_intrinsics(intrinsics: Intrinsics, width: int, height: int) -> dict[str, Any]:
    """OpenSfM's JSON. A model with one centred focal is widened to an equal one with two where needed.

    Raises:
        ValueError: a rational lens, or a dual camera with two focal lengths or an off-centre principal point, has no
            JSON.
    """
    if intrinsics.projection is Projection.FULL_OPENCV:
        raise ValueError("OpenSfM has no camera with k4, k5, k6 of a rational lens")
    size = max(width, height)
    out: dict[str, Any] = {"projection_type": intrinsics.projection.value, "width": width, "height": height}
    if intrinsics.projection is Projection.SPHERICAL:
        return out
    affine = (
        intrinsics.focal_x_px / size,
        intrinsics.focal_y_px / size,
        (intrinsics.principal_x_px - (width - 1) / 2) / size,
        (intrinsics.principal_y_px - (height - 1) / 2) / size,
    )
    named = dict(zip(COEFFICIENTS[intrinsics.projection], intrinsics.distortion, strict=True))
    if intrinsics.projection in SINGLE_FOCAL:
        if affine[0] == affine[1] and max(abs(affine[2]), abs(affine[3])) < 1e-15:
            return {**out, "focal": affine[0], **named}
        wider = {Projection.PERSPECTIVE: Projection.RADIAL, Projection.FISHEYE: Projection.FISHEYE_OPENCV}
        if intrinsics.projection not in wider:
            raise ValueError("OpenSfM's dual camera has one focal length and a centred principal point")
        target = wider[intrinsics.projection]
        out["projection_type"] = target.value
        named = {name: named.get(name, 0.0) for name in COEFFICIENTS[target]}
    return {**out, **dict(zip(_AFFINE, affine, strict=True)), **named}


def opencv_distortion(projection: Projection, distortion: tuple[float, ...]) -> tuple[tuple[float, ...], str]:
    """OpenCV's coefficients and model: (k1, k2, p1, p2, k3[, k4, k5, k6]) and "pinhole", or (k1 … k4) and "fisheye".

    The fisheye is equal for θ < 90°. Raises ValueError where OpenCV has no equal model.
    """
    if projection is Projection.SPHERICAL:
        raise ValueError("OpenCV has no spherical camera; use virtual pinholes (panorama_faces)")
    named = dict(zip(COEFFICIENTS[projection], distortion, strict=True))
    share = named.pop("transition", None)
    if share not in (None, 0.0, 1.0):
        raise ValueError(f"OpenCV has no dual camera with transition {share}; use a virtual pinhole")
    is_fisheye = projection.value.startswith("fisheye") or share == 0.0
    names: tuple[str, ...] = ("k1", "k2", "k3", "k4") if is_fisheye else ("k1", "k2", "p1", "p2", "k3")
    if projection is Projection.FULL_OPENCV:
        names = COEFFICIENTS[projection]
    beyond = [name for name, value in named.items() if name not in names and value != 0.0]
    if beyond:
        raise ValueError(f"OpenCV's fisheye has no {', '.join(beyond)}; use a virtual pinhole")
    return tuple(named.get(name, 0.0) for name in names), "fisheye" if is_fisheye else "pinhole"


def _number(parameters: Mapping[str, Any], key: str, projection: Projection, default: float | None = None) -> float:
    value = parameters.get(key, default)
    if value is None:
        raise ValueError(f"{projection} camera needs {key!r}")
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ValueError(f"{projection} camera: {key} must be a number, got {value!r}")
    return float(value)
