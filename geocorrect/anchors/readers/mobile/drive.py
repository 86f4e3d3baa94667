"""Mobile mapping drives as anchors: `--format mobile-mapping drive.yaml` (see docs/mobile_mapping.md).

The table has a row per moment: `time` (ISO 8601 with zone, or seconds), x and y or lon_deg and lat_deg, height_m, the
angles of the declared convention, and whatever the rig's image paths name. Poses are those of the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, head_of
from geocorrect.anchors.readers.mobile.angles import COLUMNS, enu_from_body
from geocorrect.anchors.readers.mobile.description import Drive, RigCamera, read_description
from geocorrect.anchors.readers.mobile.faces import write_faces
from geocorrect.anchors.readers.place import PLACE_OPTIONS, place_of, stated_crs, stated_height_reference
from geocorrect.anchors.readers.rows import Row, read_rows
from geocorrect.anchors.readers.timestamps import Nanoseconds, nanoseconds_of, utc_from_nanoseconds
from geocorrect.anchors.trajectory import Trajectory
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.crs import WGS84, true_from_grid
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float, Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.harvest.local.exif import read_photo
from geocorrect.io.pixels import image_size
from geocorrect.io.unicode_names import on_disk
from geocorrect.records import Anchor


def read_mobile(path: Path, options: AnchorOptions | None = None) -> tuple[Alignment, list[Anchor]]:
    """Anchors of every camera at every row, ids `<drive>/<camera>/<picture>`, panoramas as up to four faces each.

    Raises:
        InputError: names the file, row and column, or the field of the description.
        OutputError: faces cannot be written.
    """
    drive, given = read_description(path), options or AnchorOptions()
    table = path.parent / drive.table
    rows = [_renamed(row, drive.columns) for row in read_rows(table)]
    declared = stated_crs(str(path), drive.crs, given.crs) if drive.crs or given.crs else None
    own = WGS84 if rows[0].has("lon_deg") else rows[0].crs
    # Longitudes and latitudes of a CSV may be of another datum: someone must say that they are not.
    crs = stated_crs(
        str(table), own if declared or table.suffix.lower() != ".csv" else None, declared, f"crs in {path.name}"
    )
    undulation_m = given.undulation_m if drive.geoid_undulation_m is None else drive.geoid_undulation_m
    wanted = drive.height_reference if drive.height_reference != "unknown" else given.height_reference
    reference = stated_height_reference(str(path), crs, wanted)
    if reference == "unknown":
        raise InputError(
            f"{path}: height_reference is not declared; write ellipsoid, orthometric (with geoid_undulation_m) or a "
            "vertical CRS"
        )
    places = [place_of(row, crs, reference, undulation_m) for row in rows]
    frame = Frame(path.stem, *places[0])
    poses = [_pose(row, place, drive, crs, frame) for row, place in zip(rows, places, strict=True)]
    stamps = nanoseconds_of([_stamp(row) for row in rows], [row.where for row in rows])
    backwards = np.flatnonzero(np.diff(stamps) <= 0)
    if len(backwards):
        raise InputError(f"{rows[int(backwards[0]) + 1].where}: the time does not increase; sort the table")
    covariance = _covariance(drive)
    alignment = Alignment(frame, Similarity.identity(), method="known")
    track = _Track(rows, stamps, poses, drive.max_gap_s)
    anchors = [
        anchor
        for camera in drive.rig
        for number in range(len(rows))
        for anchor in _anchors(path, drive, camera, track, number, alignment.id, covariance)
    ]
    dataset = given.dataset or drive.dataset
    anchors = [replace(anchor, dataset=dataset) for anchor in anchors]
    ids = [anchor.id for anchor in anchors]
    if len(set(ids)) != len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise InputError(f"{table}: picture {twice} appears twice; `images` must name another file for every row")
    return alignment, anchors


class _Track:
    """The rows with their times and poses; poses in between are interpolated."""

    def __init__(self, rows: list[Row], stamps: Nanoseconds, poses: list[Pose], max_gap_s: float) -> None:
        self.rows, self.stamps, self.poses = rows, stamps, poses
        self._trajectory: Trajectory | None = None
        if len(rows) > 1:
            turns = Rotation.concatenate([pose.rotation for pose in poses])
            places = np.array([pose.translation_m for pose in poses])
            self._trajectory = Trajectory(str(rows[0].table), stamps, places, turns, max_gap_s)

    def pose(self, number: int, offset_s: float) -> Pose | None:
        """World pose of the body so long after a row; None where an offset leads out of the drive."""
        if offset_s == 0.0:
            return self.poses[number]
        moment = int(self.stamps[number]) + round(offset_s * 1e9)
        if self._trajectory is None or not self._trajectory.covers(moment):
            return None
        return self._trajectory.pose_at(moment)


def _anchors(
    path: Path, drive: Drive, camera: RigCamera, track: _Track, number: int, alignment_id: str, covariance: Float | None
) -> list[Anchor]:
    row, model = track.rows[number], camera.camera.camera()
    body = track.pose(number, camera.time_offset_s)
    if body is None:
        return []  # the first or last moment of a camera that is exposed before or after the drive's rows
    try:
        name = camera.images.format_map(row.fields)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{row.where}: images {camera.images!r} of camera {camera.name} needs column {error}"
        ) from None
    image = on_disk(row.table.parent / name).resolve()
    size = image_size(image)
    if size != (model.width, model.height):
        raise InputError(f"{row.where}: {image} is {size[0]}×{size[1]} pixels, camera {camera.name} is "
                         f"{model.width}×{model.height}")  # fmt: skip
    world_from_cam = body @ camera.pose(drive.angles)
    at = utc_from_nanoseconds(int(track.stamps[number]) + round(camera.time_offset_s * 1e9))
    views: list[tuple[str, Path, Camera, Rotation]] = [("", image, model, Rotation.identity())]
    if model.projection is Projection.SPHERICAL:
        sphere = model if camera.camera.part_of else _declared_part(image, model)
        faces = write_faces(image, sphere, (path.parent / drive.faces).resolve())
        views = [(f"/{k}", file, face, turn) for k, (file, face, turn) in enumerate(faces)]
    return [
        Anchor(
            id=f"{path.stem}/{camera.name}/{Path(name).stem}{suffix}",
            dataset=drive.dataset,
            path=file,
            camera=seen,
            world_from_cam=Pose(world_from_cam.rotation * turn, world_from_cam.translation_m, covariance),
            alignment_id=alignment_id,
            captured_at=at,
            drive_id=path.stem,
        )
        for suffix, file, seen, turn in views
    ]


def _declared_part(image: Path, whole: Camera) -> Camera:
    """The camera of the part of the sphere that the picture's XMP declares; else that of a whole one."""
    declared = read_photo(image, image.stem).camera
    if declared is None:
        raise InputError(f"{image}: its XMP declares a panorama that is neither whole nor placed; give part_of")
    return declared if declared.projection is Projection.SPHERICAL else whole


