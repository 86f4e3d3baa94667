"""ODM's odm_report/shots.geojson with its cameras.json: posed shots, where reconstruction.json is not at hand.

A shot's point is its camera's place in WGS84; its `rotation` (Rodrigues) turns the project's UTM axes into the camera's
(opendm/shots.py). The file says neither what heights count from nor how good its poses are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, head_of
from geocorrect.anchors.readers.place import declared_height_reference, height_on_ellipsoid_m
from geocorrect.anchors.readers.reconstruction.model import picture_in
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.crs import WGS84, true_from_grid
from geocorrect.geometry.frame import Frame, utm_epsg
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.pixels import image_size
from geocorrect.io.text_file import finite_numbers, read_json
from geocorrect.records import Anchor

LENSES = "cameras.json"


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    reference = declared_height_reference(str(path), WGS84, options.height_reference)
    folder, data = path.resolve().parent, read_json(path, "no such file of ODM")
    lenses = next((found for found in (folder / LENSES, folder.parent / LENSES) if found.is_file()), None)
    if lenses is None:
        raise InputError(f"{path}: no {LENSES} of the ODM project beside it or one folder up")
    cameras = read_json(lenses)
    images = [folder.parent / "images", folder / "images", folder] if options.images is None else [options.images]
    try:
        shots = [(feature["properties"], feature["geometry"]["coordinates"]) for feature in data["features"]]
    except (KeyError, TypeError):
        raise InputError(f"{path}: not ODM's shots (features with properties and a point)") from None
    places = [_place(f"{path}, feature {k}", point, reference, options) for k, (_, point) in enumerate(shots)]
    if not places:
        raise InputError(f"{path}: no shots")
    lon, lat, _ = (float(value) for value in np.median(places, axis=0))
    grid, dataset = f"EPSG:{utm_epsg(lon, lat)}", options.dataset or "odm"
    alignment = Alignment(Frame(path.stem, *places[0]), Similarity.identity(), method="known")
    anchors: dict[str, Anchor] = {}
    for k, ((shot, _), place) in enumerate(zip(shots, places, strict=True)):
        where, name = f"{path}, feature {k}", str(shot.get("filename"))
        picture = picture_in(images, name, where)
        turn = Rotation.from_rotvec(finite_numbers(f"{where}: rotation", shot.get("rotation"), 3)).inv()
        here_from_cam = Pose(true_from_grid(grid, *place[:2]) * turn, np.zeros(3))
        anchor = Anchor(
            id=f"{dataset}/{Path(name).with_suffix('').as_posix()}",
            dataset=dataset,
            path=picture.resolve(),
            camera=_camera(where, shot, cameras, image_size(picture)),
            world_from_cam=alignment.frame.this_from(Frame("shot", *place)) @ here_from_cam,
            alignment_id=alignment.id,
        )
        if anchors.setdefault(anchor.id, anchor) is not anchor:
            raise InputError(f"{where}: picture {name} appears twice")
    return alignment, list(anchors.values())


def _place(where: str, point: Any, reference: str, options: AnchorOptions) -> tuple[float, float, float]:
    lon, lat, height = finite_numbers(f"{where}: coordinates", point, 3)
    if not (abs(lon) <= 180 and abs(lat) <= 90):
        raise InputError(f"{where}: ({lon:g}, {lat:g}) is no longitude and latitude; the project has no place on earth")
    return lon, lat, height_on_ellipsoid_m(where, lon, lat, height, reference, options.undulation_m)


def _camera(where: str, shot: dict[str, Any], cameras: dict[str, Any], size: tuple[int, int]) -> Camera:
    """That of the shot's name, or the only one."""
    name = shot.get("camera", next(iter(cameras)) if len(cameras) == 1 else None)
    if name not in cameras:
        raise InputError(f"{where}: camera {name!r} is not in {LENSES} ({', '.join(cameras)})")
    if size != (shot.get("width"), shot.get("height")):
        raise InputError(f"{where}: the picture is {size[0]}×{size[1]} pixels, the shot {shot.get('width')}×"
                         f"{shot.get('height')}; ODM resized it: use the resized pictures")  # fmt: skip
    try:
        return Camera.from_opensfm(cameras[name], *size)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: camera {name}: {type(error).__name__} {error}") from None


def _detect(path: Path) -> bool:
    head = head_of(path) if path.suffix.lower() in (".geojson", ".json") else ""
    return all(f'"{name}"' in head for name in ("FeatureCollection", "filename", "rotation", "translation"))


FORMAT = AnchorFormat(
    "odm-shots",
    "odm_report/shots.geojson of an ODM project, with its cameras.json",
    "--height-reference; --images",
    _detect,
    _read,
    ("height_reference", "geoid_undulation_m", "images"),
)
