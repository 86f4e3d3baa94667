"""Panoramas as rigs of pinhole faces on disk: what matchers, depth and estimators know are perspective pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
from scipy.spatial.transform import Rotation

from geocorrect.anchors.readers.driving.unpacked import write_once
from geocorrect.errors import OutputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.remap import panorama_faces, pixel_map
from geocorrect.io.checksum import sha256_of
from geocorrect.io.pixels import read_image

QUALITY = 95


def write_faces(panorama: Path, camera: Camera, folder: Path) -> list[tuple[Path, Camera, Rotation]]:
    """(file, camera, cam_from_face) of four faces around the horizon, written where they are not there yet.

    Their names hold the panorama's checksum: another picture of the same name gets faces of its own.

    Raises:
        InputError: the panorama is damaged.
        OutputError: a face cannot be written.
    """
    digest, pixels, found = sha256_of(panorama)[:12], None, []
    for number, (face_from_cam, face) in enumerate(panorama_faces(camera)):
        path = folder / f"{panorama.stem}-{digest}-{number}.jpg"
        if not path.is_file():
            pixels = read_image(panorama) if pixels is None else pixels
            seen = pixel_map(camera, face, face_from_cam).apply(pixels)
            done, data = cv2.imencode(".jpg", seen[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if not done:
                raise OutputError(f"{path}: could not be encoded")
            write_once(path, data.tobytes())
        found.append((path, face, face_from_cam.inv()))
    return found
