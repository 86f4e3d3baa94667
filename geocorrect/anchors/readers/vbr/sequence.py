"""VBR sequences, exported with vbr-devkit in its KITTI layout, as anchors.

    SEQ/camera_left/{data/0000000000.png, timestamps.txt}
    SEQ/ouster_points/{data/0000000000.bin, timestamps.txt, .metadata.json}
    vbr_calib.yaml      base_from_sensor of every sensor; the base is the LiDAR
    SEQ_gt.txt          local_from_base, TUM order, local metric frame (not geographic), 20 Hz

Timestamps of images, scans and ground truth are on one axis: the bag's record time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from geocorrect.anchors.alignment import Alignment, read_alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, choice_of, require_size, scans_wanted
from geocorrect.anchors.readers.sensor_folder import SensorFolder, read_sensor_folder
from geocorrect.anchors.readers.timestamps import seconds_text, utc_from_nanoseconds
from geocorrect.anchors.readers.vbr.calibration import RigCamera, VbrCalibration, read_vbr_calibration
from geocorrect.anchors.scan import VBR_BIN
from geocorrect.anchors.trajectory import DEFAULT_MAX_GAP_S, Trajectory, read_tum
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.pose import Pose
from geocorrect.records import Anchor, Attribution, LidarScan

logger = logging.getLogger(__name__)

VBR_ATTRIBUTION = Attribution(
    "VBR: A Vision Benchmark in Rome", "https://rvp-group.net/slam-dataset.html", "CC BY-NC-SA"
)


@dataclass(frozen=True)
class VbrOptions:
    """What to take from a sequence."""

    sequence: str | None = None
    """Name in the anchors' ids; None takes the ground truth's file name without _gt."""
    side: Literal["left", "right"] = "left"
    """Camera."""
    spacing_m: float = 0.0
    """Take an image whenever the drive has gone this far (or turned by spacing_deg); 0 takes every image."""
    spacing_deg: float = 20.0
    scans: Literal["required", "if_present", "none"] = "required"
    """"required" refuses an image without a scan within max_scan_offset_s, "if_present" leaves its LiDAR out, "none"
    reads no scans."""
    uncovered: Literal["refuse", "skip"] = "refuse"
    """What to do with images outside the trajectory's time."""
    max_scan_offset_s: float = 0.06
    max_gap_s: float = DEFAULT_MAX_GAP_S
    """The trajectory is not interpolated across longer gaps."""
    attribution: Attribution = VBR_ATTRIBUTION
    dataset: str = "vbr"
    """Name in the catalog."""


def _detect(path: Path) -> bool:
    return any((path / f"camera_{side}" / "timestamps.txt").is_file() for side in ("left", "right"))


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    if options.ground_truth is None or options.alignment is None:
        raise UsageError("--format vbr needs --ground-truth SEQ_gt.txt and --alignment FILE.json")
    chosen = VbrOptions(
        spacing_m=options.spacing_m,
        scans=scans_wanted(options),  # type: ignore[arg-type]
        uncovered=choice_of("--uncovered", options.uncovered, ("refuse", "skip")),  # type: ignore[arg-type]
        dataset=options.dataset or VbrOptions.dataset,
    )
    inside, beside = path / "vbr_calib.yaml", path.parent / "vbr_calib.yaml"
    calibration = options.calibration or (beside if beside.exists() and not inside.exists() else inside)
    alignment = read_alignment(options.alignment)
    return alignment, read_vbr(path, calibration, options.ground_truth, alignment, chosen)


FORMAT = AnchorFormat(
    "vbr",
    "folder of a VBR sequence: camera_left/, ouster_points/",
    "--ground-truth, --alignment",
    _detect,
    _read,
    ("calibration", "ground_truth", "alignment", "spacing_m", "scans", "uncovered"),
)


@dataclass(frozen=True, eq=False)
class _Drive:
    """Everything that is read once for a sequence."""

    name: str
    images: SensorFolder
    scans: SensorFolder | None
    trajectory: Trajectory
    calibration: VbrCalibration
    rig: RigCamera
    options: VbrOptions


