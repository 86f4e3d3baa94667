"""Anchors from a plain table: one image a row, with its camera and pose. CSV or GeoJSON (points).

Columns: file (relative to the table), lon_deg and lat_deg or x and y (in the declared CRS), height_m, either
heading_deg [, pitch_deg, roll_deg] or the quaternion qx, qy, qz, qw (camera in the local east-north-up frame of its
own position, OpenCV axes), width, height, fx, fy, cx, cy [, k1, k2, p1, p2, k3]. Optional: id, drive_id, captured_at
(ISO 8601 with zone), sigma_position_m, sigma_rotation_deg.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, choice_of, head_of
from geocorrect.anchors.readers.place import height_on_ellipsoid_m, stated_crs, stated_height_reference, wgs84_place
from geocorrect.anchors.readers.rows import GEOJSON_SUFFIXES, Row, read_rows
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.crs import grid_convergence_deg
from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Float, Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.capture_time import EARLIEST, plausible
from geocorrect.io.pixels import image_size
from geocorrect.io.unicode_names import on_disk
from geocorrect.records import Anchor


@dataclass(frozen=True)
class TableOptions:
    """How the table's numbers are meant."""

    crs: str | None = None
    """Of the coordinates, e.g. EPSG:4326 or EPSG:32633; None only for GeoJSON, which states it."""
    height_reference: str = "unknown"
    """What heights are measured from, as in `geometry.crs`."""
    undulation_m: float = float("nan")
    """Of the geoid above the ellipsoid."""
    heading_reference: Literal["true", "grid"] = "true"
    """Headings and quaternions are from true north, or from the grid north of crs."""
    dataset: str = "table"
    """Name in the catalog."""
    frame: Frame | None = None
    """The scene's frame; None puts the origin at the first row."""


class TableAnchors(NamedTuple):
    """The anchors of a table and the frame that their poses are in."""

    alignment: Alignment
    """Moves nothing."""
    anchors: list[Anchor]


def read_table(path: Path, options: TableOptions | None = None) -> TableAnchors:
    """Anchors of a .csv, .geojson or .json table; InputError naming file, row and column."""
    options = options or TableOptions()
    rows = read_rows(path)
    own = {row.crs for row in rows}
    if len(own) > 1:
        raise InputError(f"{path}: some rows have lon_deg, lat_deg and some x, y; give them all in one way")
    # Longitudes and latitudes of another datum are 100 m away: a CSV cannot say, its user must.
    crs = stated_crs(str(path), own.pop() if options.crs or path.suffix.lower() != ".csv" else None, options.crs)
    options = replace(options, height_reference=stated_height_reference(str(path), crs, options.height_reference))
    if options.height_reference == "unknown":
        raise InputError(
            f"{path}: what the heights are measured from is not declared; add --height-reference ellipsoid, "
            "orthometric (with --geoid-undulation) or a vertical CRS"
        )
    places = [_place(row, crs, options) for row in rows]
    frame = options.frame or Frame(path.stem, *places[0])
    alignment = Alignment(frame, Similarity.identity(), method="known")
    anchors = [_anchor(row, place, crs, alignment, options) for row, place in zip(rows, places, strict=True)]
    seen: dict[str, str] = {}
    for row, anchor in zip(rows, anchors, strict=True):
        if seen.setdefault(anchor.id, row.where) != row.where:
            raise InputError(f"{row.where}: id {anchor.id!r} was already used in {seen[anchor.id]}")
    return TableAnchors(alignment, anchors)


def _place(row: Row, crs: str, options: TableOptions) -> tuple[float, float, float]:
    """(lon deg, lat deg, ellipsoidal height m)."""
    x, y = (row.number(name) for name in row.plan_columns)
    lon, lat = wgs84_place(row.where, crs, x, y)
    where, height_m = f"{row.where}: height_m", row.number("height_m")
    height_m = height_on_ellipsoid_m(where, lon, lat, height_m, options.height_reference, options.undulation_m)
    return lon, lat, height_m


