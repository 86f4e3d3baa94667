"""Records to rows and back: images, anchors, alignments, cameras. Results have their own file (`result_rows`)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from shapely import Point

from geocorrect.catalog.rows.column_types import instant_text, json_text
from geocorrect.catalog.rows.pose_columns import as_rows, pose_columns
from geocorrect.errors import InputError, Reason
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.records import (
    NAN,
    AlignmentRecord,
    Anchor,
    AnchorNoise,
    Attribution,
    Image,
    LidarScan,
    MetadataQuality,
    Position,
)

Row = dict[str, Any]
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def known(value: float | None) -> float | None:
    """NULL for nan and infinity, the number otherwise."""
    return None if value is None or not math.isfinite(value) else float(value)


def number(value: float | None) -> float:
    """The number, nan for NULL."""
    return NAN if value is None else float(value)


def checked_texts(row: Row, what: str) -> Row:
    """The row; InputError names a text in it that neither back-end can store (NUL, lone surrogates)."""
    for name, value in row.items():
        if isinstance(value, str):
            if value.isascii() and "\0" not in value:
                continue
            if "\0" in value:
                raise InputError(f"{what}: {name} contains a NUL character")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InputError(f"{what}: {name} is not valid Unicode ({value[:40]!r})") from None
        elif isinstance(value, dict):
            _check_json(value, f"{what}: {name}")
    return row


def _check_json(value: Row, where: str) -> None:
    try:
        text = json_text(value)
    except TypeError as error:
        raise InputError(f"{where} cannot be written as JSON ({error})") from None
    if _ESCAPED_NUL.search(text):
        raise InputError(f"{where} contains a NUL character")


def camera_row(camera: Camera | None) -> Row | None:
    """JSON values of a camera; exact, in pixels."""
    if camera is None:
        return None
    exact = ("width", "height", "principal_x_px", "principal_y_px")
    return {name: getattr(camera, name) for name in exact} | {
        "projection": camera.projection.value,
        "focal_x_px": known(camera.focal_x_px),
        "focal_y_px": known(camera.focal_y_px),
        "distortion": list(camera.distortion),
        "focal_sigma": known(camera.focal_sigma),
        # Named only where there is one: the content of all other photos stays as it was.
        **({} if math.isnan(camera.full_circle_px) else {"full_circle_px": camera.full_circle_px}),
        **({} if math.isnan(camera.readout_s) else {"readout_s": camera.readout_s}),
    }


def camera_from(row: Mapping[str, Any] | None) -> Camera | None:
    """The camera of `camera_row`."""
    if row is None:
        return None
    return Camera(
        Projection(row["projection"]), row["width"], row["height"],
        number(row["focal_x_px"]), number(row["focal_y_px"]), row["principal_x_px"], row["principal_y_px"],
        tuple(row["distortion"]), number(row["focal_sigma"]), number(row.get("full_circle_px")),
        number(row.get("readout_s")),
    )  # fmt: skip


@lru_cache(maxsize=1024)
def horizontal_fov_deg(camera: Camera | None) -> float | None:
    """`Camera.horizontal_fov_deg`; None when unknown."""
    return None if camera is None else known(camera.horizontal_fov_deg)


def pose_json(pose: Pose | None) -> Row | None:
    """Quaternion and translation of a pose as JSON values."""
    if pose is None:
        return None
    return {"quaternion_xyzw": pose.quaternion_xyzw.tolist(), "translation_m": pose.translation_m.tolist()}


def pose_from(row: Mapping[str, Any] | None) -> Pose | None:
    """The pose of `pose_json`."""
    return None if row is None else Pose(Rotation.from_quat(row["quaternion_xyzw"]), np.array(row["translation_m"]))


def pose_from_columns(row: Mapping[str, Any]) -> Pose:
    """The pose of `pose_columns.pose_columns`, of one row."""
    covariance = row["covariance"]
    return Pose(
        Rotation.from_quat([row["qx"], row["qy"], row["qz"], row["qw"]]),
        np.array([row["enu_x_m"], row["enu_y_m"], row["enu_z_m"]]),
        None if covariance is None else np.array(covariance).reshape(6, 6),
    )


# Attributes that are stored as they are.
_SAME = (
    "sequence_id", "captured_at", "device_make", "device_model", "exif_orientation", "sha256", "harvested_at",
)  # fmt: skip


def image_row(image: Image) -> Row:
    """Columns of the table `image`."""
    row = {
        "image_id": image.id,
        **{name: getattr(image, name) for name in _SAME},
        **_position_columns(image.reported, ""),
        "heading_deg": known(image.heading_deg),
        **_position_columns(image.computed, "computed_"),
        "computed_heading_deg": known(image.computed_heading_deg),
        "computed_pose": pose_json(image.computed_enu_from_cam),
        "quality": image.quality.value,
        "camera": camera_row(image.camera),
        "horizontal_fov_deg": horizontal_fov_deg(image.camera),
        "path": None if image.path is None else str(image.path),
        "problem": None if image.problem is None else image.problem.value,
        **_attribution_columns(image.attribution),
        "provider": dict(image.provider),
        "geom": None if image.reported is None else Point(image.reported.lon_deg, image.reported.lat_deg),
    }
    row["content_hash"] = _content_hash(row)
    return checked_texts(row, f"image {image.id[:60]}")


def image_from(row: Mapping[str, Any]) -> Image:
    """The record of a row of `image`."""
    return Image(
        id=row["image_id"],
        reported=_position(row, ""),
        camera=camera_from(row["camera"]),
        path=None if row["path"] is None else Path(row["path"]),
        heading_deg=number(row["heading_deg"]),
        computed=_position(row, "computed_"),
        computed_heading_deg=number(row["computed_heading_deg"]),
        computed_enu_from_cam=pose_from(row["computed_pose"]),
        quality=MetadataQuality(row["quality"]),
        attribution=_attribution(row),
        problem=None if row["problem"] is None else Reason(row["problem"]),
        provider=row["provider"],
        **{name: row[name] for name in _SAME},
    )


# What a result depends on. The path of the file, attribution and the provider's raw record do not matter.
_CONTENT = (
    "sequence_id", "captured_at", "lon_deg", "lat_deg", "height_m", "height_reference", "heading_deg",
    "computed_lon_deg", "computed_lat_deg", "computed_height_m", "computed_height_reference", "computed_heading_deg",
    "computed_pose", "quality", "camera", "exif_orientation", "sha256", "problem",
)  # fmt: skip


def _content_hash(row: Row) -> str:
    content = {name: row[name] for name in _CONTENT} | {"has_file": row["path"] is not None}
    return hashlib.sha256(json_text(content).encode()).hexdigest()


def anchor_rows(anchors: Sequence[Anchor], frame: Frame) -> list[Row]:
    """Columns of the table `anchor`."""
    if not anchors:
        return []
    names = [f"anchor {anchor.id[:60]}" for anchor in anchors]
    places = as_rows(pose_columns([anchor.world_from_cam for anchor in anchors], frame, names)[0])
    rows = [_anchor_row(anchor) | place for anchor, place in zip(anchors, places, strict=True)]
    return [
        checked_texts(row | {"content_hash": anchor_content_hash(row)}, name)
        for row, name in zip(rows, names, strict=True)
    ]


# What a result takes from an anchor. Folders do not matter: a file that moved is the same file.
_ANCHOR_CONTENT = (
    "anchor_id", "alignment_id", "drive_id", "captured_at", "enu_x_m", "enu_y_m", "enu_z_m", "qx", "qy", "qz", "qw",
    "covariance", "camera",
)  # fmt: skip


def anchor_content_hash(row: Mapping[str, Any]) -> str:
    """Hex hash of everything that a result takes from an anchor, of a row of `anchor`; 32 characters."""
    content = {name: row[name] for name in _ANCHOR_CONTENT}
    if row["captured_at"] is not None:
        content["captured_at"] = instant_text(row["captured_at"])
    content["photo"] = row["sha256"] or Path(row["path"]).name
    content["lidar"] = None if row["lidar"] is None else row["lidar"] | {"path": Path(row["lidar"]["path"]).name}
    if row.get("noise") is not None:  # before it was found the hash was the same without it
        content["noise"] = row["noise"]
    return hashlib.sha256(json_text(content).encode()).hexdigest()[:32]


def _anchor_row(anchor: Anchor) -> Row:
    return {
        "anchor_id": anchor.id,
        "dataset": anchor.dataset,
        "drive_id": anchor.drive_id,
        "alignment_id": anchor.alignment_id,
        "captured_at": anchor.captured_at,
        "camera": camera_row(anchor.camera),
        "lidar": _lidar_json(anchor.lidar),
        "path": str(anchor.path),
        "sha256": anchor.sha256,
        "noise": noise_json(anchor.noise),
        **_attribution_columns(anchor.attribution),
    }


def anchor_from(row: Mapping[str, Any]) -> Anchor:
    """The record of a row of `anchor`."""
    camera = camera_from(row["camera"])
    if camera is None:
        raise ValueError(f"anchor {row['anchor_id']} has no camera")
    return Anchor(
        id=row["anchor_id"], dataset=row["dataset"], path=Path(row["path"]), camera=camera,
        world_from_cam=pose_from_columns(row), alignment_id=row["alignment_id"], captured_at=row["captured_at"],
        lidar=_lidar(row["lidar"]), sha256=row["sha256"], drive_id=row["drive_id"], attribution=_attribution(row),
        noise=_noise(row["noise"]),
    )  # fmt: skip


def alignment_row(alignment: AlignmentRecord) -> Row:
    """Columns of the table `alignment`."""
    s = alignment.world_from_local
    pose = Pose(s.rotation, s.translation_m)
    row = {
        "alignment_id": alignment.id,
        "dataset": alignment.dataset,
        "method": alignment.method,
        "created_at": alignment.created_at,
        "scale": float(s.scale),
        **dict(zip(("qx", "qy", "qz", "qw"), pose.quaternion_xyzw.tolist(), strict=True)),
        **dict(zip(("tx_m", "ty_m", "tz_m"), s.translation_m.tolist(), strict=True)),
        "covariance": None if alignment.covariance is None else np.asarray(alignment.covariance).ravel().tolist(),
        "details": dict(alignment.details),
    }
    return checked_texts(row, f"alignment {alignment.id[:60]}")


def alignment_from(row: Mapping[str, Any]) -> AlignmentRecord:
    """The record of a row of `alignment`."""
    rotation = Rotation.from_quat([row[f"q{c}"] for c in "xyzw"])
    similarity = Similarity(row["scale"], rotation, np.array([row[f"t{c}_m"] for c in "xyz"]))
    covariance = row["covariance"]
    if covariance is not None:
        size = math.isqrt(len(covariance))
        covariance = np.array(covariance).reshape(size, size)
    return AlignmentRecord(
        row["alignment_id"], row["dataset"], row["method"], row["created_at"], similarity, covariance, row["details"]
    )


def noise_json(noise: AnchorNoise | None) -> Row | None:
    """The column `noise` of `anchor`."""
    if noise is None:
        return None
    return {
        "position_m": noise.position_m,
        "rotation_deg": noise.rotation_deg,
        "common": (np.asarray(noise.common, float).ravel() + 0.0).tolist(),  # no server stores −0
    }


def _noise(row: Mapping[str, Any] | None) -> AnchorNoise | None:
    if row is None:
        return None
    return AnchorNoise(row["position_m"], row["rotation_deg"], np.array(row["common"]).reshape(6, 6))


def _lidar_json(scan: LidarScan | None) -> Row | None:
    if scan is None:
        return None
    pose = pose_json(scan.cam_from_lidar)
    return {"path": str(scan.path), "format": scan.format, "cam_from_lidar": pose, "max_range_m": scan.max_range_m}


def _lidar(row: Mapping[str, Any] | None) -> LidarScan | None:
    if row is None:
        return None
    pose = pose_from(row["cam_from_lidar"])
    return LidarScan(Path(row["path"]), row["format"], pose or Pose.identity(), row["max_range_m"])


def _attribution_columns(attribution: Attribution) -> Row:
    return {"creator": attribution.creator, "page_url": attribution.page_url, "licence": attribution.licence}


def _attribution(row: Mapping[str, Any]) -> Attribution:
    return Attribution(row["creator"], row["page_url"], row["licence"])


def _position_columns(position: Position | None, prefix: str) -> Row:
    names = ("lon_deg", "lat_deg", "height_m", "height_reference")
    row = {f"{prefix}{name}": None if position is None else getattr(position, name) for name in names}
    return row | {f"{prefix}height_m": None if position is None else known(position.height_m)}


def _position(row: Mapping[str, Any], prefix: str) -> Position | None:
    lon, lat = row[f"{prefix}lon_deg"], row[f"{prefix}lat_deg"]
    if lon is None or lat is None:
        return None
    return Position(lon, lat, number(row[f"{prefix}height_m"]), row[f"{prefix}height_reference"])
