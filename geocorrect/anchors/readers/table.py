"""Anchors from a plain table: one image a row, with its camera and pose. CSV or GeoJSON (points).

Columns: file (relative to the table), lon_deg and lat_deg or x and y (in the declared CRS), height_m, either
heading_deg [, pitch_deg, roll_deg] or the quaternion qx, qy, qz, qw (camera in the local east-north-up frame of its
own position, OpenCV axes), width, height, fx, fy, cx, cy [, k1, k2, p1, p2, k3]. Optional: camera_model (OPENCV, that
of the coefficients above, OPENCV_FISHEYE, or a model of OpenSfM with its coefficients), id, drive_id, captured_at (ISO
8601 with zone), sigma_position_m, sigma_rotation_deg, readout_s (of a rolling shutter, as in `Camera`); and of a laser
scan: scan (relative to the table), scan_format, cam_from_lidar (3×4 or 4×4, row by row), scan_max_range_m. Columns
note, fid and those that begin with _ are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, choice_of, head_of
from geocorrect.anchors.readers.place import PLACE_OPTIONS, declared_height_reference, place_of, stated_crs
from geocorrect.anchors.readers.rows import GEOJSON_SUFFIXES, Row, read_rows
from geocorrect.anchors.scan import FORMATS as SCAN_FORMATS
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.camera_formats import projection_named
from geocorrect.geometry.crs import true_from_grid
from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Float, Pose
from geocorrect.geometry.projection import COEFFICIENTS, DEFAULT_TRANSITION, Projection
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.capture_time import EARLIEST, plausible
from geocorrect.io.pixels import image_size
from geocorrect.io.text_file import finite_numbers
from geocorrect.io.unicode_names import on_disk
from geocorrect.records import Anchor, LidarScan

OPENCV_MODELS = {
    "OPENCV": Projection.FULL_OPENCV, "FULL_OPENCV": Projection.FULL_OPENCV, "PINHOLE": Projection.BROWN,
    "OPENCV_FISHEYE": Projection.FISHEYE_OPENCV,
}  # fmt: skip
"""The usual names of models that OpenSfM names otherwise."""
ALL_COEFFICIENTS = tuple(dict.fromkeys(name for names in COEFFICIENTS.values() for name in names))
KNOWN_COLUMNS = (
    "file", "lon_deg", "lat_deg", "x", "y", "height_m", "heading_deg", "pitch_deg", "roll_deg", "qx", "qy", "qz", "qw",
    "camera_model", "width", "height", "fx", "fy", "cx", "cy", *ALL_COEFFICIENTS, "readout_s", "id", "drive_id",
    "captured_at", "sigma_position_m", "sigma_rotation_deg", "scan", "scan_format", "cam_from_lidar",
    "scan_max_range_m", "note", "fid",
)  # fmt: skip
SYNONYMS = {
    **dict.fromkeys(("yaw", "azimuth", "bearing", "compass"), "heading_deg"),
    **{"lidar": "scan", "lon": "lon_deg", "lat": "lat_deg", "alt": "height_m", "altitude": "height_m", "image": "file"},
}
"""Names for the same that are not alike."""


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
    refuse_unknown_columns(rows, KNOWN_COLUMNS)
    own = {row.crs for row in rows}
    if len(own) > 1:
        raise InputError(f"{path}: some rows have lon_deg, lat_deg and some x, y; give them all in one way")
    # Longitudes and latitudes of another datum are 100 m away: a CSV cannot say, its user must.
    crs = stated_crs(str(path), own.pop() if options.crs or path.suffix.lower() != ".csv" else None, options.crs)
    reference = declared_height_reference(str(path), crs, options.height_reference)
    places = [place_of(row, crs, reference, options.undulation_m) for row in rows]
    frame = options.frame or Frame(path.stem, *places[0])
    alignment = Alignment(frame, Similarity.identity(), method="known")
    anchors = [_anchor(row, place, crs, alignment, options) for row, place in zip(rows, places, strict=True)]
    seen: dict[str, str] = {}
    for row, anchor in zip(rows, anchors, strict=True):
        if seen.setdefault(anchor.id, row.where) != row.where:
            raise InputError(f"{row.where}: id {anchor.id!r} was already used in {seen[anchor.id]}")
    return TableAnchors(alignment, anchors)


def _anchor(
    row: Row, place: tuple[float, float, float], crs: str, alignment: Alignment, options: TableOptions
) -> Anchor:
    image = on_disk(row.table.parent / row.text("file")).resolve()
    camera = camera_of(row)
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
        captured_at=captured_at_of(row),
        lidar=_scan(row),
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
        rotation = true_from_grid(crs, *place[:2]) * rotation
    return rotation


def _covariance(row: Row) -> Float | None:
    """Isotropic, when the row states it; unknown otherwise."""
    if not row.has("sigma_position_m"):
        return None
    position, rotation = row.sigma("sigma_position_m"), np.radians(row.sigma("sigma_rotation_deg"))
    return np.diag([position**2] * 3 + [rotation**2] * 3)


def captured_at_of(row: Row) -> datetime | None:
    """The moment in column captured_at, None where it is empty; InputError when it is none."""
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


def camera_of(row: Row) -> Camera:
    """The camera of the model that the row names; a coefficient of another model is refused."""
    named = row.text_or("camera_model", "OPENCV")
    try:
        projection = OPENCV_MODELS.get(named.upper()) or projection_named(named)
        names = COEFFICIENTS[projection]
        beyond = [name for name in ALL_COEFFICIENTS if name not in names and row.number_or(name, 0.0) != 0.0]
        if beyond:
            raise ValueError(f"camera_model {named} has no {', '.join(beyond)}; it has {', '.join(names) or 'none'}")
        size = int(row.number("width")), int(row.number("height"))
        readout_s = row.number_or("readout_s", float("nan"))
        if projection is Projection.SPHERICAL:
            return replace(Camera.spherical(*size), readout_s=readout_s)
        fx, fy, cx, cy = (row.number(name) for name in ("fx", "fy", "cx", "cy"))
        given = [(name, row.number(name)) for name in names if row.has(name)]
        if projection in (Projection.BROWN, Projection.FULL_OPENCV):
            camera = Camera.from_opencv(*size, (fx, fy, cx, cy), [dict(given).get(name, 0.0) for name in names])
            return replace(camera, readout_s=readout_s)
        defaults = {"transition": DEFAULT_TRANSITION}
        coefficients = tuple((defaults | dict(given)).get(name, 0.0) for name in names)
        return Camera(projection, *size, fx, fy, cx, cy, coefficients, readout_s=readout_s)
    except ValueError as error:
        raise InputError(f"{row.where}: {error}") from None


def _scan(row: Row) -> LidarScan | None:
    if not row.has("scan"):
        if row.has("cam_from_lidar") or row.has("scan_format"):
            raise InputError(f"{row.where}: column 'scan' is missing or empty, but the scan is described")
        return None
    texts = _list_of(row.text("cam_from_lidar"))
    if len(texts) not in (12, 16):
        raise InputError(f"{row.where}: cam_from_lidar must be 12 or 16 numbers (3×4 or 4×4), got {len(texts)}")
    numbers = finite_numbers(f"{row.where}: cam_from_lidar", texts, len(texts))
    try:
        cam_from_lidar = Pose.from_matrix(np.array(numbers).reshape(-1, 4))
    except ValueError as error:
        raise InputError(f"{row.where}: cam_from_lidar: {error}") from None
    layout = row.text("scan_format")
    if layout not in SCAN_FORMATS:
        raise InputError(f"{row.where}: scan_format {layout!r}; known are {', '.join(SCAN_FORMATS)}")
    path = on_disk(row.table.parent / row.text("scan")).resolve()
    return LidarScan(path, layout, cam_from_lidar, row.sigma_or("scan_max_range_m", LidarScan.max_range_m))


def _list_of(text: str) -> list[str]:
    """Numbers separated by spaces, commas, semicolons or brackets."""
    return re.sub(r"[\[\],;]", " ", text).split()


def refuse_unknown_columns(rows: Sequence[Row], known: Sequence[str]) -> None:
    """A misspelt column would be left out without a word: pitch for pitch_deg is a camera that looks at the horizon."""
    for row in rows:
        for name in row.fields:
            if name not in known and not name.startswith("_"):
                near = SYNONYMS.get(name.lower()) or next(iter(get_close_matches(name.lower(), known, 1, 0.6)), "")
                hint = f"did you mean {near!r}? " if near else ""
                raise InputError(f"{row.where}: column {name!r} is not known; {hint}_{name} would be ignored")


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
            options.undulation_m,
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
    (*PLACE_OPTIONS, "heading_reference"),
)
