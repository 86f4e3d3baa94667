"""nuScenes: the key frames of a scene's cameras and their LiDAR as anchors.

    ROOT/v1.0-*/{scene,sample,sample_data,ego_pose,calibrated_sensor,sensor,log}.json
    ROOT/samples/CAM_FRONT/*.jpg, samples/LIDAR_TOP/*.pcd.bin   (x, y, z, intensity, ring as float32)

Every picture and scan has an ego pose of its own moment, so the motion between the two is accounted for. Poses are
metres east and north of the south-western corner of the scene's map, whose place the nuScenes devkit publishes
(scripts/export_poses.py); heights count from the map's own zero, near the road, and are nobody's reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, require_size
from geocorrect.anchors.readers.timestamps import utc_from_nanoseconds
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.text_file import read_json
from geocorrect.records import Anchor, Attribution, LidarScan

ATTRIBUTION = Attribution("nuScenes by Motional", "https://www.nuscenes.org", "CC BY-NC-SA 4.0")
EARTH_RADIUS_M = 6.378137e6
"""Of the devkit's sphere, on which the corners were published."""
CORNERS_LAT_LON_DEG = {
    "boston-seaport": (42.336849169438615, -71.05785369873047),
    "singapore-onenorth": (1.2882100868743724, 103.78475189208984),
    "singapore-hollandvillage": (1.2993652317780957, 103.78217697143555),
    "singapore-queenstown": (1.2782562240223188, 103.76741409301758),
}
LIDAR, SCAN_FORMAT = "LIDAR_TOP", "float32x5"
TABLES = ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor", "log")
Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _Tables:
    """The JSON tables of a version, by token."""

    folder: Path
    by_token: Mapping[str, Mapping[str, Record]]

    def get(self, table: str, token: str) -> Record:
        try:
            return self.by_token[table][token]
        except KeyError:
            raise InputError(
                f"{self.folder / table}.json: no record {token!r}; the tables do not belong together"
            ) from None


def read_nuscenes(root: Path, options: AnchorOptions | None = None) -> tuple[Alignment, list[Anchor]]:
    """Key frames of the scene --drive names (of all, where they share a map), ids `<scene>/<channel>/<time µs>`.

    Raises:
        InputError: a table, record or file is missing or damaged; names it.
        UsageError: scenes of several maps, or a scene or camera that is not there.
    """
    options = options or AnchorOptions()
    tables = _read_tables(_version_folder(root))
    scenes = _wanted_scenes(tables, options.drive)
    places = {str(tables.get("log", scene["log_token"])["location"]) for scene in scenes}
    if len(places) > 1:
        raise UsageError(f"{root}: its scenes are on several maps ({', '.join(sorted(places))}); name one with --drive")
    (place,) = places
    if place not in CORNERS_LAT_LON_DEG:
        raise InputError(f"{tables.folder}: the place of the map {place!r} is not published; use `georeference`")
    views = _key_frames(tables, {str(scene["token"]): str(scene["name"]) for scene in scenes})
    channels = sorted({channel for _, channel, _ in views if channel != LIDAR})
    if missing := set(options.cameras) - set(channels):
        raise UsageError(f"--cameras {', '.join(sorted(missing))}: this data has {', '.join(channels)}")
    first = _ego(tables, views[0][2]).translation_m
    frame = _frame(place, float(first[0]), float(first[1]))
    local = Pose(Rotation.identity(), -np.array([first[0], first[1], 0.0]))
    alignment = Alignment(frame, Similarity.from_pose(local), method="known")
    scans = {record["sample_token"]: record for _, channel, record in views if channel == LIDAR}
    dataset = options.dataset or "nuscenes"
    return alignment, [
        _anchor(root, tables, scene, channel, record, scans.get(record["sample_token"]), alignment, dataset)
        for scene, channel, record in views
        if channel != LIDAR and (not options.cameras or channel in options.cameras)
    ]


