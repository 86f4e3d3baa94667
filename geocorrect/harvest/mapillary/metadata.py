"""Mapillary metadata (JSON) → `records.Image`, with a quality class and, where one is found, a problem.

No answer of the service raises here: what cannot be used is nan, None or a quarantine reason. What the fields mean:
docs/mapillary_api.md, "Image fields", "Orientation" and "Computed values".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.harvest.mapillary import fields
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS
from geocorrect.records import Attribution, Image, MetadataQuality

THUMB_FIELDS = {size: f"thumb_{size}_url" for size in ("256", "1024", "2048", "original")}
FIELDS = (
    *("id", "sequence", "captured_at", "geometry", "computed_geometry", "altitude", "computed_altitude"),
    *("compass_angle", "computed_compass_angle", "computed_rotation", "camera_type", "camera_parameters"),
    *("exif_orientation", "width", "height", "make", "model", "creator", "is_pano", "quality_score"),
    *("atomic_scale", "merge_cc"),
)
"""What a harvest asks for; never sfm_cluster, mesh or detections, which make batch calls fail."""

ALL_FIELDS = (*FIELDS, *THUMB_FIELDS.values())
"""With every picture URL: a missing size falls back to a smaller one."""

LICENCE = "CC BY-SA 4.0"
DEFAULT_FOCAL = 0.85
"""OpenSfM's `default_focal_prior`: a focal length nobody estimated."""

SFM_FOCAL_SIGMA = 0.01
DEFAULT_FOCAL_SIGMA = 0.10
ASSUMED_FOCAL_SIGMA = 0.25
"""Relative standard deviations of the focal length: reconstructed; provider's default; no parameters at all.

The first is the spread among clusters of one device (0.8444, 0.8514: 0.8 %, recorded answers, n = 2). The others are
priors: phone and dash-cam focal lengths lie within about 0.6…1.1 × the longer side.
"""
CONTRADICTED = "model_contradicted"
"""Where an image's `provider` keeps that its model is not believed (`harvest.evidence`)."""

_LEVEL = 5e-4
_EXACTLY_LEVEL = 1e-9
_SAME_HEADING_DEG = 0.01
_LEAN_LIMIT_DEG = 60.0
_PROVIDER_KEYS = (
    *("atomic_scale", "merge_cc", "quality_score", "is_pano", "camera_type", "camera_parameters"),
    *("width", "height", "compass_angle", "computed_rotation"),
)
_PANORAMAS = ("spherical", "equirectangular")


@dataclass(frozen=True)
class CameraSpec:
    """A camera before its raster is known."""

    camera_type: str
    """OpenSfM projection type."""
    parameters: tuple[float, ...]
    """OpenSfM parameters of that type, in units of the longer side."""
    focal_sigma: float
    """Relative standard deviation of the focal length; nan for panoramas, which have none."""
    origin: str
    """Whose parameters they are: "provider", "default" or "assumed"."""


def read_image_record(record: Mapping[str, Any], harvested_at: datetime) -> Image:
    """The image that a metadata record describes, not downloaded yet (camera None, path None).

    Raises ValueError only for a record without a usable id.
    """
    image_id = str(record.get("id", ""))
    rotation = fields.enu_from_cam(record.get("computed_rotation"))
    computed_height_m = fields.altitude_m(record.get("computed_altitude"))
    image = Image(
        id=image_id,
        reported=fields.position(record.get("geometry"), fields.altitude_m(record.get("altitude")), "unknown"),
        camera=None,
        path=None,
        sequence_id=fields.text(record.get("sequence")),
        captured_at=fields.capture_time(record.get("captured_at")),
        heading_deg=fields.compass_deg(record.get("compass_angle")),
        computed=fields.position(record.get("computed_geometry"), computed_height_m, "unknown"),
        computed_heading_deg=fields.compass_deg(record.get("computed_compass_angle")),
        computed_enu_from_cam=None if rotation is None else Pose(rotation, np.zeros(3)),
        quality=quality_of(record),
        exif_orientation=fields.orientation(record.get("exif_orientation")),
        device_make=fields.text(record.get("make")),
        device_model=fields.text(record.get("model")),
        attribution=_attribution(image_id, record.get("creator")),
        harvested_at=harvested_at,
        provider={key: fields.storable(record[key]) for key in _PROVIDER_KEYS if key in record},
    )
    if image.captured_at is None and record.get("captured_at") is not None:
        note = f"captured_at {fields.text(str(record['captured_at']))} is not believed"
        image = replace(image, provider={**image.provider, "notes": [note]})
    return replace(image, problem=_problem(image))


def stored_record(image: Image) -> dict[str, Any]:
    """What a stored image still says of its metadata record, field by field."""
    record = {key: value for key, value in image.provider.items() if key in _PROVIDER_KEYS}
    for prefix, position in (("", image.reported), ("computed_", image.computed)):
        if position is not None:
            record[f"{prefix}geometry"] = {"type": "Point", "coordinates": [position.lon_deg, position.lat_deg]}
            record[f"{prefix}altitude"] = position.height_m
    if image.captured_at is not None:
        record["captured_at"] = round(image.captured_at.timestamp() * 1000)
    return record | {
        "sequence": image.sequence_id,
        "computed_compass_angle": image.computed_heading_deg,
        "exif_orientation": image.exif_orientation,
        "make": image.device_make,
        "model": image.device_model,
        "creator": {"username": image.attribution.creator},
    }


