"""The two survey drives that make the anchors: a car with a camera and a LiDAR, one drive in each direction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.records import Float, Float32, ImageArray

LIDAR_ABOVE_ROAD_M = 2.08
GROUND_TRUTH_HZ = 20.0
SPEED_M_S = 5.8
"""Mean speed: a careful survey drive."""
SCAN_DELAY_S = 0.0173
"""The scan belonging to an image is stamped this much later: readers must move the pose, not pair by index."""

CAMERA_SIZE = (1024, 516)
CAMERA_INTRINSICS = (933.62, 928.97, 478.81, 257.43)
CAMERA_DISTORTION = (-0.1512, 0.2104, 0.0002, -0.0011)
LIDAR_FROM_CAMERA = Pose.from_matrix(
    [
        [0.005617111, -0.001288119, 0.999983289, 0.070738557],
        [-0.999983302, -0.001328525, 0.005615378, 0.234350894],
        [0.001321215, -0.999998266, -0.001295541, -0.666049142],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""The camera looks ahead, 0.67 m below and 0.23 m left of the LiDAR, as on the VBR car."""


FRAME = Frame("demo street, Rome", lon_deg=12.50960, lat_deg=41.90310, height_m=96.0)
"""East-north-up frame of the demo's truth; z = 0 is 96 m above the ellipsoid."""

STREET_YAW_DEG = 28.0
"""Turn of the street's x axis from east, counter-clockwise: it runs towards heading 62°."""
ROAD_HEIGHT_M = 1.7
"""Height of the road in the frame, so that no code can take the ground for z = 0."""

ENU_FROM_STREET = Pose(Rotation.from_euler("z", STREET_YAW_DEG, degrees=True), np.array([-66.0, -31.0, ROAD_HEIGHT_M]))

OTHER_STREET_OFFSET_M = np.array([420.0, -260.0, 0.0])
"""Where the second street lies, whose photos claim to come from the first."""

LOCAL_YAW_DEG = -117.3
ENU_FROM_LOCAL = Pose(Rotation.from_euler("z", LOCAL_YAW_DEG, degrees=True), np.array([37.42, 8.15, 3.9]))
"""The drives' own frame, as a SLAM system would leave it: arbitrary turn and origin, upright."""


CAMERA_TOPIC, LIDAR_TOPIC = "/camera_left/image_raw", "/ouster/points"
_FLOAT32, _UINT32, _UINT16, _UINT8 = 7, 6, 4, 2
POINT_FIELDS = (
    ("x", 0, _FLOAT32), ("y", 4, _FLOAT32), ("z", 8, _FLOAT32), ("intensity", 16, _FLOAT32), ("t", 20, _UINT32),
    ("reflectivity", 24, _UINT16), ("ring", 26, _UINT8), ("ambient", 28, _UINT16), ("range", 32, _UINT32),
)  # fmt: skip
"""Name, byte offset and PointField type of the *full* record. The exported clouds hold x, y, z, intensity only, and the
metadata nevertheless describe the full record: so does the real export (vbr-devkit issue 3)."""


def write_frame(drive_folder: Path, index: int, pixels: ImageArray, cloud: Float32) -> None:
    """One picture (PNG, RGB given) and the scan that belongs to it (N × 4 float32)."""
    image = drive_folder / "camera_left" / "data" / f"{index:010d}.png"
    points = drive_folder / "ouster_points" / "data" / f"{index:010d}.bin"
    for path in (image, points):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(image), pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"{image}: could not be written")
    np.asarray(cloud, "<f4").tofile(points)


def write_drive(drive_folder: Path, drive: Drive, camera: Camera) -> None:
    """Everything of a drive but its frames: time stamps, topic metadata, calibration, trajectory."""
    times = drive.image_times_s()
    _write_topic(drive_folder / "camera_left", times, {"topic": CAMERA_TOPIC, "msg_type": "Image", "encoding": "rgb8"})
    fields = [{"name": n, "offset": o, "datatype": d, "count": 1} for n, o, d in POINT_FIELDS]
    points: dict[str, object] = {"topic": LIDAR_TOPIC, "msg_type": "PointCloudXf", "fields": fields}
    _write_topic(drive_folder / "ouster_points", times + SCAN_DELAY_S, points)
    (drive_folder / "vbr_calib.yaml").write_text(_calibration(camera))
    (drive_folder / f"{drive.name}_gt.txt").write_text(_trajectory(drive))


def write_alignment(path: Path) -> None:
    """Where the drives' local frame lies on earth, as `geocorrect anchors add` reads it: known to some millimetres."""
    sigma = np.array([0.003, 0.003, 0.003, 5e-5, 5e-5, 5e-5])
    alignment = Alignment.from_pose(FRAME, ENU_FROM_LOCAL.with_covariance(np.diag(sigma**2)))
    path.write_text(json.dumps(alignment.as_json(), indent=2) + "\n", encoding="utf-8")


