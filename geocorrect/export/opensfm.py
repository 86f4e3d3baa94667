"""An OpenSfM bundle: reconstruction.json with the corrected poses, ready for `opensfm` or any reader of its format.

Format: OpenSfM `io.py`. World: topocentric ENU metres around reference_lla, which is the scene's own frame. A shot
stores cam_from_world: rotation as axis-angle, translation in metres.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.export.bundle import Posed, atomic_folder, posed_images, write_json, write_notice
from geocorrect.export.features import rounded
from geocorrect.geometry.frame import Frame


def write_opensfm(catalog: Catalog, stored: Iterable[StoredResult], path: Path) -> int:
    """Write the folder; returns the number of shots. Photos with an unknown camera are left out (OpenSfM needs one)."""
    frame = catalog.frame()
    posed = [one for one in posed_images(catalog, stored) if one.image.camera is not None]
    cameras: dict[str, Any] = {}
    shots = {one.file_name: _shot(one, cameras) for one in posed}
    reconstruction = {"cameras": cameras, "shots": shots, "points": {}, "reference_lla": _reference(frame)}
    with atomic_folder(path) as folder:
        write_json(folder / "reconstruction.json", [reconstruction])
        write_json(folder / "reference_lla.json", _reference(frame))
        write_json(folder / "camera_models.json", cameras)
        write_notice(folder, posed, "Heights: above the WGS84 ellipsoid (EPSG:4979).")
    return len(shots)


def _shot(one: Posed, cameras: dict[str, Any]) -> dict[str, Any]:
    assert one.image.camera is not None
    model = one.image.camera.to_opensfm()
    name = next((known for known, values in cameras.items() if values == model), f"camera {len(cameras)}")
    cameras[name] = model
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
