"""ODM's image geolocation file, `geo.txt`: places, angles and accuracies of photos for a reconstruction.

Format: OpenDroneMap documentation, "Image Geolocation Files"; read by `opendm/geo.py` up to white space.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.export.bundle import Posed, posed_images
from geocorrect.export.features import ATTRIBUTION, Licences
from geocorrect.io.atomic_file import atomic_file

_HEAD = (
    "EPSG:4979",
    f"# {ATTRIBUTION}",
    "# image_name lon_deg lat_deg height_m yaw_deg pitch_deg roll_deg horizontal_accuracy_m vertical_accuracy_m "
    "image_id creator",
    "# Heights are above the WGS84 ellipsoid; yaw is the heading from true north, pitch 0 looks down and 90 to the "
    "horizon; an unknown angle is 0, as the format has it.",
)


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
        # ODM's angles are those of a camera that looks down; ours are 0 at the horizon.
        angles = [stored.heading_deg, stored.pitch_deg + 90.0, stored.roll_deg]
        known = " ".join(f"{angle if math.isfinite(angle) else 0.0:.3f}" for angle in angles)
        accuracies = f"{one.correction.expected_error_m:.3f} {math.sqrt(covariance[2, 2]):.3f}"
        creator = " ".join(stored.attribution.creator.split())
        yield one, f"{name} {place} {known} {accuracies} {one.image.id} {creator}".rstrip()