def quality_of(record: Mapping[str, Any]) -> MetadataQuality:
    """What the `computed_*` fields are worth: present does not mean reconstructed.

    DEFAULT: the rotation is level (up within 5e-4 of the image's −y), and either to machine precision, or with the
    reported compass for a heading, or with parameters that are the default or zero; nobody estimated it
    (docs/mapillary_api.md, "Computed values").
    """
    rotation = fields.enu_from_cam(record.get("computed_rotation"))
    if rotation is None or fields.position(record.get("computed_geometry"), 0.0, "unknown") is None:
        return MetadataQuality.RAW_ONLY
    up_in_cam = rotation.as_matrix()[2]
    lean = float(np.linalg.norm(up_in_cam - [0.0, -1.0, 0.0]))
    parameters = fields.numbers(record.get("camera_parameters")) or ()
    not_estimated = not any(parameters) or parameters == (DEFAULT_FOCAL, 0.0, 0.0)
    turn = fields.compass_deg(record.get("computed_compass_angle")) - fields.compass_deg(record.get("compass_angle"))
    repeats_compass = abs((turn + 180.0) % 360.0 - 180.0) <= _SAME_HEADING_DEG
    copied = lean <= _EXACTLY_LEVEL or (lean <= _LEVEL and (not_estimated or repeats_compass))
    return MetadataQuality.DEFAULT if copied else MetadataQuality.SFM


def camera_spec(record: Mapping[str, Any], quality: MetadataQuality) -> CameraSpec | None:
    """Which camera the record claims; None when type and parameters contradict each other or make no sense."""
    kind = _camera_type(record)
    given = record.get("camera_parameters")
    parameters = fields.numbers(given) if given is not None else ()
    if parameters is None:
        return None
    if kind in _PANORAMAS:
        return CameraSpec("spherical", (), float("nan"), "provider") if not any(parameters) else None
    if record.get("is_pano") is True:
        return None
    if not any(parameters):
        # Nothing was estimated yet. A fisheye cannot be guessed; a perspective focal length can, loosely.
        assumed = CameraSpec("perspective", (DEFAULT_FOCAL, 0.0, 0.0), ASSUMED_FOCAL_SIGMA, "assumed")
        return assumed if kind == "perspective" else None
    if not 0.05 < parameters[0] < 20.0:
        return None
    if parameters == (DEFAULT_FOCAL, 0.0, 0.0):
        return CameraSpec(kind, parameters, DEFAULT_FOCAL_SIGMA, "default")
    sigma = SFM_FOCAL_SIGMA if quality is MetadataQuality.SFM else DEFAULT_FOCAL_SIGMA
    sigma = ASSUMED_FOCAL_SIGMA if CONTRADICTED in record else sigma
    return CameraSpec(kind, parameters, sigma, "provider")


def with_camera(image: Image, delivered_size: tuple[int, int] | None) -> Image:
    """The image with the camera of its delivered picture (width, height as in the file), turned back to the raw sensor.

    Without a picture the camera is that of the upload. A camera that cannot be made is a problem of the image.
    """
    spec = camera_spec(image.provider, image.quality)
    raw_size = fields.pixel_size(image.provider)
    if delivered_size is not None:
        raw_size = delivered_size[::-1] if is_quarter_turned(image) else delivered_size
    if spec is not None and raw_size is not None:
        with suppress(ValueError):
            camera = Camera.from_opensfm_vector(spec.camera_type, spec.parameters, *raw_size)
            camera = replace(camera, focal_sigma=spec.focal_sigma)
            return replace(image, camera=camera, provider={**image.provider, "camera_origin": spec.origin})
    return replace(image, camera=None, problem=image.problem or Reason.CAMERA_UNSUPPORTED)


def is_quarter_turned(image: Image) -> bool:
    """Whether the delivered picture stands across the raw sensor's."""
    return COUNTER_CLOCKWISE_TURNS.get(image.exif_orientation, 0) % 2 == 1


def without_false_norths(images: Sequence[Image]) -> list[Image]:
    """The images of one sequence in capture order; runs of exact 0 in their compass become unknown."""
    false = fields.zeros_in_a_row([fields.number(image.provider.get("compass_angle")) for image in images])
    return [
        replace(image, heading_deg=float("nan")) if is_false else image
        for image, is_false in zip(images, false, strict=True)
    ]


def sideways_deg(image: Image) -> float:
    """How far the world's up leans from the top of the *delivered* picture, 0…180; nan when the pose cannot say.

    Only reconstructed perspective poses can: the default rotation is level by construction, a panorama may be tilted.
    """
    if image.quality is not MetadataQuality.SFM or image.computed_enu_from_cam is None:
        return float("nan")
    if _camera_type(image.provider) in _PANORAMAS:
        return float("nan")
    up_x, up_y, _ = image.computed_enu_from_cam.rotation.as_matrix()[2]
    if math.hypot(up_x, up_y) < 0.5:
        return float("nan")
    # The delivered picture is the raw one turned clockwise by quarters; y points down.
    for _ in range(COUNTER_CLOCKWISE_TURNS.get(image.exif_orientation, 0)):
        up_x, up_y = -up_y, up_x
    return abs(math.degrees(math.atan2(up_x, -up_y)))


def _camera_type(record: Mapping[str, Any]) -> str:
    return (fields.text(record.get("camera_type")) or "perspective").lower()


def _problem(image: Image) -> Reason | None:
    """What is known to be wrong before the picture is there."""
    if image.reported is None:
        return Reason.POSITION_MISSING
    if image.exif_orientation not in COUNTER_CLOCKWISE_TURNS or sideways_deg(image) > _LEAN_LIMIT_DEG:
        return Reason.ORIENTATION_AMBIGUOUS
    return Reason.CAMERA_UNSUPPORTED if camera_spec(image.provider, image.quality) is None else None


def _attribution(image_id: str, creator: Any) -> Attribution:
    name = fields.text(creator.get("username")) if isinstance(creator, Mapping) else None
    page = f"https://www.mapillary.com/app/?pKey={image_id}&focus=photo"
    return Attribution(name or "deleted user", page, LICENCE)
