"""What the uploader of photos can use to publish them again at their corrected places.

Mapillary has no interface for corrections; only the uploader can replace his own photos.
`mapillary_image_description.json` is the file that mapillary_tools reads with `upload --desc_path` (its schema allows
no further keys); `corrections.jsonl` beside it contains everything else: full pose, covariance, intrinsics, what was
reported, method.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.catalog.rows.codec import camera_row
from geocorrect.export.bundle import Posed, notice, posed_images
from geocorrect.export.features import rounded
from geocorrect.io.atomic_folder import atomic_folder

DESCRIPTION = "mapillary_image_description.json"
_NOTICE = (
    "Only the person who uploaded a photo may upload it again (terms of use). MAPAltitude is the height above the "
    "WGS84 ellipsoid. MagneticHeading repeats TrueHeading, because the schema demands both."
)


def write_sidecar(catalog: Catalog, stored: Iterable[StoredResult], path: Path) -> int:
    """Write the folder; returns the number of photos described.

    Photos that the format cannot describe (no file, no capture time) appear in it as errors, as mapillary_tools does
    it.
    """
    described = 0
    with (
        atomic_folder(path) as folder,
        notice(folder, _NOTICE) as add_to_notice,
        (folder / DESCRIPTION).open("wb") as file,
        (folder / "corrections.jsonl").open("wb") as everything,
    ):
        opening = b"[\n"
        for one in posed_images(catalog, stored):
            entry = _description(one)
            described += "error" not in entry
            file.write(opening + orjson.dumps(entry))
            everything.write(orjson.dumps(_everything(one), option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
            add_to_notice(one)
            opening = b",\n"
        file.write(b"[]\n" if opening == b"[\n" else b"\n]\n")
    return described


def _description(one: Posed) -> dict[str, Any]:
    file_name = str(one.image.path.absolute()) if one.image.path else one.file_name
    captured_at = one.image.captured_at
    if one.image.path is None or captured_at is None:
        what = "the photo is not downloaded" if one.image.path is None else "the capture time is unknown"
        error = {"type": "MapillaryMetadataValidationError", "message": what, "vars": {"image_id": one.image.id}}
        return {"error": error, "filename": file_name}
    utc = captured_at.astimezone(UTC)
    entry: dict[str, Any] = {
        "filename": file_name,
        "filetype": "image",
        "MAPLatitude": rounded(one.stored.lat_deg, 7),
        "MAPLongitude": rounded(one.stored.lon_deg, 7),
        "MAPAltitude": rounded(one.stored.height_m, 3),
        "MAPCaptureTime": f"{utc:%Y_%m_%d_%H_%M_%S}_{utc.microsecond // 1000:03d}",
        "MAPGPSAccuracyMeters": rounded(one.correction.expected_error_m, 3),
        "MAPSequenceUUID": one.image.sequence_id,
        "MAPDeviceMake": one.image.device_make,
        "MAPDeviceModel": one.image.device_model,
        # Of the file that is named here, not the turn that leads back to the sensor.
        "MAPOrientation": one.image.provider.get("file_orientation") or 1,
    }
    heading = rounded(one.stored.heading_deg, 3)
    if heading is not None:
        entry["MAPCompassHeading"] = {"TrueHeading": heading, "MagneticHeading": heading}
    return {name: value for name, value in entry.items() if value is not None}


def _everything(one: Posed) -> dict[str, Any]:
    pose, image = one.correction.world_from_cam, one.image
    return dict(one.properties) | {
        "lon_deg": one.stored.lon_deg,
        "lat_deg": one.stored.lat_deg,
        "height_m": one.stored.height_m,
        "height_reference": "WGS84 ellipsoid",
        "enu_from_cam": {
            "quaternion_xyzw": pose.quaternion_xyzw.tolist(),
            "axis_angle_rad": pose.rotation.as_rotvec().tolist(),
            "translation_m": pose.translation_m.tolist(),
            "covariance": None if pose.covariance is None else pose.covariance.tolist(),
        },
        "camera": camera_row(image.camera),
        "metadata_quality": image.quality.value,
        "harvested_at": image.harvested_at,
    }
