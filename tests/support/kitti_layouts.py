"""KITTI odometry, raw and KITTI-360 in their published layouts, of a recorded drive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.demo.world.drives import FRAME as DEMO
from geocorrect.demo.world.drives import LIDAR_FROM_CAMERA
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from support.recorded_drive import Float, Recording

TINY = Recording()
NAME_360 = "2013_05_28_drive_0000_sync"
KARLSRUHE = Frame("Karlsruhe", 8.3964, 48.9697, 115.0)
"""The world of the drive lies there."""
START = datetime(2013, 5, 28, 8, 46, 12, tzinfo=UTC)
BODY_FROM_LIDAR = Pose(Rotation.from_euler("x", 180.0, degrees=True), [0.81, 0.02, -0.8])
BODY_FROM_CAM = {
    "00": BODY_FROM_LIDAR @ LIDAR_FROM_CAMERA,
    "01": BODY_FROM_LIDAR @ LIDAR_FROM_CAMERA @ Pose(Rotation.from_euler("y", 0.01), [0.6, 0.0, 0.0]),
}
CAM_FROM_RECT = {"00": Rotation.from_rotvec([0.01, -0.02, 0.005]), "01": Rotation.from_rotvec([-0.01, -0.03, 0.002])}
UNTURNED = dict.fromkeys(CAM_FROM_RECT, Rotation.identity())


def body(time_s: float, recording: Recording = TINY) -> Pose:
    """In the frame KARLSRUHE; forward, right, down."""
    return recording.world_from_lidar(time_s) @ BODY_FROM_LIDAR.inverse()


def mercator(lon: float, lat: float) -> tuple[float, float]:
    """As the devkit has it."""
    er, scale = 6378137.0, np.cos(48.9843445 * np.pi / 180)

    def plane(lat: float, lon: float) -> np.ndarray:
        return np.array([scale * lon * np.pi * er / 180, scale * er * np.log(np.tan((90 + lat) * np.pi / 360))])

    x, y = plane(lat, lon) - plane(48.9843445, 8.4295857)
    return float(x), float(y)


def row(values: Float) -> str:
    return " ".join(map(repr, np.asarray(values, float).ravel().tolist()))


def write_kitti360(
    root: Path, recording: Recording = TINY, rectified: Mapping[str, Rotation] = CAM_FROM_RECT, stands: int | None = 2
) -> None:
    """rectified: how much its pictures are turned; stands: a frame without a pose, as if the car stood."""
    calibration, poses = root / "calibration", root / "data_poses" / NAME_360
    scans = root / "data_3d_raw" / NAME_360 / "velodyne_points" / "data"
    for folder in (calibration, poses, scans):
        folder.mkdir(parents=True)
    lines = [f"image_{name}: {row(pose.matrix[:3])}" for name, pose in BODY_FROM_CAM.items()]
    (calibration / "calib_cam_to_pose.txt").write_text("\n".join(lines))
    lidar_from_cam = BODY_FROM_LIDAR.inverse() @ BODY_FROM_CAM["00"]
    (calibration / "calib_cam_to_velo.txt").write_text(row(lidar_from_cam.matrix[:3]))
    c = recording.camera
    k = np.column_stack([c.intrinsic_matrix, np.zeros(3)])
    lines = [f"P_rect_{n}: {row(k)}\nR_rect_{n}: {row(r.inv().as_matrix())}\nS_rect_{n}: {c.width}.0 {c.height}.0"
             for n, r in rectified.items()]  # fmt: skip
    (calibration / "perspective.txt").write_text("\n".join(lines))
    lines = []
    for number, time_s in enumerate(recording.times_s):
        pose = body(time_s, recording)
        lon, lat, height = (float(v) for v in KARLSRUHE.wgs84_from_enu(pose.translation_m))
        turn = (Frame("here", lon, lat, height).this_from(KARLSRUHE) @ pose).rotation.as_matrix()
        if number != stands:
            lines.append(f"{number} {row(np.column_stack([turn, [*mercator(lon, lat), height - 48.0]]))}")
        for name in BODY_FROM_CAM:
            recording.picture(
                root / "data_2d_raw" / NAME_360 / f"image_{name}" / "data_rect" / f"{number:010d}.png", number, c
            )
        points = recording.scan(number, recording.world_from_lidar(time_s))
        points.astype("<f4").tofile(scans / f"{number:010d}.bin")
    (poses / "poses.txt").write_text("\n".join(lines) + "\n")
    for name in BODY_FROM_CAM:
        folder = root / "data_2d_raw" / NAME_360 / f"image_{name}"
        write_stamps(folder / "timestamps.txt", recording)


def write_stamps(path: Path, recording: Recording) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stamps = [START + timedelta(seconds=time_s) for time_s in recording.times_s]
    path.write_text("".join(f"{at:%Y-%m-%d %H:%M:%S.%f}000\n" for at in stamps))


def write_odometry(folder: Path, recording: Recording = TINY) -> None:
    """sequences/07 under a folder, and its poses: of camera 0 at the first picture."""
    sequence, c, times_s = folder / "sequences" / "07", recording.camera, recording.times_s
    (sequence / "velodyne").mkdir(parents=True)
    projection = row(np.column_stack([c.intrinsic_matrix, np.zeros(3)]))
    tie = row(LIDAR_FROM_CAMERA.inverse().matrix[:3])
    (sequence / "calib.txt").write_text(f"P0: {projection}\nP2: {projection}\nTr: {tie}\n")
    (sequence / "times.txt").write_text("".join(f"{time_s - times_s[0]:e}\n" for time_s in times_s))
    (folder / "poses").mkdir()
    first = recording.world_from_cam(times_s[0]).inverse()
    poses = [row((first @ recording.world_from_cam(time_s)).matrix[:3]) for time_s in times_s]
    (folder / "poses" / "07.txt").write_text("\n".join(poses) + "\n")
    for number, time_s in enumerate(times_s):
        recording.picture(sequence / "image_2" / f"{number:06d}.png", number, c)
        points = recording.scan(number, recording.world_from_lidar(time_s))
        points.astype("<f4").tofile(sequence / "velodyne" / f"{number:06d}.bin")


def write_kitti_raw(folder: Path, recording: Recording = TINY) -> None:
    """A drive whose IMU stands where the scanner does; packets at the pictures' times; the world lies in DEMO."""
    date = folder / "2011_09_26"
    drive, c = date / "2011_09_26_drive_0001_sync", recording.camera
    cam_from_velo = LIDAR_FROM_CAMERA.inverse()
    date.mkdir(parents=True)
    for name, pose in (("velo_to_cam", cam_from_velo), ("imu_to_velo", Pose.identity())):
        text = f"R: {row(pose.rotation.as_matrix())}\nT: {row(pose.translation_m)}\n"
        (date / f"calib_{name}.txt").write_text(f"calib_time: 1-Jan-2011 00:00:00\n{text}")
    projection = row(np.column_stack([c.intrinsic_matrix, np.zeros(3)]))
    lines = [
        f"S_rect_{n}: {c.width} {c.height}\nR_rect_{n}: {row(np.eye(3))}\nP_rect_{n}: {projection}"
        for n in ("00", "02")
    ]
    (date / "calib_cam_to_cam.txt").write_text("calib_time: 1-Jan-2011 00:00:00\n" + "\n".join(lines) + "\n")
    for sensor in ("oxts", "velodyne_points", "image_02"):
        (drive / sensor / "data").mkdir(parents=True)
        write_stamps(drive / sensor / "timestamps.txt", recording)
    for sensor in ("start", "end"):
        write_stamps(drive / "velodyne_points" / f"timestamps_{sensor}.txt", recording)
    for number, time_s in enumerate(recording.times_s):
        pose = recording.world_from_lidar(time_s)
        lon, lat, height = (float(v) for v in DEMO.wgs84_from_enu(pose.translation_m))
        yaw, pitch, roll = (Frame("here", lon, lat, height).this_from(DEMO) @ pose).rotation.as_euler("ZYX")
        before, after = (recording.world_from_lidar(time_s + s).translation_m for s in (-0.01, 0.01))
        north, east, up = ((after - before) / 0.02)[[1, 0, 2]]
        packet = np.zeros(30)
        packet[:6], packet[[6, 7, 10]], packet[23] = [lat, lon, height, roll, pitch, yaw], [north, east, up], 0.02
        (drive / "oxts" / "data" / f"{number:010d}.txt").write_text(row(packet))
        recording.picture(drive / "image_02" / "data" / f"{number:010d}.png", number, c)
        points = recording.scan(number, pose)
        points.astype("<f4").tofile(drive / "velodyne_points" / "data" / f"{number:010d}.bin")
