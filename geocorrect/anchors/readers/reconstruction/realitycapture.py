"""RealityCapture's (RealityScan's) CSV "Internal/External camera parameters": a row an image, in the export's CRS.

    #name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2

Angles are those of an aerial camera: at zero it looks straight down with the top of the image to grid north, and
world_from_image = Rz(−heading) Rx(pitch) Ry(roll) for image axes right, up, back; a level street camera has pitch 90.
f is the focal length in mm as of film whose longer side is 36 mm; px and py move the principal point from the image's
centre by shares of its longer side, as nerfstudio (process_data/realitycapture_utils.py) reads them. Of the distortion
only zero is read: its convention is published nowhere, so export undistorted images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, head_of
from geocorrect.anchors.readers.place import (
    PLACE_OPTIONS,
    declared_height_reference,
    height_on_ellipsoid_m,
    stated_crs,
    wgs84_place,
)
from geocorrect.anchors.readers.reconstruction.model import picture_in
from geocorrect.anchors.readers.rows import Row, read_rows
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.crs import true_from_grid
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.pixels import image_size
from geocorrect.records import Anchor

FILM_MM = 36.0
COUNT = "#cameras"
"""Begins a line with the number of cameras, which some exports have before the column names."""
DISTORTION = ("k1", "k2", "k3", "k4", "t1", "t2")
IMAGE_FROM_CAM = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
"""Axes right, up, back from right, down, ahead."""


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    rows = read_rows(path, COUNT)
    crs = stated_crs(str(path), None, options.crs)
    reference = declared_height_reference(str(path), crs, options.height_reference)
    folders = [path.resolve().parent / "images", path.resolve().parent]
    folders = folders if options.images is None else [options.images]
    dataset, alignment, anchors = options.dataset or "realitycapture", None, []
    for row in rows:
        lon, lat = wgs84_place(row.where, crs, row.number("x"), row.number("y"))
        height_m = height_on_ellipsoid_m(row.where, lon, lat, row.number("alt"), reference, options.undulation_m)
        here = Frame(path.stem, lon, lat, height_m)
        alignment = alignment or Alignment(here, Similarity.identity(), method="known")
        name = row.text("#name")
        picture = picture_in(folders, name, row.where)
        here_from_cam = Pose(true_from_grid(crs, lon, lat) * _rotation(row), np.zeros(3))
        anchors.append(
            Anchor(
                id=f"{dataset}/{Path(name).with_suffix('').as_posix()}",
                dataset=dataset,
                path=picture.resolve(),
                camera=_camera(row, *image_size(picture)),
                world_from_cam=alignment.frame.this_from(here) @ here_from_cam,
                alignment_id=alignment.id,
            )
        )
    if len({anchor.id for anchor in anchors}) != len(anchors) or alignment is None:
        raise InputError(f"{path}: two rows name the same image")
    return alignment, [*anchors]


def _rotation(row: Row) -> Rotation:
    """world_from_cam in the grid's east, north, up."""
    turns = (("z", -row.number("heading")), ("x", row.number("pitch")), ("y", row.number("roll")))
    heading, pitch, roll = (Rotation.from_euler(axis, angle_deg, degrees=True) for axis, angle_deg in turns)
    return heading * pitch * roll * IMAGE_FROM_CAM


def _camera(row: Row, width: int, height: int) -> Camera:
    beyond = [name for name in DISTORTION if row.number_or(name, 0.0) != 0.0]
    if beyond:
        raise InputError(f"{row.where}: {', '.join(beyond)} other than 0; export undistorted images with their cameras")
    side, centre = max(width, height), ((width - 1) / 2, (height - 1) / 2)
    focal = row.number("f") / FILM_MM * side
    principal = (row.number_or(name, 0.0) * side + middle for name, middle in zip(("px", "py"), centre, strict=True))
    try:
        return Camera.pinhole(width, height, focal, focal, *principal)
    except ValueError as error:
        raise InputError(f"{row.where}: {error}") from None


FORMAT = AnchorFormat(
    "realitycapture",
    "CSV of RealityCapture: Internal/External camera parameters",
    "--crs, --height-reference; undistorted images",
    lambda path: path.suffix.lower() == ".csv" and head_of(path).lstrip().startswith(("#name,", COUNT)),
    _read,
    (*PLACE_OPTIONS, "images"),
)
