"""A city that costs next to nothing: hundreds of tiny photos of a street of stepped façades, with known truth.

Everything is a real file and goes through the real program: photos served by the fake server, anchors from a table,
depth from .npy files. FOLDER/anchors/anchors.csv, FOLDER/depth/<anchor>.npy; photos stay in memory.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Pose

FRAME = Frame("small city", 12.5, 41.9, 70.0)
WIDTH, HEIGHT, FOCAL_PX = 160, 120, 140.0
NEAR_M, FAR_M, STEP_M = 9.0, 11.5, 2.5
PX_PER_M = 20
ANCHOR_SPACING_M = 4.0

CONFIGURATION = """
[catalog]
url = "{catalog}"
[images]
folder = "images"
[area]
bbox = [{west}, {south}, {east}, {north}]
[export]
files = ["corrections.geojson", "corrections.csv", "corrections_export.gpkg"]
[harvest]
image_size = "original"
requests_per_s = 200.0
[match.sift]
max_features = 400
contrast_threshold = 0.005
[depth]
source = "files"
files = {{ folder = "depth", name = "exact", common_log_sigma = 0.01, log_sigma = 0.01, is_oracle = true }}
[retrieve]
radius_m = 12.0
max_candidates = 2
[batch]
workers = {workers}
images_per_transaction = 5
"""


@dataclass(frozen=True)
class SmallCity:
    """folder: anchors and depth on disk. records, photos: what the fake server serves. truth: world_from_cam by id."""

    folder: Path
    records: list[dict[str, Any]]
    photos: dict[str, bytes]
    truth: dict[str, Pose]

    @property
    def anchors_table(self) -> Path:
        return self.folder / "anchors" / "anchors.csv"

    def configuration(self, catalog: str = "corrections.gpkg", workers: int = 1) -> str:
        lon, lat = zip(*(record["geometry"]["coordinates"] for record in self.records), strict=True)
        m = 0.0005
        return CONFIGURATION.format(
            catalog=catalog,
            workers=workers,
            west=min(lon) - m,
            south=min(lat) - m,
            east=max(lon) + m,
            north=max(lat) + m,
        )


def build_city(folder: Path, n_photos: int, seed: int = 0) -> SmallCity:
    """`n_photos` photos, one a metre; every 25th shows noise and cannot be localised."""
    walls = Walls(seed, n_photos + 40.0)
    _write_anchors(folder, walls, np.arange(0.0, n_photos + ANCHOR_SPACING_M, ANCHOR_SPACING_M), seed)
    rng = np.random.default_rng([seed, 1])
    truth, photos, records = {}, {}, []
    for number in range(n_photos):
        image_id = str(10_000 + number)
        pose = _pose([number + rng.uniform(-0.4, 0.4), rng.uniform(-0.6, 0.6), rng.uniform(1.5, 1.9)], rng)
        pixels, _ = walls.seen_from(pose)
        if number % 25 == 24:
            pixels = rng.integers(0, 256, pixels.shape, np.uint8)
        truth[image_id], photos[image_id] = pose, _jpeg(pixels)
        records.append(_record(image_id, number, pose, rng))
    return SmallCity(folder, records, photos, truth)


class Walls:
    """Façades that stand back by 2.5 m every other 2.5 m, and a ground; the camera looks north at them."""

    def __init__(self, seed: int, length_m: float) -> None:
        rng = np.random.default_rng([seed, 0])
        self.start_m = -20.0
        size = (int(14 * PX_PER_M), int((length_m + 40.0) * PX_PER_M))
        self.near, self.far, self.ground = (_texture(rng, size) for _ in range(3))

    def seen_from(self, world_from_cam: Pose) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """(H, W, 3) pixels and (H, W) z-depth in metres."""
        u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        rays_cam = np.stack([(u - (WIDTH - 1) / 2) / FOCAL_PX, (v - (HEIGHT - 1) / 2) / FOCAL_PX, np.ones(u.shape)], -1)
        rays = world_from_cam.rotation.apply(rays_cam.reshape(-1, 3))
        centre = world_from_cam.translation_m
        t_near, t_far = ((y_m - centre[1]) / rays[:, 1] for y_m in (NEAR_M, FAR_M))
        with np.errstate(divide="ignore"):
            t_ground = np.where(rays[:, 2] < 0, -centre[2] / rays[:, 2], np.inf)
        stands_out = np.floor((centre[0] + t_near * rays[:, 0]) / STEP_M) % 2 == 0
        t_wall = np.where(stands_out, t_near, t_far)
        on_ground = t_ground < t_wall
        t = np.where(on_ground, t_ground, t_wall)
        points = centre + t[:, None] * rays
        across = np.where(on_ground, points[:, 1], points[:, 2])
        colours = [self._colour(texture, points[:, 0], across) for texture in (self.near, self.far, self.ground)]
        grey = np.select([on_ground, stands_out], [colours[2], colours[0]], colours[1])
        pixels = np.repeat(grey.reshape(HEIGHT, WIDTH, 1), 3, axis=2).astype(np.uint8)
        return pixels, t.reshape(HEIGHT, WIDTH).astype(np.float32)  # the rays have z = 1 in the camera: t is z-depth

    def _colour(self, texture: NDArray[np.float32], along_m: NDArray[Any], across_m: NDArray[Any]) -> NDArray[Any]:
        column = ((along_m - self.start_m) * PX_PER_M).astype(np.float32).reshape(HEIGHT, WIDTH)
        row = ((across_m + 1.0) * PX_PER_M).astype(np.float32).reshape(HEIGHT, WIDTH)
        return cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).reshape(-1)


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Blots of 0.2 to 1.5 m, as strong as an 8-bit picture bears."""
    total = np.zeros(size, np.float32)
    for sigma_px in (3.0, 6.0, 15.0):
        blots = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), sigma_px)
        total += blots / blots.std()
    return np.clip(128 + 35 * total, 0, 255).astype(np.float32)


