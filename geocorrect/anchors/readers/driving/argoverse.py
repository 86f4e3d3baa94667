"""Argoverse 2 sensor logs: pictures of the ring and stereo cameras as anchors, with the LiDAR sweep nearest in time.

    LOG/city_SE3_egovehicle.feather                   pose of the car: timestamp_ns, qw…qz, tx_m…tz_m
    LOG/calibration/{intrinsics,egovehicle_SE3_sensor}.feather
    LOG/sensors/cameras/NAME/TIMESTAMP_NS.jpg         undistorted
    LOG/sensors/lidar/TIMESTAMP_NS.feather            x, y, z in the car's frame at that time, its motion taken off
    LOG/map/log_map_archive_*____CITY_city_*.json     its name says the city

City coordinates are UTM less the city's origin, which the av2 API publishes (geometry/utm.py); heights count from the
city's own zero.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.driving.unpacked import write_scan
from geocorrect.anchors.readers.format import AnchorFormat, require_size, scans_wanted
from geocorrect.anchors.readers.timestamps import utc_from_nanoseconds
from geocorrect.anchors.scan import KITTI_BIN
from geocorrect.anchors.trajectory import Trajectory
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.crs import crs_from_wgs84, true_from_grid, wgs84_from_crs
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.records import Anchor, Attribution, LidarScan

ATTRIBUTION = Attribution("Argoverse 2", "https://www.argoverse.org/av2.html", "CC BY-NC-SA 4.0")
CITIES: dict[str, tuple[int, float, float]] = {
    "ATX": (32614, 30.27464237939507, -97.7404457407424),
    "DTW": (32617, 42.29993066912924, -83.17555750783717),
    "MIA": (32617, 25.77452579915163, -80.19656914449405),
    "PAO": (32610, 37.416065, -122.13571963362166),
    "PIT": (32617, 40.44177902989321, -80.01294377242584),
    "WDC": (32618, 38.889377, -77.0355047439081),
}
"""EPSG code of the UTM zone, latitude and longitude of the origin."""
QUATERNION, TRANSLATION = ("qx", "qy", "qz", "qw"), ("tx_m", "ty_m", "tz_m")
CAR = "city_SE3_egovehicle.feather"
MAX_SCAN_S = 0.06
"""A sweep farther in time from a picture does not belong to it (sweeps come at 10 Hz)."""


def read_argoverse(log: Path, options: AnchorOptions | None = None) -> tuple[Alignment, list[Anchor]]:
    """Pictures of one log, ids `<log>/<camera>/<time ns>`; all cameras or those of --cameras.

    Sweeps are unpacked into `images`, by default LOG/unpacked; a log without sensors/lidar has none.

    Raises:
        InputError: a file, column, picture or sweep is missing or damaged, or a picture is outside the poses' time.
        OutputError: a sweep cannot be unpacked.
        UsageError: a camera that is not there.
    """
    options = options or AnchorOptions()
    drive = _trajectory(log / CAR)
    rigs, lenses = _by_name(log, "egovehicle_SE3_sensor", (*QUATERNION, *TRANSLATION)), _by_name(
        log, "intrinsics", ("fx_px", "fy_px", "cx_px", "cy_px", "width_px", "height_px"))  # fmt: skip
    cameras = options.cameras or tuple(sorted(name for name in lenses if (log / "sensors" / "cameras" / name).is_dir()))
    if missing := set(cameras) - set(lenses) | set(cameras) - set(rigs):
        raise UsageError(f"--cameras {', '.join(sorted(missing))}: this log has {', '.join(sorted(lenses))}")
    alignment = _alignment(log, drive)
    scans = _Sweeps(log / "sensors" / "lidar", options.images or log / "unpacked", drive, scans_wanted(options))
    anchors = [
        _anchor(path, name, rigs[name], lenses[name], drive, alignment, scans, options.dataset or "argoverse2")
        for name in cameras
        for path in sorted((log / "sensors" / "cameras" / name).glob("*.jpg"))
    ]
    if not anchors:
        raise InputError(f"{log}: no picture in sensors/cameras/{{{','.join(cameras)}}}")
    return alignment, anchors


def _anchor(
    path: Path, name: str, rig: dict[str, float], lens: dict[str, float], drive: Trajectory, alignment: Alignment,
    scans: _Sweeps, dataset: str,
) -> Anchor:  # fmt: skip
    size = int(lens["width_px"]), int(lens["height_px"])
    require_size(path, *size, "intrinsics.feather")
    try:
        time_ns = int(path.stem)
        camera = Camera.pinhole(*size, lens["fx_px"], lens["fy_px"], lens["cx_px"], lens["cy_px"])
        ego_from_cam = Pose.from_quaternion([rig[n] for n in QUATERNION], [rig[n] for n in TRANSLATION])
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    log, city_from_cam = path.parents[3].name, drive.pose_at(time_ns) @ ego_from_cam
    return Anchor(
        id=f"{log}/{name}/{time_ns}",
        dataset=dataset,
        path=path.resolve(),
        camera=camera,
        world_from_cam=alignment.apply(city_from_cam),
        alignment_id=alignment.id,
        captured_at=utc_from_nanoseconds(time_ns),
        lidar=scans.near(path, time_ns, city_from_cam),
        drive_id=log,
        attribution=ATTRIBUTION,
    )


class _Sweeps:
    """The log's LiDAR, unpacked sweep by sweep as pictures ask for it."""

    def __init__(self, folder: Path, out: Path, drive: Trajectory, wanted: str) -> None:
        self._out, self._drive, self._is_required = out, drive, wanted == "required" and folder.is_dir()
        self._written: dict[int, Path] = {}
        self._files = {} if wanted == "none" else {int(p.stem): p for p in folder.glob("*.feather") if p.stem.isdigit()}

    def near(self, picture: Path, time_ns: int, city_from_cam: Pose) -> LidarScan | None:
        """The sweep of a picture, carried to its exposure."""
        nearest = min(self._files, key=lambda stamp: abs(stamp - time_ns), default=None)
        if nearest is None or abs(nearest - time_ns) > MAX_SCAN_S * 1e9:
            if self._is_required:
                raise InputError(f"{picture}: no sweep within {MAX_SCAN_S} s; use --scans if_present to go without")
            return None
        path = self._files[nearest]
        try:
            cam_from_car = city_from_cam.inverse() @ self._drive.pose_at(nearest)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        return LidarScan(self._unpacked(nearest), KITTI_BIN, cam_from_car)

    def _unpacked(self, stamp: int) -> Path:
        """Several pictures have the same sweep."""
        if stamp not in self._written:
            table = _feather(self._files[stamp], ("x", "y", "z"))
            points = np.stack([table[axis] for axis in "xyz"], axis=1)
            self._written[stamp] = write_scan(self._out / f"{stamp}.bin", points)
        return self._written[stamp]


