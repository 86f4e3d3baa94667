"""KITTI raw drives (synced and rectified): anchors with GNSS poses, and images with known truth for evaluation.

    DATE/calib_cam_to_cam.txt, calib_velo_to_cam.txt, calib_imu_to_velo.txt
    DATE/DRIVE_sync/image_02, image_03, velodyne_points, oxts   each data/ + timestamps.txt

The scene's frame has its origin at the first OXTS packet. Altitudes are taken as they are (see `KittiOptions`).

All cameras of a frame are triggered together, but each has the host's stamp of its own arrival: the grey ones come 6–8
ms after camera 02, which at 9 m/s would be 6 cm of false truth. Every image of a frame gets the instant of camera 02.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, require_size, wanted_frames
from geocorrect.anchors.readers.kitti.calibration import KittiCalibration, read_kitti_calibration
from geocorrect.anchors.readers.kitti.oxts import ALT, LAT, LON, Oxts, oxts_in_frame, read_packets
from geocorrect.anchors.readers.sensor_folder import SensorFolder, read_sensor_folder
from geocorrect.anchors.readers.timestamps import Nanoseconds, read_timestamps, utc_from_nanoseconds
from geocorrect.anchors.scan import KITTI_BIN
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float, Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.records import Anchor, Attribution, LidarScan

TRIGGERED_TOGETHER = ("02", "03", "00", "01")
"""Cameras of the rig; the first of them that a drive has gives the instant of each frame."""
KITTI_ATTRIBUTION = Attribution(
    "KITTI Vision Benchmark Suite", "https://www.cvlibs.net/datasets/kitti/", "CC BY-NC-SA 3.0"
)


@dataclass(frozen=True)
class KittiOptions:
    """What to take from a drive."""

    drive: str | None = None
    """Name such as 2011_09_26_drive_0002_sync when the folder contains several."""
    cameras: tuple[str, ...] = ("02", "03")
    """Rectified colour cameras."""
    geoid_undulation_m: float = 0.0
    """Added to OXTS altitudes, which are above sea level: 0 leaves a scene in Karlsruhe 48 m low and exact in plan."""
    rotation_sigma_deg: float = 0.05
    """Of the inertial unit, for the anchors' covariance."""
    max_scan_offset_s: float = 0.06
    """A scan farther in time from an image than this does not belong to it."""
    frames: str | None = None
    """Frame numbers to take, START:STOP:STEP; None takes all."""
    dataset: str = "kitti-raw"
    """Name in the catalog."""


@dataclass(frozen=True)
class KittiImage(Anchor):
    """One rectified image with its true pose at exposure; lidar is None where no scan is near in time."""

    camera_name: str = ""
    frame_number: int = -1


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

    def anchors(self, cameras: Collection[str] | None = None, frames: Collection[int] | None = None) -> list[Anchor]:
        """The images, optionally only those of some cameras and frame numbers."""
        chosen = [image for image in self.images if cameras is None or image.camera_name in cameras]
        return [image for image in chosen if frames is None or image.frame_number in frames]


def read_kitti_raw(folder: Path, options: KittiOptions | None = None) -> KittiDrive:
    """Read one drive; `folder` is the drive, the date folder above it, or the folder above that.

    Raises InputError naming the folder or file that is missing, damaged, of the wrong size, or has no pose.
    """
    options = options or KittiOptions()
    drive = _find_drive(folder, options.drive)
    packets = read_sensor_folder(drive / "oxts", ".txt")
    values = read_packets(packets)
    lon_deg, lat_deg, altitude_m = (float(values[0][column]) for column in (LON, LAT, ALT))
    frame = Frame(drive.name, lon_deg, lat_deg, altitude_m + options.geoid_undulation_m)
    alignment = Alignment(frame, Similarity.identity(), method="gnss")
    oxts = oxts_in_frame(packets, values, frame, options.geoid_undulation_m)
    has_scans = (drive / "velodyne_points").is_dir()
    scans = read_sensor_folder(drive / "velodyne_points", ".bin") if has_scans else None
    instants_ns = _instants(drive)
    images: list[KittiImage] = []
    for name in options.cameras:
        calibration = read_kitti_calibration(drive.parent, name)
        files = read_sensor_folder(drive / f"image_{name}", ".png")
        camera = _DriveCamera(drive.name, name, calibration, files, instants_ns, scans, oxts, alignment.id, options)
        wanted = set(wanted_frames(files.paths, options.frames))
        images += [camera.image(index) for index, path in enumerate(files.paths) if path in wanted]
    return KittiDrive(drive.name, alignment, tuple(images))


