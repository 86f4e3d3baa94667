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
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.io.atomic_folder import atomic_folder


def write_opensfm(catalog: Catalog, stored: Iterable[StoredResult], path: Path) -> int:
    """Write the folder, shot by shot; returns the number of shots.

    Photos whose camera is unknown, or a part of a panorama, are left out and named in left_out.txt (OpenSfM needs one,
    and knows whole spheres only).
    """
    reference = _reference(catalog.frame())
    cameras: dict[str, str] = {}
    left_out: list[str] = []
    count = 0
    heights = "Heights: above the WGS84 ellipsoid (EPSG:4979)."
    with (
        atomic_folder(path) as folder,
        notice(folder, heights) as add_to_notice,
        (folder / "reconstruction.json").open("wb") as file,
    ):
        file.write(b'[{"shots":{')
        for one in posed_images(catalog, stored):
            model = _model(one.image.camera)
            if model is None:
                left_out.append(f"{one.image.id} {one.file_name}")
                continue
            shot = _shot(one, cameras.setdefault(model, f"camera {len(cameras)}"))
            file.write((b",\n" if count else b"\n") + orjson.dumps(one.file_name) + b":" + orjson.dumps(shot))
            add_to_notice(one)
            count += 1
        models = {name: orjson.loads(model) for model, name in cameras.items()}
        rest = {"cameras": models, "points": {}, "reference_lla": reference}
        file.write(b"\n}," + orjson.dumps(rest)[1:] + b"]\n")
        if left_out:
            lines = ["# image_id file: no OpenSfM model for the camera", *left_out]
            (folder / "left_out.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_json(folder / "reference_lla.json", reference)
        write_json(folder / "camera_models.json", models)
    return count


def _model(camera: Camera | None) -> str | None:
    """JSON of a camera; None where OpenSfM has no equal one."""
    try:
        return None if camera is None else orjson.dumps(camera.to_opensfm()).decode()
    except ValueError:
        return None


def _shot(one: Posed, camera_name: str) -> dict[str, Any]:
    cam_from_world = one.correction.world_from_cam.inverse()
    centre = one.correction.world_from_cam.translation_m
    shot: dict[str, Any] = {
        "rotation": cam_from_world.rotation.as_rotvec().tolist(),
        "translation": cam_from_world.translation_m.tolist(),
        "camera": camera_name,
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
