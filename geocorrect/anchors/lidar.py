"""Laser scans of a drive: which scan belongs to an image, and where it lies in the camera at the moment of exposure.

Reading and projecting one scan is `depth.scan` and `depth.projection`, named here again because a reader of anchors
looks for them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geocorrect.anchors.readers.timestamps import NANOSECONDS_PER_SECOND, Nanoseconds
from geocorrect.anchors.scan import KITTI_BIN, VBR_BIN, read_scan
from geocorrect.anchors.scan_projection import ProjectionOptions, project_scan
from geocorrect.anchors.trajectory import Trajectory
from geocorrect.geometry.pose import Pose
from geocorrect.records import LidarScan

__all__ = [
    "KITTI_BIN", "VBR_BIN", "ProjectionOptions", "ScanSeries", "cam_from_lidar_at", "project_scan", "read_scan",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class ScanSeries:
    """The scans of one drive with their times. time_ns: (N,) int64, in the order of paths; layout: see `depth.scan`."""

    paths: Sequence[Path]
    time_ns: Nanoseconds
    layout: str

    def nearest(self, time_ns: int, max_offset_s: float) -> int | None:
        """Index of the scan nearest in time; None when it is farther than max_offset_s."""
        if not len(self.time_ns):
            return None
        offset = np.abs(self.time_ns - time_ns)
        index = int(np.argmin(offset))
        return index if offset[index] <= max_offset_s * NANOSECONDS_PER_SECOND else None

    def scan(self, index: int, cam_from_lidar: Pose) -> LidarScan:
        """The record of one scan, tied to a camera."""
        return LidarScan(self.paths[index].resolve(), self.layout, cam_from_lidar)


def cam_from_lidar_at(
    trajectory: Trajectory, base_from_cam: Pose, base_from_lidar: Pose, image_ns: int, scan_ns: int
) -> Pose:
    """Pose of the LiDAR at scan time in the camera at image time: the vehicle's motion in between is in it.

    Raises InputError when the trajectory does not cover one of the two times.
    """
    local_from_cam = trajectory.pose_at(image_ns) @ base_from_cam
    local_from_lidar = trajectory.pose_at(scan_ns) @ base_from_lidar
    return local_from_cam.inverse() @ local_from_lidar
