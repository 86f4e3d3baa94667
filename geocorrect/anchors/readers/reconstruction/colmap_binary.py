"""COLMAP's binary files: little-endian, counted lists; a truncated file must not be half a model."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.anchors.readers.reconstruction.colmap_cameras import MODELS
from geocorrect.anchors.readers.reconstruction.colmap_records import CameraRecord, ImageRecord, PointRecord, Records
from geocorrect.errors import InputError
from geocorrect.io.pixels import read_bytes

OBSERVATION = np.dtype([("px", "<f8", 2), ("point", "<i8")])
TRACK_BYTES = 8


def read_binary(folder: Path) -> Records:
    """The records of cameras.bin, images.bin and points3D.bin; InputError naming the file and how far it was read."""
    cameras, images, points = (_Reader.of(folder / f"{name}.bin") for name in ("cameras", "images", "points3D"))
    found_cameras = dict(_camera(cameras) for _ in range(cameras.count()))
    found_images = [_image(images) for _ in range(images.count())]
    found_points = dict(_point(points) for _ in range(points.count()))
    for reader in (cameras, images, points):
        reader.require_end()
    return Records(found_cameras, found_images, found_points)


@dataclass
class _Reader:
    path: Path
    data: bytes
    position: int = 0

    @classmethod
    def of(cls, path: Path) -> _Reader:
        return cls(path, read_bytes(path))

    def take(self, layout: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + layout)
        return struct.unpack("<" + layout, self.raw(size))

    def raw(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise InputError(f"{self.path}: ends at byte {len(self.data)} in the middle of a record; copy it again")
        found, self.position = self.data[self.position : end], end
        return found

    def count(self) -> int:
        (count,) = self.take("Q")
        if count > len(self.data):
            raise InputError(f"{self.path}: announces {count} records in {len(self.data)} bytes; no COLMAP model")
        return int(count)

    def name(self) -> str:
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise InputError(f"{self.path}: a name does not end; copy the file again")
        try:
            found = self.data[self.position : end].decode()
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: the name of an image at byte {self.position} is not UTF-8") from None
        self.position = end + 1
        return found

    def require_end(self) -> None:
        if self.position != len(self.data):
            raise InputError(f"{self.path}: {len(self.data) - self.position} bytes too many; no COLMAP model")


def _camera(reader: _Reader) -> tuple[int, CameraRecord]:
    number, model, width, height = reader.take("iiQQ")
    if not 0 <= model < len(MODELS):
        raise InputError(f"{reader.path}: camera {number} has model number {model}; known are 0…{len(MODELS) - 1}")
    name, parameters, _ = MODELS[model]
    return number, CameraRecord(name, width, height, reader.take("d" * len(parameters)))


def _image(reader: _Reader) -> ImageRecord:
    values = reader.take("I7dI")
    name, count = reader.name(), reader.count()
    seen = np.frombuffer(reader.raw(count * OBSERVATION.itemsize), OBSERVATION)
    pose = np.array(values[1:8])
    return ImageRecord(pose[:4], pose[4:], values[8], name, seen["px"].astype(float), seen["point"].astype(np.int64))


def _point(reader: _Reader) -> tuple[int, PointRecord]:
    number, x, y, z, _, _, _, error, track = reader.take("Q3d3BdQ")
    reader.raw(track * TRACK_BYTES)
    return number, PointRecord((x, y, z), error)