@dataclass(frozen=True, eq=False)
class _DriveCamera:
    """One camera of a drive: makes its images."""

    drive: str
    name: str
    calibration: KittiCalibration
    files: SensorFolder
    instants_ns: Nanoseconds
    """(N,) exposure by frame number."""
    scans: SensorFolder | None
    oxts: Oxts
    alignment_id: str
    options: KittiOptions

    def image(self, index: int) -> KittiImage:
        path, number = self.files.paths[index], int(self.files.number[index])
        camera = self.calibration.camera
        if number >= len(self.instants_ns):
            raise InputError(f"{path}: frame {number} has no instant; the cameras' timestamps.txt differ in length")
        time_ns = int(self.instants_ns[number])
        advice = "; use the synced and rectified drive of the same date"
        require_size(path, camera.width, camera.height, "calib_cam_to_cam.txt", advice=advice)
        try:
            world_from_cam = self.oxts.pose_at(time_ns) @ self.calibration.imu_from_cam
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        return KittiImage(
            id=f"{self.drive}/image_{self.name}/{number:010d}",
            dataset=self.options.dataset,
            path=path.resolve(),
            camera=camera,
            world_from_cam=world_from_cam.with_covariance(self._covariance(time_ns)),
            alignment_id=self.alignment_id,
            captured_at=utc_from_nanoseconds(time_ns),
            lidar=self._scan(time_ns, world_from_cam),
            drive_id=self.drive,
            attribution=KITTI_ATTRIBUTION,
            camera_name=self.name,
            frame_number=number,
        )

    def _covariance(self, time_ns: int) -> Float:
        nearest = int(np.argmin(np.abs(self.oxts.trajectory.time_ns - time_ns)))
        position = float(self.oxts.position_sigma_m[nearest])
        rotation = np.radians(self.options.rotation_sigma_deg)
        return np.diag([position**2] * 3 + [rotation**2] * 3)

    def _scan(self, time_ns: int, world_from_cam: Pose) -> LidarScan | None:
        """The scan of this image, carried to its exposure: stamps are 10 ms apart, and the motion in them is real.

        Measured on drive 0002 by PnP on SIFT matches (4 frames, 3.6 m): ignoring it biases depth by 8 cm at 9 m/s and
        pose by 1.2 cm forward; with it 0.6 cm.
        """
        reach_s = self.options.max_scan_offset_s
        if self.scans is None or (nearest := self.scans.nearest(time_ns, reach_s)) is None:
            return None
        imu_from_velo = self.calibration.velo_from_imu.inverse()
        world_from_lidar = self.oxts.pose_at(int(self.scans.time_ns[nearest])) @ imu_from_velo
        return LidarScan(self.scans.paths[nearest].resolve(), KITTI_BIN, world_from_cam.inverse() @ world_from_lidar)


def _instants(drive: Path) -> Nanoseconds:
    """(N,) when each frame of the rig was exposed, by frame number."""
    stamps = [drive / f"image_{name}" / "timestamps.txt" for name in TRIGGERED_TOGETHER]
    for path in stamps:
        if path.is_file():
            return read_timestamps(path)
    raise InputError(f"{drive}: no camera has a timestamps.txt (looked for {stamps[0]} first)")


def _find_drive(folder: Path, wanted: str | None) -> Path:
    """The one folder with oxts/ at or below `folder` (two levels), of the wanted name if one is given."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    drives = [path for path in _drives(folder) if wanted in (None, path.name)]
    if not drives:
        raise InputError(f"{folder}: no KITTI raw drive{f' {wanted!r}' if wanted else ''} (a folder with oxts/) here")
    if len(drives) > 1:
        raise InputError(f"{folder}: several drives ({', '.join(d.name for d in drives)}); name one with --drive")
    return drives[0]


def _drives(folder: Path) -> list[Path]:
    candidates = [folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*"))]
    return [path for path in candidates if (path / "oxts").is_dir()]


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    chosen = KittiOptions(
        options.drive,
        options.cameras or KittiOptions.cameras,
        options.geoid_undulation_m or 0.0,
        frames=options.frames,
        dataset=options.dataset or KittiOptions.dataset,
    )
    drive = read_kitti_raw(path, chosen)
    return drive.alignment, drive.anchors()


FORMAT = AnchorFormat(
    "kitti-raw",
    "folder of a KITTI raw drive (synced, rectified): DATE/DRIVE_sync with oxts/, calib_*.txt in DATE",
    "",
    lambda path: bool(_drives(path)),
    _read,
    ("drive", "cameras", "frames", "geoid_undulation_m"),
)
