"""An OpenSfM bundle: reconstruction.json with the corrected poses, ready for `opensfm` or any reader of its format.

Format: OpenSfM `io.py`. World: topocentric ENU metres around reference_lla, which is the scene's own frame. A shot
stores cam_from_world: rotation as axis-angle, translation in metres.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.export.bundle import Posed, notice, posed_images, write_json
from geocorrect.export.features import rounded
from geocorrect.geometry.frame import Frame
from geocorrect.io.atomic_folder import atomic_folder


def write_opensfm(catalog: Catalog, stored: Iterable[StoredResult], path: Path) -> int:
    """Write the folder, shot by shot; returns the number of shots.

    Photos with an unknown camera are left out (OpenSfM needs one).
    """
    reference = _reference(catalog.frame())
    cameras: dict[str, str] = {}
    count = 0
    heights = "Heights: above the WGS84 ellipsoid (EPSG:4979)."
    with (
        atomic_folder(path) as folder,
        notice(folder, heights) as add_to_notice,
        (folder / "reconstruction.json").open("wb") as file,
    ):
        file.write(b'[{"shots":{')
        for one in posed_images(catalog, stored):
            if one.image.camera is not None:
                file.write(b",\n" if count else b"\n")
                file.write(orjson.dumps(one.file_name) + b":" + orjson.dumps(_shot(one, cameras)))
                add_to_notice(one)
                count += 1
        models = {name: orjson.loads(model) for model, name in cameras.items()}
        rest = {"cameras": models, "points": {}, "reference_lla": reference}
        file.write(b"\n}," + orjson.dumps(rest)[1:] + b"]\n")
        write_json(folder / "reference_lla.json", reference)
        write_json(folder / "camera_models.json", models)
    return count


def _shot(one: Posed, cameras: dict[str, str]) -> dict[str, Any]:
    assert one.image.camera is not None
    model = orjson.dumps(one.image.camera.to_opensfm()).decode()
    name = cameras.setdefault(model, f"camera {len(cameras)}")
    cam_from_world = one.correction.world_from_cam.inverse()
    centre = one.correction.world_from_cam.translation_m
    shot: dict[str, Any] = {
        "rotation": cam_from_world.rotation.as_rotvec().tolist(),
        "translation": cam_from_world.translation_m.tolist(),
        "camera": name,
        "orientation": one.image.exif_orientation,
        "gps_position": centre.tolist(),
        "gps_dop": rounded(one.correction.expected_error_m, 3),
        "compass": {"angle": rounded(one.stored.heading_deg, 3)},
        "metadata_id": one.image.id,
    }
    if one.image.captured_at is not None:
        shot["capture_time"] = one.image.captured_at.timestamp()
    return {name: value for name, value in shot.items() if value is not None}


def _reference(frame: Frame | None) -> dict[str, float]:
    if frame is None:
        return {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0}
    return {"latitude": frame.lat_deg, "longitude": frame.lon_deg, "altitude": frame.height_m}
