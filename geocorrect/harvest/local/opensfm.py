"""OpenSfM's reconstruction.json and Mapillary's sfm_cluster files (the same content, zlib-compressed).

Format: OpenSfM `io.py` (https://opensfm.org/docs/dataset.html); everything but cameras and shots is optional in the
wild, unknown keys are ignored. World: ENU metres about `reference`; stored rotations are axis-angle, world → camera,
X_cam = R X_world + t.
"""

from __future__ import annotations

import codecs
import json
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.harvest.inflate import inflated
from geocorrect.harvest.mapillary import fields
from geocorrect.io.pixels import read_bytes
from geocorrect.io.text_file import read_json
from geocorrect.io.unicode_names import on_disk
from geocorrect.records import Image, Position

_MAX_INFLATED_BYTES = 1_000_000_000
_NEAREST_MS = 500.0


@dataclass(frozen=True)
class Shot:
    """One reconstructed image."""

    name: str
    """The reconstruction's name for it; not an image id."""
    world_from_cam: Pose
    """Pose in the reconstruction's ENU frame."""
    camera_id: str
    """Key into the reconstruction's cameras."""
    captured_at: datetime | None = None
    """When the photo was taken (UTC)."""
    sequence_id: str | None = None
    """The Mapillary sequence of the photo."""
    gps_enu_m: tuple[float, ...] | None = None
    """(3,) where its GPS was, in the reconstruction's ENU frame; None when it had none."""
    gps_sigma_m: float = float("nan")
    """What the project took for its error (gps_dop)."""


@dataclass(frozen=True)
class Reconstruction:
    """One connected component; heights are comparable inside one component only."""

    shots: Mapping[str, Shot]
    """Shots by name."""
    cameras: Mapping[str, Mapping[str, Any]]
    """OpenSfM cameras (JSON) by id."""
    reference: Frame | None
    """Origin of the ENU frame; None when unknown."""
    points: Mapping[str, Any] = field(default_factory=dict)
    """Coordinates by the number of their track, as written."""

    def camera(self, shot: Shot, width: int, height: int) -> Camera | None:
        """The camera of a shot for a raster; None when it is missing or makes no sense."""
        try:
            return Camera.from_opensfm(self.cameras[shot.camera_id], width, height)
        except (KeyError, ValueError):
            return None


def read_reconstructions(path: Path) -> list[Reconstruction]:
    """All components of a file, plain, zlib or gzip. InputError naming the file and what is wrong.

    Where a component has no reference_lla, a `reference_lla.json` beside the file is used.
    """
    beside = path.with_name("reference_lla.json")
    fallback = _reference(read_json(beside)) if beside.is_file() else None
    return parse_reconstructions(read_bytes(path), str(path), fallback)


def parse_reconstructions(data: bytes, name: str, reference: Frame | None = None) -> list[Reconstruction]:
    """The components in some bytes; `name` is what messages call them."""
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.lstrip()[:1] not in (b"[", b"{"):
        try:
            data = inflated(data, _MAX_INFLATED_BYTES)
        except ValueError as error:
            raise InputError(f"{name}: neither JSON nor compressed ({error})") from None
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: not JSON ({error})") from None
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise InputError(f"{name}: holds no reconstruction")
    return [_component(entry, f"{name}, component {index}", reference) for index, entry in enumerate(entries)]


def match_shots(reconstruction: Reconstruction, images: Iterable[Image]) -> dict[str, Shot]:
    """Image id → shot. Shot names are no image ids, so capture times decide, to the millisecond.

    Where two shots share a time, or none has it exactly, the sequence and the nearest time within 0.5 s do; what stays
    ambiguous is left out.
    """
    timed = sorted(
        ((shot.captured_at.timestamp() * 1000, shot) for shot in reconstruction.shots.values() if shot.captured_at),
        key=lambda entry: entry[0],
    )
    times_ms = [shot_ms for shot_ms, _ in timed]
    matched: dict[str, Shot] = {}
    for image in images:
        if image.captured_at is None:
            continue
        when_ms = image.captured_at.timestamp() * 1000
        first, last = bisect_left(times_ms, when_ms - _NEAREST_MS), bisect_right(times_ms, when_ms + _NEAREST_MS)
        around = timed[first:last]
        exact = [shot for shot_ms, shot in around if round(shot_ms) == round(when_ms)]
        near = [
            (abs(shot_ms - when_ms), shot)
            for shot_ms, shot in around
            if shot.sequence_id == image.sequence_id is not None
        ]
        near.sort(key=lambda entry: entry[0])
        if len(exact) == 1:
            matched[image.id] = exact[0]
        elif near and (len(near) == 1 or near[0][0] < near[1][0]):
            matched[image.id] = near[0][1]
    claims = Counter(shot.name for shot in matched.values())
    return {image_id: shot for image_id, shot in matched.items() if claims[shot.name] == 1}