def _write_topic(folder: Path, times_s: Float, metadata: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stamps = np.round(times_s * 1e9).astype("int64").astype("datetime64[ns]")
    (folder / "timestamps.txt").write_text("".join(f"{stamp}\n" for stamp in stamps))
    (folder / ".metadata.json").write_text(json.dumps({**metadata, "num_messages": len(times_s)}))


def _trajectory(drive: Drive) -> str:
    """TUM rows: time, translation, quaternion x y z w of the LiDAR in the local frame."""
    local_from_street = ENU_FROM_LOCAL.inverse() @ ENU_FROM_STREET
    lines = ["#timestamp tx ty tz qx qy qz qw"]
    for time_s in drive.ground_truth_times_s():
        pose = local_from_street @ drive.street_from_lidar(float(time_s))
        numbers = " ".join(f"{value:.6f}" for value in (*pose.translation_m, *pose.quaternion_xyzw))
        lines.append(f"{time_s:.10f} {numbers}")
    return "\n".join(lines) + "\n"


def _calibration(camera: Camera) -> str:
    intrinsics = [camera.focal_x_px, camera.focal_y_px, camera.principal_x_px, camera.principal_y_px]
    matrix = ",\n".join("    [" + ", ".join(f"{v:.9f}" for v in row) + "]" for row in LIDAR_FROM_CAMERA.matrix)
    identity = ", ".join(str([float(i == j) for j in range(4)]) for i in range(4))
    return (
        f"cam_l:\n  rostopic: {CAMERA_TOPIC}\n  resolution: [{camera.width}, {camera.height}]\n"
        f"  intrinsics: {intrinsics}\n  distortion_model: radtan\n"
        f"  distortion_coeffs: {list(camera.distortion[:4])}\n  T_b: [\n{matrix}]\n"
        f"lidar:\n  rostopic: {LIDAR_TOPIC}\n  T_b: [{identity}]\n"
    )


def anchor_camera(scale: float = 1.0) -> Camera:
    """The anchor camera, or the same lens on a raster `scale` times as large."""
    camera = Camera.from_opencv(*CAMERA_SIZE, CAMERA_INTRINSICS, CAMERA_DISTORTION)
    return camera.resized(round(CAMERA_SIZE[0] * scale), round(CAMERA_SIZE[1] * scale))


@dataclass(frozen=True)
class Drive:
    """One pass along the street."""

    name: str
    seed: int
    direction: int
    """+1 along the street's x, −1 back."""
    start_m: float
    """Street x of the first image."""
    spacing_m: float
    """Mean distance between images."""
    n_images: int
    start_s: float
    """Clock at the first ground-truth row; the clock starts near zero as in the real recordings."""

    def image_times_s(self) -> Float:
        """(n_images,) exposure times: nearly regular, never on a ground-truth row."""
        rng = np.random.default_rng([self.seed, 21, self.direction + 1])
        step = self.spacing_m / SPEED_M_S
        jitter = rng.uniform(-0.08, 0.08, self.n_images) * step
        return self.start_s + 1.0 + np.arange(self.n_images) * step + jitter + 0.0137

    def ground_truth_times_s(self) -> Float:
        """(N,) times of the 20 Hz trajectory; it covers every image with a second to spare on both sides."""
        end = self.start_s + 2.0 + self.n_images * self.spacing_m / SPEED_M_S
        return np.arange(self.start_s, end, 1 / GROUND_TRUTH_HZ)

    def street_from_lidar(self, time_s: float) -> Pose:
        """Pose of the LiDAR in street axes: a lane kept by hand, with sway, bumps and slow changes of speed."""
        phase = np.random.default_rng([self.seed, 22, self.direction + 1]).uniform(0, 2 * np.pi, 8)
        t = time_s - self.start_s - 1.0
        along = SPEED_M_S * t + 0.5 * np.sin(0.7 * t + phase[0])
        x = self.start_m + self.direction * along
        y = -self.direction * 1.55 + 0.18 * np.sin(0.5 * t + phase[1]) + 0.05 * np.sin(1.3 * t + phase[2])
        z = LIDAR_ABOVE_ROAD_M + 0.012 * np.sin(5.1 * t + phase[3]) + 0.01 * np.sin(2.3 * t + phase[4])
        yaw = (0.0 if self.direction > 0 else 180.0) + 1.4 * np.sin(0.5 * t + phase[5])
        pitch, roll = 0.5 * np.sin(3.1 * t + phase[6]), 0.6 * np.sin(2.2 * t + phase[7])
        return Pose(Rotation.from_euler("ZYX", [yaw, pitch, roll], degrees=True), np.array([x, y, z]))


def two_drives(seed: int, length_m: float, n_images: int) -> tuple[Drive, Drive]:
    """One drive in each direction, together covering the street."""
    margin = 0.06 * length_m
    spacing = (length_m - 2 * margin) / max(n_images - 1, 1)
    there = Drive("street_train0", seed, +1, margin, spacing, n_images, 1237.602)
    back = Drive("street_train1", seed, -1, length_m - margin, spacing, n_images, 86391.418)
    return there, back
