"""COLMAP models, text or binary: cameras, images, points3D (`doc/format.rst`), and what we export ourselves.

Poses are cam_from_world, composed for rigs too, so that rigs.* and frames.* need not be read. COLMAP puts the centre of
the top-left pixel at (0.5, 0.5), we at (0, 0). A frame.json beside them (our own export) says where the model lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat
from geocorrect.anchors.readers.reconstruction.colmap_binary import read_binary
from geocorrect.anchors.readers.reconstruction.colmap_cameras import camera_of
from geocorrect.anchors.readers.reconstruction.colmap_records import CameraRecord, ImageRecord, PointRecord, Records
from geocorrect.anchors.readers.reconstruction.model import ReconstructedImage, Reconstruction, anchors_of
from geocorrect.anchors.readers.reconstruction.placing import PLACING_OPTIONS, place
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.io.text_file import finite_numbers, read_json, read_text
from geocorrect.records import Anchor

FILES = ("cameras", "images", "points3D")
MODEL_FOLDERS = (".", "sparse/0", "sparse", "0")
NO_POINT = -1


def read_colmap(folder: Path) -> Reconstruction:
    """The model in a folder; InputError naming file and line, or file and record."""
    binary = all((folder / f"{name}.bin").is_file() for name in FILES)
    records = read_binary(folder) if binary else _read_text(folder)
    points = sorted(records.points)
    row_of = {number: row for row, number in enumerate(points)}
    images = []
    for image in records.images:
        if image.camera_id not in records.cameras:
            raise InputError(f"{folder}: image {image.name} has camera {image.camera_id}, which is not in cameras")
        record = records.cameras[image.camera_id]
        camera = camera_of(f"{folder / 'cameras'}, camera {image.camera_id}", record)
        rows = np.array([row_of.get(number, NO_POINT) for number in image.point_ids.tolist()], np.int64)
        try:
            cam_from_local = Pose.from_quaternion(np.roll(image.quaternion_wxyz, -1), image.translation)
        except ValueError as error:
            raise InputError(f"{folder}, image {image.name}: {error}") from None
        seen = rows >= 0
        px = image.px_colmap[seen] - 0.5
        images.append(ReconstructedImage(image.name, camera, cam_from_local.inverse(), px, rows[seen]))
    return Reconstruction(
        str(folder),
        tuple(images),
        np.array([records.points[number].xyz for number in points], float).reshape(-1, 3),
        np.array([records.points[number].error_px for number in points], float),
        _own_frame(folder / "frame.json"),
    )


def _own_frame(path: Path) -> Frame | None:
    """The frame of a model that geocorrect exported, None beside any other model."""
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        origin = content["origin"]
        return Frame(str(content["name"]), *(float(origin[key]) for key in ("lon_deg", "lat_deg", "height_m")))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no frame as geocorrect exports it ({error})") from None


def _read_text(folder: Path) -> Records:
    cameras_txt, images_txt, points_txt = paths = [folder / f"{name}.txt" for name in FILES]
    texts = {path: read_text(path) for path in paths}
    cameras = {}
    for where, fields in _lines(cameras_txt, texts[cameras_txt]):
        if len(fields) < 5:
            raise InputError(f"{where}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS")
        width, height, *parameters = finite_numbers(where, [*fields[2:4], *fields[4:]], len(fields) - 2)
        cameras[_whole(where, fields[0])] = CameraRecord(fields[1], int(width), int(height), tuple(parameters))
    points = {}
    for where, fields in _lines(points_txt, texts[points_txt]):
        x, y, z, _, _, _, error = finite_numbers(where, fields[1:8], 7)
        if len(fields) % 2:
            raise InputError(f"{where}: the track ends in the middle of a pair IMAGE_ID POINT2D_IDX")
        points[_whole(where, fields[0])] = PointRecord((x, y, z), error)
    images = list(_text_images(images_txt, texts[images_txt]))
    for path, count in zip(paths, (len(cameras), len(images), len(points)), strict=True):
        _require_announced(path, texts[path], count)
    return Records(cameras, images, points)


def _text_images(path: Path, text: str) -> Iterator[ImageRecord]:
    """Two lines an image; the second, of its points, may be empty, so that empty lines count."""
    lines = [line.strip() for line in text.split("\n")]
    numbered = [(number, line) for number, line in enumerate(lines, 1) if not line.startswith("#")]
    while numbered and not numbered[-1][1]:
        numbered.pop()
    if len(numbered) % 2:
        numbered.append((len(lines) + 1, ""))
    for (number, head), (second, seen) in zip(numbered[::2], numbered[1::2], strict=True):
        where, fields = f"{path}, line {number}", head.split(maxsplit=9)
        if len(fields) != 10:
            raise InputError(f"{where}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
        pose = np.array(finite_numbers(where, fields[1:8], 7))
        texts = seen.split()
        if len(texts) % 3:
            raise InputError(f"{path}, line {second}: points of an image are triples X Y POINT3D_ID")
        values = np.array(finite_numbers(f"{path}, line {second}", texts, len(texts))).reshape(-1, 3)
        ids = values[:, 2].astype(np.int64)
        yield ImageRecord(pose[:4], pose[4:], _whole(where, fields[8]), fields[9], values[:, :2], ids)


def _require_announced(path: Path, text: str, count: int) -> None:
    """The head says how many records there are: nothing else shows that a text was cut at the end of a line."""
    announced = re.search(r"^# Number of \w+: (\d+)", text, re.MULTILINE)
    if announced is not None and int(announced[1]) != count:
        raise InputError(f"{path}: announces {announced[1]} records, holds {count}; copy it again")


def _lines(path: Path, text: str) -> Iterator[tuple[str, list[str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            yield f"{path}, line {number}", line.split()


def _whole(where: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{where}: {text!r} is not a whole number") from None


def _model_folder(path: Path) -> Path | None:
    for name in MODEL_FOLDERS:
        for ending in ("bin", "txt"):
            if all((path / name / f"{file}.{ending}").is_file() for file in FILES):
                return path / name
    return None


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    folder = _model_folder(path)
    if folder is None:
        raise InputError(f"{path}: no COLMAP model (cameras, images and points3D, .bin or .txt) here or in sparse/0")
    model = read_colmap(folder)
    beside = [path / "images", *(parent / "images" for parent in folder.resolve().parents[:2]), folder]
    images = beside if options.images is None else [options.images]
    alignment = place(model, options, images)
    return alignment, [*anchors_of(model, images, alignment, options.dataset or "colmap")]


FORMAT = AnchorFormat(
    "colmap",
    "folder of a COLMAP model: cameras, images, points3D (.txt or .bin), here or in sparse/0; or our own export",
    "one of --alignment, --control-points, --positions (own export: none)",
    lambda path: _model_folder(path) is not None,
    _read,
    PLACING_OPTIONS,
)