def _component(entry: Any, name: str, fallback: Frame | None) -> Reconstruction:
    if not isinstance(entry, dict) or not isinstance(entry.get("shots"), dict):
        raise InputError(f"{name}: needs an object with `cameras` and `shots`")
    rigs = _rig_poses(entry)
    shots = {}
    for key, raw in ((entry.get("shots") or {}) | (entry.get("pano_shots") or {})).items():
        pose = rigs.get(key) or _pose(raw)
        if pose is not None:
            captured_at = fields.capture_time(fields.number(raw.get("capture_time")) * 1000)
            sequence_id, gps = fields.text(raw.get("skey")), fields.numbers(raw.get("gps_position"))
            dop = fields.number(raw.get("gps_dop"))
            gps = gps if gps is not None and len(gps) == 3 and any(gps) else None
            shots[key] = Shot(key, pose, str(raw.get("camera", "")), captured_at, sequence_id, gps, dop)
    cameras = {key: value for key, value in (entry.get("cameras") or {}).items() if isinstance(value, dict)}
    reference = _reference(entry["reference_lla"]) if "reference_lla" in entry else fallback
    points = {key: raw.get("coordinates") for key, raw in (entry.get("points") or {}).items() if isinstance(raw, dict)}
    return Reconstruction(shots, cameras, reference, points)


def _pose(raw: Any) -> Pose | None:
    """world_from_cam of an object with `rotation` and `translation`; None when it is malformed."""
    if not isinstance(raw, dict):
        return None
    rotation, translation = fields.numbers(raw.get("rotation")), fields.numbers(raw.get("translation", [0.0, 0.0, 0.0]))
    if rotation is None or translation is None or len(rotation) != 3 or len(translation) != 3:
        return None
    return Pose(Rotation.from_rotvec(rotation), np.array(translation)).inverse()


def _rig_poses(entry: Mapping[str, Any]) -> dict[str, Pose]:
    """world_from_cam of the shots that belong to rigs: world_from_rig @ rig_from_cam."""
    cameras = {key: _pose(raw) for key, raw in (entry.get("rig_cameras") or {}).items()}
    poses = {}
    for instance in (entry.get("rig_instances") or {}).values():
        world_from_rig = _pose(instance)
        members = instance.get("rig_camera_ids") if isinstance(instance, dict) else None
        for shot, camera in (members or {}).items():
            rig_from_cam = cameras.get(camera)
            if world_from_rig is not None and rig_from_cam is not None:
                poses[shot] = world_from_rig @ rig_from_cam
    return poses


def _reference(raw: Any) -> Frame | None:
    if not isinstance(raw, dict):
        return None
    lon, lat, height_m = (fields.number(raw.get(key)) for key in ("longitude", "latitude", "altitude"))
    # OpenSfM writes 0, 0 for a project without GPS.
    if fields.position({"coordinates": [lon, lat]}, height_m, "unknown") is None:
        return None
    return Frame("reference_lla", lon, lat, height_m if np.isfinite(height_m) else 0.0)


def position_beside(project: Path, name: str, shot: Shot | None, part: Reconstruction | None) -> Position | None:
    """A photo's GPS position that only the project keeps: in `exif/NAME.exif`, else the shot's `gps_position`."""
    path = on_disk(project / "exif" / f"{name}.exif")
    content = None
    with suppress(InputError):  # a broken one costs its position
        content = read_json(path) if path.is_file() else None
    gps = content.get("gps") if isinstance(content, dict) else None
    if isinstance(gps, dict):
        height_m = fields.altitude_m(gps.get("altitude"))
        found = fields.position({"coordinates": [gps.get("longitude"), gps.get("latitude")]}, height_m, "unknown")
        if found is not None:
            return found
    if shot is None or shot.gps_enu_m is None or part is None or part.reference is None:
        return None
    lon, lat, height_m = map(float, part.reference.wgs84_from_enu(np.array(shot.gps_enu_m)))
    return Position(lon, lat, height_m, "unknown")
