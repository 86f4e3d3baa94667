"""ZOD sequences and drives: the front camera's pictures and the nearest scans as anchors.

    SEQUENCE/{info,calibration,ego_motion}.json
    SEQUENCE/camera_front_blur/*.jpg (or _dnat, _original), SEQUENCE/lidar_velodyne/*.npy

Poses are interpolated at the moment of the picture and of every return (those of scans that info.json says are
compensated: of the scan), so that the scan is as the car would have seen it standing where the picture was taken. It is
written to --images (default: unpacked/ in the sequence). Poses count from the car at the start of the sequence; of it
ego_motion.json holds longitude and latitude, neither heading nor height: --alignment places them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.driving.unpacked import write_scan
from geocorrect.anchors.readers.format import AnchorFormat, given_alignment, require_size, scans_wanted
from geocorrect.anchors.readers.timestamps import utc_from_nanoseconds
from geocorrect.anchors.scan import KITTI_BIN
from geocorrect.anchors.trajectory import Trajectory
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.pose import Float, Pose
from geocorrect.io.pixels import read_bytes
from geocorrect.io.text_file import read_json
from geocorrect.records import Anchor, Attribution, LidarScan

ATTRIBUTION = Attribution("Zenseact Open Dataset", "https://zod.zenseact.com", "CC BY-SA 4.0")
FILES = ("info.json", "calibration.json", "ego_motion.json")
CAMERAS = ("front_blur", "front_dnat", "front_original")
"""How faces and number plates are hidden; the first that is there is taken."""
LASER = "velodyne"
MAX_SCAN_S = 0.06
"""Scans come every 0.1 s."""
STEP_NS = 500_000
"""Poses of returns are interpolated this finely: 1 cm at 20 m/s."""


def read_zod(folder: Path, alignment: Alignment, options: AnchorOptions | None = None) -> list[Anchor]:
    """Anchors of one sequence or drive, ids `<sequence>/<picture>`.

    Args:
        folder: The sequence.
        alignment: Places its first pose; its covariance goes into every anchor.
        options: `cameras` (front_blur, …), `scans`, `images`, `dataset`.

    Raises:
        InputError: a file, field or picture is missing or damaged, or outside the poses' time.
        UsageError: a camera that is not there.
        OutputError: scans cannot be written.
    """
    options = options or AnchorOptions()
    wanted = scans_wanted(options)
    info = read_json(folder / FILES[0], "no such file of ZOD")
    drive = _drive(folder / FILES[2])
    camera, ego_from_cam, ego_from_lidar = _calibration(folder / FILES[1])
    frames = _frames(folder, info, "camera_frames")
    name = options.cameras[0] if options.cameras else next((one for one in CAMERAS if one in frames), "")
    if len(options.cameras) > 1 or name not in frames:
        raise UsageError(f"--cameras {','.join(options.cameras)}: name one of {', '.join(frames) or 'none'}")
    scans = [] if wanted == "none" else _frames(folder, info, "lidar_frames").get(LASER, [])
    out, anchors = options.images or folder / "unpacked", []
    for time_ns, path, _ in frames[name]:
        require_size(path, camera.width, camera.height, FILES[1])
        local_from_ego = drive.pose_at(time_ns)
        near = min(scans, key=lambda scan: abs(scan[0] - time_ns), default=None)
        lidar = None
        if near is not None and abs(near[0] - time_ns) <= MAX_SCAN_S * 1e9:
            points = (local_from_ego @ ego_from_lidar).inverse().apply(_returns(near, drive, ego_from_lidar))
            scan = write_scan(out / f"{path.stem}.bin", points)
            lidar = LidarScan(scan, KITTI_BIN, ego_from_cam.inverse() @ ego_from_lidar)
        elif wanted == "required":
            raise InputError(f"{path}: no scan within {MAX_SCAN_S} s; use --scans if_present to go without")
        anchors.append(
            Anchor(
                id=f"{folder.name}/{path.stem}",
                dataset=options.dataset or "zod",
                path=path.resolve(),
                camera=camera,
                world_from_cam=alignment.apply(local_from_ego @ ego_from_cam),
                alignment_id=alignment.id,
                captured_at=utc_from_nanoseconds(time_ns),
                lidar=lidar,
                drive_id=folder.name,
                attribution=ATTRIBUTION,
            )
        )
    return anchors


Frame = tuple[int, Path, bool]
"""Unix nanoseconds, file, whether its returns are compensated."""


def _frames(folder: Path, info: Any, key: str) -> dict[str, list[Frame]]:
    """By sensor, in time order; file names count from the data set's root."""
    found: dict[str, list[Frame]] = {}
    try:
        for sensor, entries in info[key].items():
            found[sensor] = sorted(
                (_time_ns(entry["time"]), folder / Path(entry["filepath"]).parent.name / Path(entry["filepath"]).name,
                 bool(entry.get("is_compensated", False)))
                for entry in entries
            )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / FILES[0]}: {key}: {type(error).__name__} {error}") from None
    return {sensor: frames for sensor, frames in found.items() if frames}


