"""ODM's image geolocation file, `geo.txt`: places, angles and accuracies of photos for a reconstruction.

Format: OpenDroneMap documentation, "Image Geolocation Files"; read by `opendm/geo.py` up to white space.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.export.bundle import Posed, posed_images
from geocorrect.export.features import ATTRIBUTION, Licences
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.io.atomic_file import atomic_file

_HEAD = (
    "EPSG:4979",
    f"# {ATTRIBUTION}",
    "# image_name lon_deg lat_deg height_m yaw_deg pitch_deg roll_deg horizontal_accuracy_m vertical_accuracy_m "
    "image_id creator",
    "# Heights are above the WGS84 ellipsoid; the angles turn north-east-down into the axes image top, image right, "
    "view, as opendm/photo.py reads them; unknown angles are 0, as the format has it.",
)
_NED_FROM_ENU = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
_CAM_FROM_BODY = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Camera axes (right, down, view) from ODM's (image top, image right, view)."""


def write_geo_txt(catalog: Catalog, stored: Iterable[StoredResult], path: Path) -> int:
    """Write the file, line by line; returns the number of photos.

    A photo whose file name holds white space, at which the format ends a name, is a comment that says so.
    """
    licences, count = Licences(), 0
    with atomic_file(path) as file:
        file.write("".join(f"{line}\n" for line in _HEAD).encode())
        for one, line in _lines(posed_images(catalog, stored)):
            file.write(f"{line}\n".encode())
            count += not line.startswith("#")
            licences.add([one.stored.attribution.licence])
        file.write(f"# Licences of the photos: {licences.text()}\n".encode())
    return count


def _lines(posed: Iterable[Posed]) -> Iterator[tuple[Posed, str]]:
    for one in posed:
        name = one.file_name
        if name.split() != [name] or name.startswith("#"):
            yield one, f"# left out, rename the photo (white space or # in its name): {' '.join(name.split())}"
            continue
        stored, covariance = one.stored, one.correction.world_from_cam.covariance
        assert covariance is not None
        place = f"{stored.lon_deg:.8f} {stored.lat_deg:.8f} {stored.height_m:.3f}"
        known = " ".join(f"{angle:.3f}" for angle in odm_angles_deg(stored))
        accuracies = f"{one.correction.expected_error_m:.3f} {math.sqrt(covariance[2, 2]):.3f}"
        creator = " ".join(stored.attribution.creator.split())
        yield one, f"{name} {place} {known} {accuracies} {one.image.id} {creator}".rstrip()


def odm_angles_deg(stored: StoredResult) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a photo as ODM turns them into its matrix, Rz(yaw) Ry(pitch) Rx(roll); 0 where unknown.

    Near the horizon ODM's roll turns about the image's vertical axis, so it is not ours about the optical axis.
    """
    angles = (stored.heading_deg, stored.pitch_deg, stored.roll_deg)
    if not all(math.isfinite(angle) for angle in angles):
        return 0.0, 0.0, 0.0
    ned_from_body = _NED_FROM_ENU @ rotation_from_heading(*angles).as_matrix() @ _CAM_FROM_BODY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a level camera: yaw and roll turn alike, and roll is 0
        yaw, pitch, roll = Rotation.from_matrix(ned_from_body).as_euler("ZYX", degrees=True)
    return float(yaw % 360.0), float(pitch), float(roll)