def _pose(position_m: list[float], rng: np.random.Generator) -> Pose:
    heading_deg, pitch_deg = rng.uniform(-8, 8), rng.uniform(-2, 2)
    return Pose(rotation_from_heading(heading_deg, pitch_deg, rng.uniform(-2, 2)), np.array(position_m))


def _write_anchors(folder: Path, walls: Walls, along_m: NDArray[Any], seed: int) -> None:
    rng = np.random.default_rng([seed, 2])
    (folder / "anchors").mkdir(parents=True, exist_ok=True)
    (folder / "depth").mkdir(exist_ok=True)
    names = ("id", "file", "lon_deg", "lat_deg", "height_m", "qx", "qy", "qz", "qw", "width", "height")
    with (folder / "anchors" / "anchors.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*names, "fx", "fy", "cx", "cy", "sigma_position_m", "sigma_rotation_deg"])
        for number, x_m in enumerate(along_m):
            pose = _pose([x_m, 0.0, 1.7], rng)
            pixels, depth_m = walls.seen_from(pose)
            Picture.fromarray(pixels).save(folder / "anchors" / f"a{number:04d}.png")
            np.save(folder / "depth" / f"a{number:04d}.npy", depth_m)
            lon, lat, height = (repr(float(value)) for value in FRAME.wgs84_from_enu(pose.translation_m))
            centre = ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
            quaternion = [repr(float(value)) for value in pose.rotation.as_quat()]
            lens = [WIDTH, HEIGHT, FOCAL_PX, FOCAL_PX, *centre]
            name = f"a{number:04d}"
            table.writerow([name, f"{name}.png", lon, lat, height, *quaternion, *lens, 0.01, 0.02])


def _record(image_id: str, number: int, pose: Pose, rng: np.random.Generator) -> dict[str, Any]:
    reported_m = pose.translation_m + np.append(rng.normal(0, 2.0, 2), 0.0)
    heading_deg = FRAME.heading_deg(pose)
    return {
        "id": image_id,
        "sequence": f"street-{number // 50}",
        "captured_at": 1_718_006_400_000 + 1000 * number,
        "geometry": _point(reported_m),
        "altitude": 70.0,
        "camera_type": "perspective",
        "camera_parameters": [FOCAL_PX / WIDTH, 0.0, 0.0],
        "exif_orientation": 1,
        "width": WIDTH,
        "height": HEIGHT,
        "make": "Acme",
        "model": "Tiny",
        "is_pano": False,
        "creator": {"username": "walker", "id": "1"},
        "compass_angle": round((heading_deg + float(rng.normal(0, 5))) % 360, 2),
        "computed_geometry": _point(reported_m + np.array([0.5, 0.5, 0.0])),
        "computed_altitude": 2.0,
        "computed_rotation": [float(v) for v in pose.rotation.inv().as_rotvec()],
        "computed_compass_angle": heading_deg % 360,
        "atomic_scale": 0.9,
        "merge_cc": 1.0,
        "mesh": {"id": "2"},
        "sfm_cluster": {"id": "3"},
    }


def _point(enu_m: NDArray[Any]) -> dict[str, Any]:
    lon, lat, _ = FRAME.wgs84_from_enu(enu_m)
    return {"type": "Point", "coordinates": [float(lon), float(lat)]}


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