def _anchor(
    root: Path, tables: _Tables, scene: str, channel: str, record: Record, scan: Record | None, alignment: Alignment,
    dataset: str,
) -> Anchor:  # fmt: skip
    path = root / record["filename"]
    width, height = int(record["width"]), int(record["height"])
    require_size(path, width, height, f"sample_data {record['token']}")
    sensor = tables.get("calibrated_sensor", record["calibrated_sensor_token"])
    try:
        k = np.array(sensor["camera_intrinsic"], float).reshape(3, 3)
        camera = Camera.pinhole(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    except ValueError as error:
        raise InputError(f"{tables.folder / 'calibrated_sensor.json'}: {sensor['token']}: {error}") from None
    world_from_cam = _ego(tables, record) @ _pose(tables, "calibrated_sensor", sensor)
    lidar = None
    if scan is not None:
        scanner = tables.get("calibrated_sensor", scan["calibrated_sensor_token"])
        world_from_lidar = _ego(tables, scan) @ _pose(tables, "calibrated_sensor", scanner)
        lidar = LidarScan((root / scan["filename"]).resolve(), SCAN_FORMAT, world_from_cam.inverse() @ world_from_lidar)
    return Anchor(
        id=f"{scene}/{channel}/{record['timestamp']}",
        dataset=dataset,
        path=path.resolve(),
        camera=camera,
        world_from_cam=alignment.apply(world_from_cam),
        alignment_id=alignment.id,
        captured_at=utc_from_nanoseconds(int(record["timestamp"]) * 1000),
        lidar=lidar,
        drive_id=scene,
        attribution=ATTRIBUTION,
    )


def _ego(tables: _Tables, record: Record) -> Pose:
    return _pose(tables, "ego_pose", tables.get("ego_pose", record["ego_pose_token"]))


def _pose(tables: _Tables, table: str, record: Record) -> Pose:
    """Translation and rotation (w, x, y, z) of a record."""
    try:
        w, x, y, z = record["rotation"]
        return Pose.from_quaternion([x, y, z, w], record["translation"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{tables.folder / table}.json: {record.get('token')}: {error}") from None


def _key_frames(tables: _Tables, scenes: Mapping[str, str]) -> list[tuple[str, str, Record]]:
    """(scene, channel, sample_data) of cameras and LiDAR at key frames, in time order."""
    found = []
    for record in tables.by_token["sample_data"].values():
        scene = scenes.get(str(tables.get("sample", record["sample_token"])["scene_token"]))
        if scene is None or not record["is_key_frame"]:
            continue
        sensor = tables.get("calibrated_sensor", record["calibrated_sensor_token"])
        kind = tables.get("sensor", sensor["sensor_token"])
        if kind["modality"] == "camera" or kind["channel"] == LIDAR:
            found.append((scene, str(kind["channel"]), record))
    if not any(channel != LIDAR for _, channel, _ in found):
        raise InputError(
            f"{tables.folder / 'sample_data.json'}: no key frame of a camera in {', '.join(scenes.values())}"
        )
    return sorted(found, key=lambda view: (view[0], view[2]["timestamp"], view[1]))


def _wanted_scenes(tables: _Tables, name: str | None) -> list[Record]:
    scenes = [scene for scene in tables.by_token["scene"].values() if name in (None, scene["name"])]
    if not scenes:
        known = ", ".join(sorted(str(scene["name"]) for scene in tables.by_token["scene"].values()))
        raise UsageError(f"--drive {name}: no such scene; there are {known or 'none'}")
    return scenes


def _frame(place: str, x_m: float, y_m: float) -> Frame:
    """At a point east and north of a map's corner, as the devkit finds its latitude and longitude."""
    lat, lon = np.radians(CORNERS_LAT_LON_DEG[place])
    bearing, angle = np.arctan2(x_m, y_m), np.hypot(x_m, y_m) / EARTH_RADIUS_M
    there = np.arcsin(np.sin(lat) * np.cos(angle) + np.cos(lat) * np.sin(angle) * np.cos(bearing))
    turn = np.arctan2(np.sin(bearing) * np.sin(angle) * np.cos(lat), np.cos(angle) - np.sin(lat) * np.sin(there))
    return Frame(place, float(np.degrees(lon + turn)), float(np.degrees(there)), 0.0)


def _read_tables(folder: Path) -> _Tables:
    tables = {}
    for name in TABLES:
        records = read_json(folder / f"{name}.json", "no such table of nuScenes")
        try:
            tables[name] = {str(record["token"]): record for record in records}
        except (KeyError, TypeError):
            raise InputError(f"{folder / name}.json: not a list of records with a token") from None
    return _Tables(folder, tables)


def _version_folder(root: Path) -> Path:
    folders = sorted(path for path in root.glob("v1.0-*") if path.is_dir())
    if len(folders) != 1:
        names = ", ".join(path.name for path in folders) or "none"
        raise InputError(f"{root}: one folder v1.0-* with the tables is expected, found {names}")
    return folders[0]


FORMAT = AnchorFormat(
    name="nuscenes",
    files="root of nuScenes: v1.0-*/*.json, samples/",
    needs="--drive scene-NNNN where scenes are on several maps",
    detect=lambda path: path.is_dir() and any(path.glob("v1.0-*/calibrated_sensor.json")),
    read=read_nuscenes,
    takes=("drive", "cameras"),
)