def _renamed(row: Row, columns: Mapping[str, str]) -> Row:
    fields = dict(row.fields)
    for ours, theirs in columns.items():
        if theirs not in fields:
            raise InputError(f"{row.where}: column {theirs!r}, which is to be {ours}, is missing or empty")
        fields[ours] = fields[theirs]
    return replace(row, fields=fields)


def _pose(row: Row, place: tuple[float, float, float], drive: Drive, crs: str, frame: Frame) -> Pose:
    values = np.array([row.number(name) for name in COLUMNS[drive.angles]])
    try:
        rotation = enu_from_body(values, drive.angles, drive.unit)
    except ValueError as error:
        raise InputError(f"{row.where}: {error}") from None
    if drive.north == "grid":
        rotation = true_from_grid(crs, *place[:2]) * rotation
    return frame.this_from(Frame("row", *place)) @ Pose(rotation, np.zeros(3))


def _stamp(row: Row) -> str:
    """Seconds as they stand, or those of an ISO 8601 moment with its zone."""
    text = row.text("time")
    try:
        float(text)
    except ValueError:
        pass
    else:
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{row.where}: time {text!r} is neither seconds nor ISO 8601") from None
    if moment.tzinfo is None:
        raise InputError(f"{row.where}: time {text!r} has no time zone; add Z or +02:00")
    return f"{moment.timestamp():.6f}"


def _covariance(drive: Drive) -> Float | None:
    if np.isnan(drive.sigma_position_m) or np.isnan(drive.sigma_rotation_deg):
        return None
    position, rotation = drive.sigma_position_m**2, np.radians(drive.sigma_rotation_deg) ** 2
    return np.diag([position] * 3 + [rotation] * 3)


def _detect(path: Path) -> bool:
    head = head_of(path) if path.suffix.lower() in (".yaml", ".yml") else ""
    keys = {line.split(":")[0] for line in head.splitlines()}
    return {"table", "rig", "angles"} <= keys


FORMAT = AnchorFormat(
    name="mobile-mapping",
    files="drive.yaml: a table of poses (image, time, position, angles) and the rig; panoramas become faces",
    needs="the angle convention, north, CRS and height reference in the YAML",
    detect=_detect,
    read=read_mobile,
    takes=PLACE_OPTIONS,
)
