"""KITTI-360: the rectified pictures of the front stereo pair and their laser scans as anchors.

    calibration/{perspective,calib_cam_to_pose,calib_cam_to_velo}.txt
    data_poses/DRIVE_sync/poses.txt                                      frame number, 3×4 world_from_body
    data_2d_raw/DRIVE_sync/image_00/{data_rect/0000000000.png,timestamps.txt}
    data_3d_raw/DRIVE_sync/velodyne_points/data/0000000000.bin

The body looks x forward, y right, z down. The world is a Mercator plane about a lake in Karlsruhe, whose place the
devkit publishes (devkits/convertOxtsPose), with the receiver's altitude: up to 0.2 % beside metres, so that every pose
is placed by its own longitude and latitude. A scan faces ahead when its picture is taken, and shares its pose; the
motion within a sweep is left as published. Frames without a pose (the car stands) are left out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, require_size, scans_wanted, wanted_frames
from geocorrect.anchors.readers.kitti.calibration import FOCAL_SIGMA, calibrated_numbers, read_calibration
from geocorrect.anchors.readers.kitti.odometry import kitti_scan
from geocorrect.anchors.readers.timestamps import read_timestamps, utc_from_nanoseconds
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import WGS84_A_M, Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.text_file import finite_numbers, read_text
from geocorrect.records import Anchor, Attribution

logger = logging.getLogger(__name__)

ATTRIBUTION = Attribution("KITTI-360", "https://www.cvlibs.net/datasets/kitti-360/", "CC BY-NC-SA 3.0")
ORIGIN_LAT_LON_DEG = (48.9843445, 8.4295857)
CAMERAS = ("00", "01")
"""Those with a perspective picture; 02 and 03 are fisheyes of a model (MEI) that has no equal here."""


@dataclass(frozen=True, eq=False)
class _View:
    """One rectified camera on the car."""

    camera: Camera
    body_from_cam: Pose
    cam_from_lidar: Pose


def read_kitti360(root: Path, options: AnchorOptions | None = None) -> tuple[Alignment, list[Anchor]]:
    """Pictures of one drive, ids `<drive>/image_<camera>/<frame number>`.

    Args:
        root: The folder that holds calibration/ and data_2d_raw/.
        options: `drive` (where there are several), `cameras` (00, 01), `frames`, `scans`, `geoid_undulation_m`.

    Raises:
        InputError: something is missing or damaged; names file and line or key.
        UsageError: a drive or camera that is not there.
    """
    options = options or AnchorOptions()
    scans = scans_wanted(options)
    drive = _drive(root, options.drive)
    poses = _poses(root / "data_poses" / drive / "poses.txt", options.geoid_undulation_m or 0.0)
    frame = next(iter(poses.values()))[0]
    frame = Frame(drive, frame.lon_deg, frame.lat_deg, frame.height_m)
    alignment = Alignment(frame, Similarity.identity(), method="known")
    clouds, anchors = root / "data_3d_raw" / drive / "velodyne_points" / "data", list[Anchor]()
    for name in options.cameras or CAMERAS[:1]:
        folder = root / "data_2d_raw" / drive / f"image_{name}"
        view = _view(root / "calibration", name)
        pictures = [path for path in sorted((folder / "data_rect").glob("*.png")) if path.stem.isdecimal()]
        if not pictures:
            raise InputError(f"{folder / 'data_rect'}: no such folder, or no pictures in it")
        placed = [path for path in wanted_frames(pictures, options.frames) if int(path.stem) in poses]
        times = read_timestamps(folder / "timestamps.txt")
        for path in placed:
            number = int(path.stem)
            require_size(path, view.camera.width, view.camera.height, "perspective.txt")
            if number >= len(times):
                raise InputError(f"{path}: no timestamp; timestamps.txt has {len(times)} rows")
            here, here_from_body = poses[number]
            anchors.append(
                Anchor(
                    id=f"{drive}/image_{name}/{number:010d}",
                    dataset=options.dataset or "kitti360",
                    path=path.resolve(),
                    camera=view.camera,
                    world_from_cam=frame.this_from(here) @ here_from_body @ view.body_from_cam,
                    alignment_id=alignment.id,
                    captured_at=utc_from_nanoseconds(int(times[number])),
                    lidar=kitti_scan(clouds / f"{number:010d}.bin", view.cam_from_lidar, scans),
                    drive_id=drive,
                    attribution=ATTRIBUTION,
                )
            )
        if len(placed) < len(pictures):
            logger.info("%s: %d of %d pictures are wanted and have a pose", folder, len(placed), len(pictures))
    if not anchors:
        raise InputError(f"{root}: no picture of {drive} has a pose")
    return alignment, anchors


def _view(calibration: Path, name: str) -> _View:
    if name not in CAMERAS:
        raise UsageError(f"--cameras {name}: use {', '.join(CAMERAS)}; 02 and 03 are fisheyes of a model we lack")
    path, bodies, velo = (
        calibration / f"{stem}.txt" for stem in ("perspective", "calib_cam_to_pose", "calib_cam_to_velo")
    )
    table, mounts = read_calibration(path), read_calibration(bodies)
    k = calibrated_numbers(path, table, f"P_rect_{name}", 12).reshape(3, 4)
    width, height = calibrated_numbers(path, table, f"S_rect_{name}", 2).astype(int)
    cam_from_rect = _rigid(path, f"R_rect_{name}", calibrated_numbers(path, table, f"R_rect_{name}", 9)).inverse()
    mounted = {
        camera: _rigid(bodies, f"image_{camera}", calibrated_numbers(bodies, mounts, f"image_{camera}", 12))
        for camera in {name, "00"}
    }
    numbers = np.array(finite_numbers(str(velo), read_text(velo, "no such calibration file").split(), 12))
    body_from_lidar = mounted["00"] @ _rigid(velo, "3×4", numbers).inverse()
    body_from_cam = mounted[name] @ cam_from_rect
    camera = replace(
        Camera.pinhole(int(width), int(height), k[0, 0], k[1, 1], k[0, 2], k[1, 2]), focal_sigma=FOCAL_SIGMA
    )
    return _View(camera, body_from_cam, body_from_cam.inverse() @ body_from_lidar)


def _rigid(path: Path, key: str, numbers: np.ndarray) -> Pose:
    """Of 3×4 numbers, or the 3×3 of a rotation alone."""
    matrix = numbers.reshape(3, -1)
    try:
        return Pose.from_matrix(matrix if matrix.shape[1] == 4 else np.column_stack([matrix, np.zeros(3)]))
    except ValueError as error:
        raise InputError(f"{path}: {key}: {error}") from None


def _poses(path: Path, undulation_m: float) -> dict[int, tuple[Frame, Pose]]:
    """(ENU frame at the car, its pose there) by frame number."""
    found = {}
    for number, line in enumerate(read_text(path, "no such file of poses").splitlines(), 1):
        where, fields = f"{path}, line {number}", line.split()
        if not fields:
            continue
        values = finite_numbers(where, fields, 13)
        pose = _rigid(path, f"line {number}", np.array(values[1:]))
        lon, lat = _wgs84(*pose.translation_m[:2])
        try:
            here = Frame("car", lon, lat, float(pose.translation_m[2]) + undulation_m)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        found[int(values[0])] = here, Pose(pose.rotation, np.zeros(3))
    if not found:
        raise InputError(f"{path}: no poses")
    return found


def _wgs84(x_m: float, y_m: float) -> tuple[float, float]:
    """(longitude, latitude) in degrees of a place in the Mercator plane."""
    lat0, lon0 = np.radians(ORIGIN_LAT_LON_DEG)
    unit_m = WGS84_A_M * np.cos(lat0)
    north = np.log(np.tan(np.pi / 4 + lat0 / 2)) + y_m / unit_m
    return float(np.degrees(lon0 + x_m / unit_m)), float(np.degrees(2 * np.arctan(np.exp(north)) - np.pi / 2))


def _drive(root: Path, wanted: str | None) -> str:
    drives = sorted(path.parent.name for path in (root / "data_poses").glob("*/poses.txt"))
    found = [name for name in drives if wanted in (None, name)]
    if len(found) != 1:
        raise UsageError(f"{root}: name one drive with --drive; there are {', '.join(drives) or 'none with poses.txt'}")
    return found[0]


FORMAT = AnchorFormat(
    "kitti360",
    "root of KITTI-360: calibration/, data_poses/, data_2d_raw/ and, for scans, data_3d_raw/",
    "--drive where there are several",
    lambda path: (path / "data_poses").is_dir() and (path / "calibration" / "perspective.txt").is_file(),
    read_kitti360,
    ("drive", "cameras", "frames", "scans", "geoid_undulation_m"),
)
