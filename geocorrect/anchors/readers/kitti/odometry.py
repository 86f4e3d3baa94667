"""KITTI odometry sequences: rectified images with the benchmark's poses, placed by an alignment.

    sequences/NN/{calib.txt, times.txt, image_2/000000.png, velodyne/000000.bin}
    poses/NN.txt        local_from_cam0, twelve numbers a line; local is the first camera 0 (x right, y down, z forward)

P0 … P3 of calib.txt are the rectified cameras, Tr is cam0_from_velo. The benchmark does not say where a sequence lies:
`--alignment` does. The scanner faces ahead as the cameras are triggered, so scan and image of a number belong together.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, given_alignment, require_size, scans_wanted, wanted_frames
from geocorrect.anchors.readers.kitti.calibration import FOCAL_SIGMA, read_calibration, rectified_camera
from geocorrect.anchors.readers.kitti.raw import KITTI_ATTRIBUTION
from geocorrect.anchors.scan import KITTI_BIN
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import image_size
from geocorrect.io.text_file import finite_numbers, read_text
from geocorrect.records import Anchor, LidarScan

DEFAULT_CAMERAS = ("2", "3")


def read_kitti_odometry(
    folder: Path, poses: Path, alignment: Alignment, options: AnchorOptions | None = None
) -> list[Anchor]:
    """Anchors of one sequence, with ids `odometry_NN/image_C/<frame number>`.

    Args:
        folder: sequences/NN.
        poses: poses/NN.txt.
        alignment: Places the first camera 0; its covariance goes into every anchor.
        options: `cameras`, `frames`, `scans`, `dataset`.

    Raises:
        InputError: something is missing or damaged; names file and line.
    """
    options = options or AnchorOptions()
    scans = scans_wanted(options)
    local_from_cam0 = _poses(poses)
    calibration = read_calibration(folder / "calib.txt")
    anchors: list[Anchor] = []
    for camera in options.cameras or DEFAULT_CAMERAS:
        images = folder / f"image_{camera}"
        paths = [path for path in sorted(images.glob("*.png")) if path.stem.isdecimal()]
        if not paths:
            raise InputError(f"{images}: no such folder, or no images in it; choose others with --cameras")
        matrix, cam_from_cam0 = rectified_camera(folder / "calib.txt", calibration, f"P{camera}")
        pinhole = Camera.pinhole(*image_size(paths[0]), matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        cam_from_lidar = cam_from_cam0 @ _rigid(folder / "calib.txt", calibration, "Tr")
        for path in wanted_frames(paths, options.frames):
            number = int(path.stem)
            if number >= len(local_from_cam0):
                raise InputError(f"{path}: no pose; {poses} has {len(local_from_cam0)} lines")
            require_size(path, pinhole.width, pinhole.height, str(paths[0]))
            local_from_cam = local_from_cam0[number] @ cam_from_cam0.inverse()
            anchors.append(
                Anchor(
                    id=f"odometry_{folder.name}/image_{camera}/{number:06d}",
                    dataset=options.dataset or "kitti-odometry",
                    path=path.resolve(),
                    camera=replace(pinhole, focal_sigma=FOCAL_SIGMA),
                    world_from_cam=alignment.apply(local_from_cam),
                    alignment_id=alignment.id,
                    lidar=kitti_scan(folder / "velodyne" / f"{path.stem}.bin", cam_from_lidar, scans),
                    drive_id=f"odometry_{folder.name}",
                    attribution=KITTI_ATTRIBUTION,
                )
            )
    return anchors


def kitti_scan(path: Path, cam_from_lidar: Pose, scans: str) -> LidarScan | None:
    """The scan of a picture, None where none is wanted or, with "if_present", there; InputError where one must be."""
    if scans == "none" or (scans == "if_present" and not path.is_file()):
        return None
    if not path.is_file():
        raise InputError(f"{path}: no such scan; use --scans if_present to go without")
    return LidarScan(path.resolve(), KITTI_BIN, cam_from_lidar)


def _poses(path: Path) -> list[Pose]:
    lines = read_text(path, "no such file of poses; name it with --ground-truth").rstrip().split("\n")
    return [_pose(f"{path}, line {number}", line) for number, line in enumerate(lines, 1)]


def _pose(where: str, line: str) -> Pose:
    try:
        return Pose.from_matrix(np.array(finite_numbers(where, line.split(), 12)).reshape(3, 4))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _rigid(path: Path, table: dict[str, str], key: str) -> Pose:
    if key not in table:
        raise InputError(f"{path}: key {key} is missing; download the calibration with the velodyne data")
    return _pose(f"{path}: {key}", table[key])


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    folder = path.resolve()
    poses = options.ground_truth or folder.parents[1] / "poses" / f"{folder.name}.txt"
    alignment = given_alignment("kitti-odometry", options, "the benchmark has no place on earth")
    return alignment, read_kitti_odometry(folder, poses, alignment, options)


FORMAT = AnchorFormat(
    "kitti-odometry",
    "folder sequences/NN of the KITTI odometry benchmark: calib.txt, times.txt, image_2/; ../../poses/NN.txt",
    "--alignment",
    lambda path: all((path / name).is_file() for name in ("calib.txt", "times.txt")),
    _read,
    ("alignment", "ground_truth", "cameras", "frames", "scans"),
)