def _alignment(log: Path, drive: Trajectory) -> Alignment:
    """East-north-up at the first pose, height 0 at the city's zero: the city's axes turned from grid to true north."""
    names = [path.name for path in (log / "map").glob("log_map_archive_*.json")]
    found = [match[1] for name in names if (match := re.search(r"____([A-Z]{3})_city_", name))]
    if len(set(found)) != 1 or found[0] not in CITIES:
        raise InputError(
            f"{log / 'map'}: no log_map_archive_*____CITY_city_*.json that names one of {', '.join(CITIES)}"
        )
    code, lat0, lon0 = CITIES[found[0]]
    crs = f"EPSG:{code}"
    origin = np.array([float(v) for v in crs_from_wgs84(crs, lon0, lat0)])
    first = drive.pose(0).translation_m
    lon, lat = (float(v) for v in wgs84_from_crs(crs, *(origin + first[:2])))
    frame = Frame(found[0], lon, lat, 0.0)
    turn = true_from_grid(crs, lon, lat)
    # The city's poses are metres on the ground (laser odometry): UTM's scale factor is not taken off.
    return Alignment(frame, Similarity.from_pose(Pose(turn, -turn.apply([first[0], first[1], 0.0]))), method="known")


def _trajectory(path: Path) -> Trajectory:
    table = _feather(path, ("timestamp_ns", *QUATERNION, *TRANSLATION))
    order = np.argsort(table["timestamp_ns"], kind="stable")
    columns = [np.stack([table[n] for n in names], axis=1)[order] for names in (TRANSLATION, QUATERNION)]
    try:
        turns = Rotation.from_quat(columns[1])
        return Trajectory(str(path), table["timestamp_ns"][order].astype(np.int64), columns[0], turns)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _by_name(log: Path, name: str, columns: tuple[str, ...]) -> dict[str, dict[str, float]]:
    table = _feather(log / "calibration" / f"{name}.feather", ("sensor_name", *columns))
    return {
        str(sensor): {column: float(table[column][row]) for column in columns}
        for row, sensor in enumerate(table["sensor_name"])
    }


def _feather(path: Path, columns: tuple[str, ...]) -> dict[str, np.ndarray[Any, Any]]:
    from pyarrow import feather

    try:
        table = feather.read_table(path, columns=list(columns))
        return {name: table.column(name).to_numpy() for name in columns}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of an Argoverse 2 log") from None
    except Exception as error:  # pyarrow's errors have no common class
        raise InputError(f"{path}: not a Feather table with {', '.join(columns)} ({error})") from None


FORMAT = AnchorFormat(
    name="argoverse2",
    files="folder of an Argoverse 2 sensor log: city_SE3_egovehicle.feather, calibration/, map/, sensors/cameras/ and, "
    "for scans, sensors/lidar/",
    needs="",
    detect=lambda path: path.is_dir() and (path / CAR).is_file(),
    read=read_argoverse,
    takes=("cameras", "scans", "images"),
)
