"""OXTS packets of KITTI raw: latitude, longitude, altitude, roll, pitch, yaw, velocities, rates → timed poses in ENU.

Body axes are x forward, y left, z up; yaw is 0 towards east and counter-clockwise, so world_from_imu = Rz·Ry·Rx.
Packets were picked as the nearest of a 100 Hz stream and lie 4–12 ms off the images: up to 10 cm at 9 m/s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.readers.sensor_folder import SensorFolder
from geocorrect.anchors.readers.timestamps import NANOSECONDS_PER_SECOND, seconds_text
from geocorrect.anchors.trajectory import DEFAULT_MAX_GAP_S, Trajectory
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float, Pose

COLUMNS = 30
LAT, LON, ALT, ROLL, PITCH, YAW, VN, VE, VU = 0, 1, 2, 3, 4, 5, 6, 7, 10
RATES = slice(17, 20)
POSITION_ACCURACY = 23


@dataclass(frozen=True, eq=False)
class Oxts:
    """Packets of one drive in an ENU frame."""

    trajectory: Trajectory
    """frame_from_imu of every packet."""
    velocity_m_s: Float
    """(N, 3) ENU."""
    rate_rad_s: Float
    """(N, 3) about the body axes."""
    position_sigma_m: Float
    """(N,) as the receiver states it."""

    def pose_at(self, time_ns: int) -> Pose:
        """frame_from_imu at a time: interpolated between packets, or carried from the first or last one.

        Beyond the first or last packet the pose is moved by the packet's own velocity and rates, over half a packet
        interval at most (image 0 of a drive lies a few milliseconds before packet 0). InputError outside.
        """
        if self.trajectory.covers(time_ns):
            return self.trajectory.pose_at(time_ns)
        times = self.trajectory.time_ns
        nearest = int(np.argmin(np.abs(times - time_ns)))
        reach_s = 0.5 * float(np.median(np.diff(times))) / NANOSECONDS_PER_SECOND
        if abs(int(times[nearest]) - time_ns) > reach_s * NANOSECONDS_PER_SECOND:
            raise InputError(
                f"{self.trajectory.name}: no packet within {reach_s:.3f} s of {seconds_text(time_ns)}; "
                "the copy is partial or the times do not belong together"
            )
        return self.carried(nearest, time_ns)

    def carried(self, index: int, time_ns: int) -> Pose:
        """frame_from_imu of one packet moved to another time by its velocity and angular rates."""
        dt_s = (time_ns - int(self.trajectory.time_ns[index])) / NANOSECONDS_PER_SECOND
        pose = self.trajectory.pose(index)
        turn = Rotation.from_rotvec(self.rate_rad_s[index] * dt_s)
        return Pose(pose.rotation * turn, pose.translation_m + self.velocity_m_s[index] * dt_s)


def read_packets(packets: SensorFolder) -> Float:
    """(N, 30) numbers of every packet; InputError naming the file."""
    rows = []
    for path in packets.paths:
        try:
            values = np.array([float(text) for text in path.read_text(encoding="ascii").split()])
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not an OXTS packet ({error})") from None
        if len(values) != COLUMNS or not np.isfinite(values).all():
            raise InputError(f"{path}: {len(values)} values, expected {COLUMNS} finite numbers")
        if not (-90 <= values[LAT] <= 90 and -180 <= values[LON] <= 180) or (values[LAT] == values[LON] == 0):
            raise InputError(f"{path}: latitude {values[LAT]}, longitude {values[LON]} is no position")
        rows.append(values)
    return np.array(rows)


def oxts_in_frame(
    packets: SensorFolder, values: Float, frame: Frame, undulation_m: float, max_gap_s: float = DEFAULT_MAX_GAP_S
) -> Oxts:
    """Poses of the IMU in `frame`. undulation_m is added to the altitude to make it ellipsoidal."""
    heights = values[:, ALT] + undulation_m
    position = frame.enu_from_wgs84(values[:, LON], values[:, LAT], heights)
    here = [Frame("packet", v[LON], v[LAT], h) for v, h in zip(values, heights, strict=True)]
    turn = Rotation.concatenate([frame.this_from(local).rotation for local in here])
    level = Rotation.from_euler("ZYX", values[:, [YAW, PITCH, ROLL]])
    velocity = turn.apply(values[:, [VE, VN, VU]])
    trajectory = Trajectory(str(packets.folder), packets.time_ns, position, turn * level, max_gap_s)
    return Oxts(trajectory, velocity, values[:, RATES], values[:, POSITION_ACCURACY])