def _time_ns(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text} has no zone")
    return round(moment.timestamp() * 1e6) * 1000


def _drive(path: Path) -> Trajectory:
    data = read_json(path, "no such file of ZOD")
    try:
        matrices, seconds = np.array(data["poses"], float), np.array(data["timestamps"], float)
        order = np.argsort(seconds)
        turns = Rotation.from_matrix(matrices[order, :3, :3])
        times = np.round(seconds[order] * 1e6).astype(np.int64) * 1000
        return Trajectory(str(path), times, matrices[order, :3, 3], turns)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: not poses (N×4×4) with increasing timestamps ({error})") from None


def _calibration(path: Path) -> tuple[Camera, Pose, Pose]:
    """(camera, ego_from_cam, ego_from_lidar); the lens is Kannala and Brandt's."""
    data = read_json(path, "no such file of ZOD")
    try:
        front: Mapping[str, Any] = data["FC"]
        k = np.array(front["intrinsics"], float)[:, :3].reshape(3, 3)
        width, height = (int(n) for n in front["image_dimensions"])
        lens = tuple(float(v) for v in front["distortion"])
        camera = Camera(Projection.FISHEYE_OPENCV, width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2], lens)
        poses = [Pose.from_matrix(np.array(front[name], float)) for name in ("extrinsics", "lidar_extrinsics")]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: FC: {type(error).__name__} {error}") from None
    return camera, poses[0], poses[1]


def _returns(scan: Frame, drive: Trajectory, ego_from_lidar: Pose) -> Float:
    """(N, 3) returns in the drive's frame."""
    time_ns, path, is_compensated = scan
    try:
        cloud = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
        points = np.stack([cloud[axis] for axis in "xyz"], axis=1).astype(np.float64)
        moments = time_ns + cloud["timestamp"].astype(np.int64) * 1000 * (not is_compensated)
    except (ValueError, IndexError, EOFError) as error:
        raise InputError(f"{path}: not a scan of ZOD with x, y, z, timestamp ({error})") from None
    steps, of_step = np.unique(moments // STEP_NS, return_inverse=True)
    # A sweep may begin or end beyond the first or last pose, by less than its own length.
    middle = np.clip(steps * STEP_NS + STEP_NS // 2, drive.time_ns[0], drive.time_ns[-1])
    placed = [drive.pose_at(int(moment)) @ ego_from_lidar for moment in (middle if not is_compensated else [time_ns])]
    turns = np.array([pose.rotation.as_matrix() for pose in placed])[of_step]
    places = np.array([pose.translation_m for pose in placed])[of_step]
    found: Float = np.einsum("nij,nj->ni", turns, points) + places
    return found


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    alignment = given_alignment("zod", options, "poses count from the car at the sequence's start")
    return alignment, read_zod(path, alignment, options)


FORMAT = AnchorFormat(
    "zod",
    "folder of a ZOD sequence or drive: info.json, calibration.json, ego_motion.json, camera_front_*/, lidar_velodyne/",
    "--alignment",
    lambda path: all((path / name).is_file() for name in FILES),
    _read,
    ("alignment", "cameras", "scans", "images"),
)
