"""Panoramas as rigs of pinhole faces on disk: what matchers, depth and estimators know are perspective pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.readers.driving.unpacked import write_once
from geocorrect.errors import OutputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.remap import panorama_faces, pixel_map
from geocorrect.io.checksum import sha256_of
from geocorrect.io.pixels import read_image

QUALITY = 95


def write_faces(panorama: Path, camera: Camera, folder: Path) -> list[tuple[Path, Camera, Rotation]]:
    """(file, camera, cam_from_face) of up to four faces around the horizon, written where they are not there yet.

    Their names hold the panorama's checksum: another picture of the same name gets faces of its own. Those of a part of
    a panorama are cut to what it shows.

    Raises:
        InputError: the panorama is damaged.
        OutputError: a face cannot be written.
    """
    digest, pixels, found = sha256_of(panorama)[:12], None, []
    is_whole = camera.is_full_circle and camera.width <= 2 * camera.height
    for number, (face_from_cam, face) in enumerate(panorama_faces(camera)):
        shown, part = face, ""
        if not is_whole:
            mask = pixel_map(camera, face, face_from_cam).mask
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            if not len(rows):
                continue
            left, top = int(columns[0]), int(rows[0])
            shown = face.cropped(left, top, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
            part = f"-{shown.width}x{shown.height}+{left}+{top}"
        path = folder / f"{panorama.stem}-{digest}-{number}{part}.jpg"
        if not path.is_file():
            pixels = read_image(panorama) if pixels is None else pixels
            picture = pixel_map(camera, shown, face_from_cam).apply(pixels)
            done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if not done:
                raise OutputError(f"{path}: could not be encoded")
            write_once(path, data.tobytes())
        found.append((path, shown, face_from_cam.inv()))
    return found