def read_vbr(
    folder: Path, calibration: Path, ground_truth: Path, alignment: Alignment, options: VbrOptions | None = None
) -> list[Anchor]:
    """Anchors of one exported sequence, in time order, with stable ids `<sequence>/camera_<side>/<frame number>`.

    The alignment places the ground truth's local frame on the map; its covariance goes into every anchor.

    Raises:
        InputError: Something is missing or damaged, or an image is outside the trajectory's time, of another size than
            its camera or without a scan; the message names the file.
    """
    drive = _open(folder, calibration, ground_truth, options or VbrOptions())
    anchors = [_anchor(drive, index, local_from_cam, alignment) for index, local_from_cam in _spaced(drive)]
    if not anchors:
        raise InputError(f"{folder}: no image lies within the time of {ground_truth}; do they belong together?")
    return anchors


def _open(folder: Path, calibration: Path, ground_truth: Path, options: VbrOptions) -> _Drive:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; export the sequence with `vbr convert kitti`")
    rig = read_vbr_calibration(calibration)
    trajectory = read_tum(ground_truth, options.max_gap_s)
    images = read_sensor_folder(folder / f"camera_{options.side}", ".png")
    clouds = folder / "ouster_points"
    wanted = options.scans == "required" or (options.scans == "if_present" and clouds.exists())
    scans = read_sensor_folder(clouds, ".bin") if wanted else None
    name = options.sequence or ground_truth.stem.removesuffix("_gt")
    return _Drive(name, images, scans, trajectory, rig, rig.camera(options.side), options)


def _spaced(drive: _Drive) -> Iterator[tuple[int, Pose]]:
    """(index, local_from_cam) of the images to take: covered by the trajectory and spacing_m apart."""
    last: Pose | None = None
    skipped = 0
    for index, path in enumerate(drive.images.paths):
        time_ns = int(drive.images.time_ns[index])
        if drive.options.uncovered == "skip" and not drive.trajectory.covers(time_ns):
            skipped += 1
            continue
        try:
            local_from_base = drive.trajectory.pose_at(time_ns)
        except InputError as error:
            raise InputError(f"{path}: {error}; leave such images out with --uncovered skip") from None
        if last is not None and not _moved(last, local_from_base, drive.options):
            continue
        last = local_from_base
        yield index, local_from_base @ drive.rig.base_from_cam
    if skipped:
        logger.warning("%s: %d images outside the trajectory's time were left out", drive.images.folder, skipped)


def _moved(last: Pose, now: Pose, options: VbrOptions) -> bool:
    step = last.inverse() @ now
    moved_m, turned_deg = np.linalg.norm(step.translation_m), np.degrees(step.rotation.magnitude())
    return bool(moved_m >= options.spacing_m or turned_deg >= options.spacing_deg)


def _anchor(drive: _Drive, index: int, local_from_cam: Pose, alignment: Alignment) -> Anchor:
    path, camera = drive.images.paths[index], drive.rig.camera
    source, advice = str(drive.calibration.path), "; use the calibration of this sequence"
    require_size(path, camera.width, camera.height, source, advice=advice)
    return Anchor(
        id=f"{drive.name}/camera_{drive.options.side}/{int(drive.images.number[index]):010d}",
        dataset=drive.options.dataset,
        path=path.resolve(),
        camera=camera,
        world_from_cam=alignment.apply(local_from_cam),
        alignment_id=alignment.id,
        captured_at=utc_from_nanoseconds(int(drive.images.time_ns[index])),
        lidar=_scan(drive, index, local_from_cam),
        drive_id=drive.name,
        attribution=drive.options.attribution,
    )


def _scan(drive: _Drive, index: int, local_from_cam: Pose) -> LidarScan | None:
    """The scan nearest to an image, tied to the camera at its exposure: the drive's motion in between is in it."""
    if drive.scans is None:
        return None
    time_ns = int(drive.images.time_ns[index])
    nearest = drive.scans.nearest(time_ns, drive.options.max_scan_offset_s)
    if nearest is None or not drive.trajectory.covers(scan_ns := int(drive.scans.time_ns[nearest])):
        if drive.options.scans == "if_present":
            return None
        raise InputError(
            f"{drive.images.paths[index]}: no laser scan within {drive.options.max_scan_offset_s:g} s of "
            f"{seconds_text(time_ns)} that the trajectory covers; use --scans if_present to go without"
        )
    local_from_lidar = drive.trajectory.pose_at(scan_ns) @ drive.calibration.base_from_lidar
    return LidarScan(drive.scans.paths[nearest].resolve(), VBR_BIN, local_from_cam.inverse() @ local_from_lidar)
