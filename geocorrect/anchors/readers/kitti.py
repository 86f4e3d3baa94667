"""KITTI raw drives (synced and rectified): anchors with GNSS poses, and images with known truth for evaluation.

    DATE/calib_cam_to_cam.txt, calib_velo_to_cam.txt, calib_imu_to_velo.txt
    DATE/DRIVE_sync/image_02, image_03, velodyne_points, oxts   each data/ + timestamps.txt

The scene's frame has its origin at the first OXTS packet. Altitudes are taken as they are (see `KittiOptions`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.lidar import ScanSeries
from geocorrect.anchors.readers.kitti_calibration import KittiCalibration, read_kitti_calibration
from geocorrect.anchors.readers.oxts import ALT, LAT, LON, Oxts, oxts_in_frame, read_packets
from geocorrect.anchors.readers.sensor_folder import SensorFolder, read_sensor_folder
from geocorrect.anchors.readers.timestamps import utc_from_nanoseconds
from geocorrect.anchors.scan import KITTI_BIN
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.pixels import image_size
from geocorrect.records import Anchor, Attribution, LidarScan

KITTI_ATTRIBUTION = Attribution(
    "KITTI Vision Benchmark Suite", "https://www.cvlibs.net/datasets/kitti/", "CC BY-NC-SA 3.0"
)


@dataclass(frozen=True)
class KittiOptions:
    """What to take from a drive.

    drive: name such as 2011_09_26_drive_0002_sync when the folder holds several. cameras: rectified colour cameras.
    geoid_undulation_m: added to OXTS altitudes; they agree with heights above sea level (116 m in Karlsruhe, where the
    geoid lies 48 m above the ellipsoid), so 0 leaves the scene 48 m low in absolute height and exact in plan.
    rotation_sigma_deg: of the inertial unit, for the anchors' covariance.
    """

    drive: str | None = None
    cameras: tuple[str, ...] = ("02", "03")
    geoid_undulation_m: float = 0.0
    rotation_sigma_deg: float = 0.05
    max_scan_offset_s: float = 0.06


@dataclass(frozen=True, eq=False)
class KittiImage:
    """One rectified image with its true pose at the time of exposure. lidar is None where no scan is near in time."""

    id: str
    camera_name: str
    frame_number: int
    path: Path
    camera: Camera
    captured_at: datetime | None
    world_from_cam: Pose
    lidar: LidarScan | None


@dataclass(frozen=True, eq=False)
class KittiDrive:
    """A drive in its own local frame (ENU at the first OXTS packet)."""

    name: str
    alignment: Alignment
    images: tuple[KittiImage, ...]

    @property
    def frame(self) -> Frame:
        """The ENU frame of every pose of this drive."""
        return self.alignment.frame

    def anchors(
        self, cameras: Collection[str] | None = None, frame_numbers: Collection[int] | None = None
    ) -> list[Anchor]:
        """Images as anchors, optionally only of some cameras and frame numbers."""
        return [
            self._anchor(image)
            for image in self.images
            if (cameras is None or image.camera_name in cameras)
            and (frame_numbers is None or image.frame_number in frame_numbers)
        ]

    def _anchor(self, image: KittiImage) -> Anchor:
        return Anchor(
            id=image.id,
            dataset="kitti-raw",
            path=image.path,
            camera=image.camera,
            world_from_cam=image.world_from_cam,
            alignment_id=self.alignment.id,
            captured_at=image.captured_at,
            lidar=image.lidar,
            drive_id=self.name,
            attribution=KITTI_ATTRIBUTION,
        )


def read_kitti_raw(folder: Path, options: KittiOptions | None = None) -> KittiDrive:
    """Read one drive; `folder` is the drive, the date folder above it, or the folder above that.

    Raises InputError naming the folder or file that is missing, damaged, of the wrong size, or has no pose.
    """
    options = options or KittiOptions()
    drive = _find_drive(folder, options.drive)
    packets = read_sensor_folder(drive / "oxts", ".txt")
    values = read_packets(packets)
    first = values[0]
    height_m = float(first[ALT]) + options.geoid_undulation_m
    frame = Frame(drive.name, float(first[LON]), float(first[LAT]), height_m)
    oxts = oxts_in_frame(packets, values, frame, options.geoid_undulation_m)
    scans = None
    if (drive / "velodyne_points").is_dir():
        clouds = read_sensor_folder(drive / "velodyne_points", ".bin")
        scans = ScanSeries(clouds.paths, clouds.time_ns, KITTI_BIN)
    images: list[KittiImage] = []
    for name in options.cameras:
        calibration = read_kitti_calibration(drive.parent, name)
        folder_of_camera = read_sensor_folder(drive / f"image_{name}", ".png")
        camera_drive = _CameraDrive(drive.name, name, calibration, folder_of_camera, scans, oxts, options)
        images += [camera_drive.image(index) for index in range(len(folder_of_camera))]
    return KittiDrive(drive.name, Alignment(frame, Similarity.identity(), method="gnss"), tuple(images))


@dataclass(frozen=True, eq=False)
class _CameraDrive:
    """One camera of a drive: makes its images."""

    drive: str
    name: str
    calibration: KittiCalibration
    images: SensorFolder
    scans: ScanSeries | None
    oxts: Oxts
    options: KittiOptions

    def image(self, index: int) -> KittiImage:
        path, time_ns = self.images.paths[index], int(self.images.time_ns[index])
        camera = self.calibration.camera
        if image_size(path) != (camera.width, camera.height):
            raise InputError(
                f"{path}: the image is {image_size(path)} pixels, calib_cam_to_cam.txt says "
                f"{camera.width}×{camera.height}; use the synced and rectified drive of the same date"
            )
        try:
            world_from_imu = self.oxts.pose_at(time_ns)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        world_from_cam = (world_from_imu @ self.calibration.imu_from_cam).with_covariance(self._covariance(time_ns))
        return KittiImage(
            id=f"{self.drive}/image_{self.name}/{int(self.images.number[index]):010d}",
            camera_name=self.name,
            frame_number=int(self.images.number[index]),
            path=path.resolve(),
            camera=camera,
            captured_at=utc_from_nanoseconds(time_ns),
            world_from_cam=world_from_cam,
            lidar=self._scan(time_ns),
        )

    def _covariance(self, time_ns: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        nearest = int(np.argmin(np.abs(self.oxts.trajectory.time_ns - time_ns)))
        position = float(self.oxts.position_sigma_m[nearest])
        rotation = np.radians(self.options.rotation_sigma_deg)
        return np.diag([position**2] * 3 + [rotation**2] * 3)

    def _scan(self, time_ns: int) -> LidarScan | None:
        """The scan of this image, carried to its exposure: stamps are 10 ms apart, and the motion in them is real.

        Measured on drive 0002 by PnP on SIFT matches (4 frames, 3.6 m): ignoring it biases depth by 8 cm at 9 m/s and
        pose by 1.2 cm forward; with it 0.6 cm.
        """
        nearest = None if self.scans is None else self.scans.nearest(time_ns, self.options.max_scan_offset_s)
        if self.scans is None or nearest is None:
            return None
        world_from_cam = self.oxts.pose_at(time_ns) @ self.calibration.imu_from_cam
        imu_from_velo = self.calibration.velo_from_imu.inverse()
        world_from_lidar = self.oxts.pose_at(int(self.scans.time_ns[nearest])) @ imu_from_velo
        return self.scans.scan(nearest, world_from_cam.inverse() @ world_from_lidar)


def _find_drive(folder: Path, wanted: str | None) -> Path:
    """The one folder with oxts/ at or below `folder` (two levels), of the wanted name if one is given."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    candidates = [folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*"))]
    drives = [path for path in candidates if (path / "oxts").is_dir() and wanted in (None, path.name)]
    if not drives:
        raise InputError(f"{folder}: no KITTI raw drive{f' {wanted!r}' if wanted else ''} (a folder with oxts/) here")
    if len(drives) > 1:
        raise InputError(f"{folder}: several drives ({', '.join(d.name for d in drives)}); name one with --drive")
    return drives[0]
