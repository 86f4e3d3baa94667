"""OpenSfM's, ODM's, Metashape's and RealityCapture's files of posed images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.crs import crs_from_wgs84, grid_convergence_deg
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float
from geocorrect.geometry.similarity import Similarity
from support.colmap_world import FRAME, WORLD_FROM_LOCAL, Seen, TrueImage, facade, seen_by


def write_opensfm(
    folder: Path,
    images: list[TrueImage],
    gps_error_m: float = 0.0,
    seen: Seen = seen_by,
    points_m: Float | None = None,
    **extra: Any,
) -> None:
    random, c = np.random.default_rng(1), images[0].camera
    camera, points_m = c.to_opensfm(), facade() if points_m is None else points_m
    centre = [(c.width - 1) / 2, (c.height - 1) / 2]
    shots, tracks = {}, ["OPENSFM_TRACKS_VERSION_v2"]
    for number, image in enumerate(images):
        inverse = image.world_from_cam.inverse()
        shots[image.name] = {
            "rotation": inverse.rotation.as_rotvec().tolist(), "translation": inverse.translation_m.tolist(),
            "camera": "c", "capture_time": 1700000000.0 + 20 * number, "gps_dop": 2.0,
            "gps_position": (image.world_from_cam.translation_m + random.normal(0, gps_error_m, 3)).tolist(),
        }  # fmt: skip
        px, rows = seen(image, points_m)
        for (u, v), row in zip(((px - centre) / max(c.width, c.height)).tolist(), rows.tolist(), strict=True):
            tracks.append(f"{image.name}\t{row}\t{row}\t{u!r}\t{v!r}\t0.001\t1\t2\t3\t-1\t-1")
    points = {str(row): {"color": [1, 2, 3], "coordinates": point.tolist()} for row, point in enumerate(points_m)}
    reference = {"longitude": FRAME.lon_deg, "latitude": FRAME.lat_deg, "altitude": FRAME.height_m}
    content = {"cameras": {"c": camera}, "shots": shots, "points": points, "reference_lla": reference} | extra
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reconstruction.json").write_text(json.dumps([content]))
    (folder / "tracks.csv").write_text("\n".join(tracks) + "\n")


def write_odm_shots(folder: Path, images: list[TrueImage]) -> Path:
    """As opendm/shots.py does: rotation and translation in UTM, the point in WGS84."""
    c, features = images[0].camera, []
    for image in images:
        lon, lat, height_m = (float(v) for v in FRAME.wgs84_from_enu(image.world_from_cam.translation_m))
        true = (Frame("here", lon, lat, height_m).this_from(FRAME) @ image.world_from_cam).rotation
        grid = Rotation.from_euler("z", grid_convergence_deg("EPSG:32632", lon, lat), degrees=True) * true
        x, y = map(float, crs_from_wgs84("EPSG:32632", lon, lat))
        shot = {"filename": image.name, "camera": "c", "focal": 0.78, "width": c.width, "height": c.height,
                "translation": [x, y, height_m], "rotation": grid.inv().as_rotvec().tolist()}  # fmt: skip
        point = {"type": "Point", "coordinates": [lon, lat, height_m]}
        features.append({"type": "Feature", "properties": shot, "geometry": point})
    path = folder / "odm_report" / "shots.geojson"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (folder / "cameras.json").write_text(json.dumps({"c": c.to_opensfm()}))
    return path


def write_metashape(path: Path, images: list[TrueImage], camera: str = "") -> None:
    c = images[0].camera
    size = f'<resolution width="{c.width}" height="{c.height}"/>'
    k1, k2, p1, p2, k3 = (*c.distortion, 0.0, 0.0, 0.0)[:5]
    cx, cy = c.principal_x_px - (c.width - 1) / 2, c.principal_y_px - (c.height - 1) / 2
    values = {"f": c.focal_y_px, "cx": cx, "cy": cy, "b1": c.focal_x_px - c.focal_y_px,
              "k1": k1, "k2": k2, "k3": k3, "p1": p2, "p2": p1}  # fmt: skip
    calibration = "".join(f"<{name}>{float(value)!r}</{name}>" for name, value in values.items()) + camera
    place = Similarity.from_pose(FRAME.ecef_from_enu) @ WORLD_FROM_LOCAL
    numbers = {
        "rotation": place.rotation.as_matrix().ravel(),
        "translation": place.translation_m,
        "scale": [place.scale],
    }
    transform = "".join(f"<{name}>{' '.join(map(repr, map(float, v)))}</{name}>" for name, v in numbers.items())
    cameras = "".join(
        f'<camera id="{k}" sensor_id="0" label="{Path(image.name).stem}"><transform>'
        f"{' '.join(map(repr, image.local_from_cam.matrix.ravel().tolist()))}</transform></camera>"
        for k, image in enumerate(images)
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><document version="2.0.0"><chunk label="Chunk 1" enabled="true">'
        f'<sensors next_id="1"><sensor id="0" label="x" type="frame">{size}'
        f'<calibration type="frame" class="adjusted">{size}{calibration}</calibration>'
        f'</sensor></sensors><cameras next_id="9">{cameras}<camera id="99" sensor_id="0" label="not aligned"/>'
        f'</cameras><reference>GEOGCS["WGS 84",DATUM["World Geodetic System 1984"]]</reference>'
        f"<transform>{transform}</transform></chunk></document>"
    )


def write_realitycapture(path: Path, images: list[TrueImage], **changed: float) -> None:
    lines = ["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    for image in images:
        lon, lat, height_m = FRAME.wgs84_from_enu(image.world_from_cam.translation_m)
        x, y = map(float, crs_from_wgs84("EPSG:32632", lon, lat))
        here = Frame("here", float(lon), float(lat), float(height_m))
        true = (here.this_from(FRAME) @ image.world_from_cam).rotation
        grid = Rotation.from_euler("z", grid_convergence_deg("EPSG:32632", lon, lat), degrees=True) * true
        heading, pitch, roll = (grid * Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))).as_euler("ZXY", degrees=True)
        c = image.camera
        principal = (c.principal_x_px - (c.width - 1) / 2) / c.width, (c.principal_y_px - (c.height - 1) / 2) / c.width
        values = [x, y, float(height_m), -heading, pitch, roll, 36 / c.width * c.focal_x_px, *principal]
        lines.append(",".join([image.name, *(repr(float(v)) for v in values), *["0"] * 6]))
    text = "\n".join(lines) + "\n"
    path.write_text(text)