def _anchor(
    row: Row, place: tuple[float, float, float], crs: str, alignment: Alignment, options: TableOptions
) -> Anchor:
    image = on_disk(row.table.parent / row.text("file")).resolve()
    camera = _camera(row)
    width, height = image_size(image)
    if (width, height) != (camera.width, camera.height):
        raise InputError(
            f"{row.where}: {image} is {width}×{height} pixels, the row says {camera.width}×{camera.height}"
        )
    local = Frame("row", *place)
    own_from_cam = Pose(_rotation(row, place, crs, options), np.zeros(3), _covariance(row))
    return Anchor(
        id=row.text_or("id", Path(row.text("file")).stem),
        dataset=options.dataset,
        path=image,
        camera=camera,
        world_from_cam=alignment.frame.this_from(local) @ own_from_cam,
        alignment_id=alignment.id,
        captured_at=_captured_at(row),
        drive_id=row.text_or("drive_id", "") or None,
    )


def _rotation(row: Row, place: tuple[float, float, float], crs: str, options: TableOptions) -> Rotation:
    """world_from_cam in the east-north-up frame of the row's own position."""
    if row.has("qx"):
        quaternion = [row.number(name) for name in ("qx", "qy", "qz", "qw")]
        try:
            rotation = Pose.from_quaternion(quaternion, np.zeros(3)).rotation
        except ValueError as error:
            raise InputError(f"{row.where}: {error}") from None
    else:
        angles_deg = (row.number_or(name, 0.0) for name in ("pitch_deg", "roll_deg"))
        rotation = rotation_from_heading(row.number("heading_deg"), *angles_deg)
    if options.heading_reference == "grid":
        # Headings run clockwise, rotations about the vertical the other way.
        rotation = Rotation.from_euler("z", -grid_convergence_deg(crs, *place[:2]), degrees=True) * rotation
    return rotation


def _covariance(row: Row) -> Float | None:
    """Isotropic, when the row states it; unknown otherwise."""
    if not row.has("sigma_position_m"):
        return None
    position, rotation = row.sigma("sigma_position_m"), np.radians(row.sigma("sigma_rotation_deg"))
    return np.diag([position**2] * 3 + [rotation**2] * 3)


def _captured_at(row: Row) -> datetime | None:
    text = row.text_or("captured_at", "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{row.where}: captured_at {text!r} is not an ISO 8601 date and time") from None
    if moment.tzinfo is None:
        raise InputError(f"{row.where}: captured_at {text!r} has no time zone; add Z or +02:00")
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        moment = moment.replace(tzinfo=UTC)
    if plausible(moment) is None:
        raise InputError(f"{row.where}: captured_at {text!r} is before {EARLIEST.year} or in the future")
    return moment


def _camera(row: Row) -> Camera:
    numbers = [row.number(name) for name in ("fx", "fy", "cx", "cy")]
    distortion = [row.number_or(name, 0.0) for name in ("k1", "k2", "p1", "p2", "k3")]
    try:
        return Camera.from_opencv(int(row.number("width")), int(row.number("height")), numbers, distortion)
    except ValueError as error:
        raise InputError(f"{row.where}: {error}") from None


def _detect(path: Path) -> bool:
    head = head_of(path)
    if path.suffix.lower() == ".csv":
        return "file" in [name.strip(' "') for name in head.lstrip().split("\n")[0].split(",")]
    return path.suffix.lower() in GEOJSON_SUFFIXES and '"FeatureCollection"' in head and '"file"' in head


def _read(path: Path, options: AnchorOptions) -> TableAnchors:
    return read_table(
        path,
        TableOptions(
            options.crs,
            options.height_reference,
            float("nan") if options.geoid_undulation_m is None else options.geoid_undulation_m,
            choice_of("--heading-reference", options.heading_reference, ("true", "grid")),  # type: ignore[arg-type]
            options.dataset or "table",
        ),
    )


FORMAT = AnchorFormat(
    "table",
    "CSV or GeoJSON: an image a row, with camera and pose",
    "--height-reference; CSV: --crs",
    _detect,
    _read,
)
