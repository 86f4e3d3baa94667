"""A COLMAP text model: cameras.txt, images.txt, points3D.txt, and frame.json, which ties it to the earth.

Format: COLMAP `doc/format.rst`. Poses are cam_from_world (quaternion w x y z, translation m); the world is the scene's
local ENU frame. COLMAP puts the centre of the top-left pixel at (0.5, 0.5), we at (0, 0).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.export.bundle import Posed, notice, posed_images, write_json
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.io.atomic_folder import atomic_folder


def write_colmap(catalog: Catalog, stored: Iterable[StoredResult], path: Path) -> int:
    """Write the folder, photo by photo; returns the number of images.

    Photos whose camera COLMAP has no model for (panoramas, dual, unknown) are left out and listed in `left_out.txt`.
    COLMAP reads a name up to its first space: photos of such names are called otherwise, and listed in `renamed.txt`.
    """
    cameras: dict[str, int] = {}
    left_out: list[str] = []
    renamed: list[str] = []
    count = 0
    frame = catalog.frame()
    world = "World: local east-north-up frame of frame.json, WGS84, ellipsoidal height."
    with atomic_folder(path) as folder, notice(folder, world) as add_to_notice, _open(folder / "images.txt") as images:
        images.write("# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME\n# POINTS2D[] as X Y POINT3D_ID (none)\n")
        for one in posed_images(catalog, stored):
            line = colmap_camera(one.image.camera)
            if line is None:
                left_out.append(f"{one.image.id} {one.file_name}")
                continue
            count += 1
            name = _name_in_model(one)
            if name != one.file_name:
                renamed.append(f"{name}\t{one.file_name}")
            images.write(_image_line(one, name, count, cameras.setdefault(line, len(cameras) + 1)) + "\n\n")
            add_to_notice(one)
        _write_lines(folder / "cameras.txt", ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"],
                     [f"{number} {line}" for line, number in cameras.items()])  # fmt: skip
        _write_lines(folder / "points3D.txt", ["# POINT3D_ID X Y Z R G B ERROR TRACK[]"], [])
        if left_out:
            _write_lines(folder / "left_out.txt", ["# image_id file: no COLMAP model for the camera"], left_out)
        if renamed:
            _write_lines(folder / "renamed.txt", ["# name in the model, tab, file name of the photo"], renamed)
        if frame is not None:
            origin = {"lon_deg": frame.lon_deg, "lat_deg": frame.lat_deg, "height_m": frame.height_m}
            write_json(folder / "frame.json", {"name": frame.name, "axes": "east north up, metres", "origin": origin})
    return count


def _open(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8")


def colmap_camera(camera: Camera | None) -> str | None:
    """MODEL WIDTH HEIGHT PARAMS of a camera, None where COLMAP has no equal model."""
    if camera is None or camera.projection is Projection.SPHERICAL:
        return None
    try:
        _, coefficients, kind = camera.to_opencv()
    except ValueError:
        return None
    principal = [camera.principal_x_px + 0.5, camera.principal_y_px + 0.5]
    affine = [camera.focal_x_px, camera.focal_y_px, *principal]
    values = [float(value) for value in coefficients]
    if kind == "fisheye":
        model, values = "OPENCV_FISHEYE", affine + values
    elif not any(values):
        model, values = "PINHOLE", affine
    elif not any(values[4:]):
        model, values = "OPENCV", affine + values[:4]
    else:
        model, values = "FULL_OPENCV", [*affine, *values, *[0.0] * (8 - len(values))]
    return " ".join([model, str(camera.width), str(camera.height), *[repr(value) for value in values]])


def _name_in_model(one: Posed) -> str:
    """Without spaces; with the photo's id, so that "a b.jpg" and "a_b.jpg" stay two."""
    parts = one.file_name.split()
    return one.file_name if parts == [one.file_name] else "_".join([one.image.id, *parts])


def _image_line(one: Posed, name: str, number: int, camera_id: int) -> str:
    cam_from_world = one.correction.world_from_cam.inverse()
    x, y, z, w = cam_from_world.quaternion_xyzw.tolist()
    numbers = [repr(value) for value in (w, x, y, z, *cam_from_world.translation_m.tolist())]
    return " ".join([str(number), *numbers, str(camera_id), name])


def _write_lines(path: Path, head: list[str], lines: list[str]) -> None:
    path.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
