"""Waymo Open Dataset v2 (Parquet): pictures of one segment and the top laser's first returns as anchors.

    ROOT/{camera_image,camera_calibration,vehicle_pose,lidar,lidar_calibration,lidar_pose}/SEGMENT.parquet

A picture's pose is that of the vehicle at the picture's own pose_timestamp; its rolling shutter, whose columns are
exposed one after the other, is left as it is. Every laser return has a pose of its own moment, so that the sweep is
free of the car's motion; it is written in the vehicle's axes at the frame's time. Pictures and scans are written to
--images (default: unpacked/ beside the tables). The world of a segment is its own: --alignment places it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.driving.range_image import returns_in_world
from geocorrect.anchors.readers.driving.unpacked import write_once, write_scan
from geocorrect.anchors.readers.format import AnchorFormat, given_alignment, require_size, scans_wanted
from geocorrect.anchors.readers.mobile.angles import FLU_FROM_CAM
from geocorrect.anchors.readers.timestamps import utc_from_nanoseconds
from geocorrect.anchors.scan import KITTI_BIN
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records import Anchor, Attribution, LidarScan

ATTRIBUTION = Attribution("Waymo Open Dataset", "https://waymo.com/open", "Waymo Dataset License (non-commercial)")
CAMERAS = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "SIDE_LEFT", "SIDE_RIGHT")
"""Names of the numbers 1…5."""
TOP = 1
WAYMO_FROM_CAM = Pose(FLU_FROM_CAM, np.zeros(3))
"""Waymo's cameras look along x, with y to the left and z up."""
FRAME, CAMERA, LASER = "key.frame_timestamp_micros", "key.camera_name", "key.laser_name"
IMAGE, LENS = "[CameraImageComponent]", "[CameraCalibrationComponent]"
RANGES, SCANNER, MOMENTS = "[LiDARComponent]", "[LiDARCalibrationComponent]", "[LiDARPoseComponent]"
VEHICLE = "[VehiclePoseComponent].world_from_vehicle.transform"
INTRINSICS = tuple(f"{LENS}.intrinsic.{name}" for name in ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3"))
Row = dict[str, Any]


def read_waymo(root: Path, alignment: Alignment, options: AnchorOptions | None = None) -> list[Anchor]:
    """Anchors of one segment, ids `<segment>/<camera>/<frame time µs>`.

    Args:
        root: The folder of a split, with a folder per component.
        alignment: Places the segment's world; its covariance goes into every anchor.
        options: `drive` (the segment, where there are several), `cameras`, `scans`, `images`, `dataset`.

    Raises:
        InputError: a table, column or row is missing or damaged; names it.
        UsageError: a segment or camera that is not there.
        OutputError: pictures or scans cannot be written.
    """
    options = options or AnchorOptions()
    wanted = scans_wanted(options)
    segment, folder = _segment(root, options.drive), options.images or root / "unpacked"
    if missing := set(options.cameras) - set(CAMERAS):
        raise UsageError(f"--cameras {', '.join(sorted(missing))}: Waymo has {', '.join(CAMERAS)}")
    lenses = {row[CAMERA]: row for row in _rows(root, "camera_calibration", segment,
              (CAMERA, *INTRINSICS, f"{LENS}.extrinsic.transform", f"{LENS}.width", f"{LENS}.height"))}  # fmt: skip
    scans = {} if wanted == "none" else _scans(root, segment, folder / segment / "TOP", wanted)
    anchors = []
    columns = (FRAME, CAMERA, f"{IMAGE}.image", f"{IMAGE}.pose.transform", f"{IMAGE}.pose_timestamp")
    for row in _rows(root, "camera_image", segment, columns):
        where, number = f"{root / 'camera_image' / segment}.parquet, frame {row[FRAME]}", int(row[CAMERA])
        if not 1 <= number <= len(CAMERAS) or number not in lenses:
            raise InputError(f"{where}: camera {number} has no calibration")
        name = CAMERAS[number - 1]
        if options.cameras and name not in options.cameras:
            continue
        path = write_once(folder / segment / name / f"{row[FRAME]}.jpg", row[f"{IMAGE}.image"])
        camera, vehicle_from_cam = _camera(where, lenses[number])
        require_size(path, camera.width, camera.height, "camera_calibration", where)
        world_from_cam = _pose(where, row[f"{IMAGE}.pose.transform"]) @ vehicle_from_cam
        lidar = None
        if (scan := scans.get(row[FRAME])) is not None:
            lidar = LidarScan(scan[0], KITTI_BIN, world_from_cam.inverse() @ scan[1])
        elif wanted == "required":
            raise InputError(f"{where}: the top laser has no scan; use --scans if_present to go without")
        anchors.append(
            Anchor(
                id=f"{segment}/{name}/{row[FRAME]}",
                dataset=options.dataset or "waymo",
                path=path,
                camera=camera,
                world_from_cam=alignment.apply(world_from_cam),
                alignment_id=alignment.id,
                captured_at=utc_from_nanoseconds(round(row[f"{IMAGE}.pose_timestamp"] * 1e6) * 1000),
                lidar=lidar,
                drive_id=segment,
                attribution=ATTRIBUTION,
            )
        )
    if not anchors:
        raise InputError(f"{root / 'camera_image' / segment}.parquet: no picture of {', '.join(options.cameras)}")
    return anchors


def _camera(where: str, row: Row) -> tuple[Camera, Pose]:
    """(camera, vehicle_from_cam)."""
    fx, fy, cx, cy, *distortion = (float(row[name]) for name in INTRINSICS)
    try:
        size = int(row[f"{LENS}.width"]), int(row[f"{LENS}.height"])
        camera = Camera.from_opencv(*size, (fx, fy, cx, cy), distortion)
    except ValueError as error:
        raise InputError(f"{where}: camera_calibration: {error}") from None
    return camera, _pose(where, row[f"{LENS}.extrinsic.transform"]) @ WAYMO_FROM_CAM


def _scans(root: Path, segment: str, folder: Path, scans: str) -> dict[int, tuple[Path, Pose]]:
    """(file, world_from_vehicle at the frame's time) by frame."""
    if scans == "if_present" and not (root / "lidar" / f"{segment}.parquet").is_file():
        return {}
    columns = (LASER, f"{SCANNER}.extrinsic.transform", f"{SCANNER}.beam_inclination.values")
    calibrations = {row[LASER]: row for row in _rows(root, "lidar_calibration", segment, columns)}
    if TOP not in calibrations:
        raise InputError(f"{root / 'lidar_calibration' / segment}.parquet: the top laser is missing")
    where = f"{root / 'lidar_calibration' / segment}.parquet"
    vehicle_from_lidar = _pose(where, calibrations[TOP][columns[1]])
    inclinations = np.atleast_1d(np.asarray(calibrations[TOP][columns[2]], float))
    vehicles = {row[FRAME]: row[VEHICLE] for row in _rows(root, "vehicle_pose", segment, (FRAME, VEHICLE))}
    found, image = {}, "range_image_return1"
    ranges = _rows(root, "lidar", segment, (FRAME, LASER, f"{RANGES}.{image}.values", f"{RANGES}.{image}.shape"))
    moments = _rows(
        root, "lidar_pose", segment, (FRAME, LASER, f"{MOMENTS}.{image}.values", f"{MOMENTS}.{image}.shape")
    )
    of_top = (row for row in ranges if row[LASER] == TOP)
    for row, moment in zip(of_top, (row for row in moments if row[LASER] == TOP), strict=False):
        where = f"{root / 'lidar' / segment}.parquet, frame {row[FRAME]}"
        if moment[FRAME] != row[FRAME] or row[FRAME] not in vehicles:
            raise InputError(f"{where}: lidar_pose or vehicle_pose has no row of that time")
        world_from_vehicle = _pose(where, vehicles[row[FRAME]])
        pixels, poses = (_image(where, one, f"{name}.{image}") for one, name in ((row, RANGES), (moment, MOMENTS)))
        if pixels.shape[:2] != poses.shape[:2] or poses.shape[2] != 6 or len(pixels) != len(inclinations):
            raise InputError(f"{where}: range image {pixels.shape}, poses {poses.shape}, {len(inclinations)} beams")
        points = returns_in_world(pixels[..., 0], inclinations, vehicle_from_lidar, poses)
        points = world_from_vehicle.inverse().apply(points)
        found[row[FRAME]] = write_scan(folder / f"{row[FRAME]}.bin", points), world_from_vehicle
    return found


def _image(where: str, row: Row, name: str) -> np.ndarray:
    """(H, W, C) of the values and the shape."""
    try:
        return np.asarray(row[f"{name}.values"], np.float64).reshape([int(n) for n in row[f"{name}.shape"]])
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {name}: {error}") from None


def _pose(where: str, numbers: Any) -> Pose:
    try:
        return Pose.from_matrix(np.asarray(numbers, float).reshape(4, 4))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: not a rigid 4×4 transform ({error})") from None


def _rows(root: Path, component: str, segment: str, columns: tuple[str, ...]) -> Iterator[Row]:
    """Rows of a table, a few at a time: a segment's pictures are half a gigabyte."""
    from pyarrow import parquet

    path = root / component / f"{segment}.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such table of Waymo v2; download the component {component}")
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=8, columns=list(columns)):
                names = batch.schema.names
                if missing := [name for name in columns if name not in names]:
                    raise InputError(f"{path}: no column {missing[0]}")
                for number in range(batch.num_rows):
                    yield {name: _plain(batch.column(name)[number]) for name in columns}
    except InputError:
        raise
    except Exception as error:  # pyarrow's errors have no common class
        raise InputError(f"{path}: not a Parquet table with {', '.join(columns)} ({error})") from None


def _plain(scalar: Any) -> Any:
    """A number, text or bytes; of a list its values as an array."""
    values = getattr(scalar, "values", None)
    return scalar.as_py() if values is None else values.to_numpy(zero_copy_only=False)


def _segment(root: Path, wanted: str | None) -> str:
    names = sorted(path.stem for path in (root / "camera_image").glob("*.parquet"))
    found = [name for name in names if wanted in (None, name)]
    if len(found) != 1:
        raise UsageError(f"{root}: name one segment with --drive; there are {', '.join(names) or 'none'}")
    return found[0]


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    alignment = given_alignment("waymo", options, "the world of a segment has no place on earth")
    return alignment, read_waymo(path, alignment, options)


FORMAT = AnchorFormat(
    "waymo",
    "folder of a split of Waymo v2: camera_image/, camera_calibration/, vehicle_pose/, lidar*/ with SEGMENT.parquet",
    "--alignment; --drive where there are several segments",
    lambda path: (path / "camera_image").is_dir() and (path / "vehicle_pose").is_dir(),
    _read,
    ("alignment", "drive", "cameras", "scans", "images"),
)
