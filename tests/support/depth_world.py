"""The corner of two textured walls, anchors in front of it, a "network" whose depth is wrong, photos to correct."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from geocorrect.geometry.frame import Frame

FRAME = Frame("wall", 12.5, 41.9, 80.0)
WIDTH, HEIGHT, FOCAL_PX = 320, 240, 280.0
SPACING_M = 1.5
NETWORK = "wrong-net-1"
NETWORK_SCALE = 1.25
CORNER_M = (3.0, 11.0)
"""East and north of the corner; the walls come nearer by 0.6 m per metre on both sides."""
PX_PER_M, WALL_M = 48.0, (34.0, 16.0)
REPORTED_OFF_M = np.array([2.0, -2.2, 0.0])
CONFIG = f"""
[match.sift]
max_features = 1500

[depth]
source = "files"
calibrate = true

[depth.files]
folder = "depth"
name = "{NETWORK}"
common_log_sigma = 0.25
"""


@dataclass(frozen=True)
class DepthWorld:
    """Files of the world and the truth: ENU positions of anchors and photos, all looking north."""

    folder: Path
    anchors_m: dict[str, np.ndarray]
    photos_m: dict[str, np.ndarray]

    @property
    def table(self) -> Path:
        return self.folder / "anchors.csv"


def write_depth_world(folder: Path, n_anchors: int = 5) -> DepthWorld:
    """anchors.csv with its pictures, depth/<id>.npy, photos/*.jpg with EXIF (positions 3 m off), geocorrect.toml."""
    texture = _texture()
    anchors = {f"a{i}": np.array([SPACING_M * i, 0.3 * (i % 2), 0.05 * i]) for i in range(n_anchors)}
    photos = {f"p{i}": np.array([SPACING_M * (i + 0.4), 1.2, -0.1]) for i in range(n_anchors - 1)}
    rows = ["id,file,lon_deg,lat_deg,height_m,heading_deg,width,height,fx,fy,cx,cy"]
    (folder / "depth").mkdir(parents=True)
    (folder / "photos").mkdir()
    for name, place in anchors.items():
        pixels, z_m = _view(texture, place)
        PillowImage.fromarray(pixels).save(folder / f"{name}.png")
        wave = 1.0 + 0.08 * np.cos(np.pi * np.arange(WIDTH) / WIDTH)[None, :]
        np.save(folder / "depth" / f"{name}.npy", (z_m * NETWORK_SCALE * wave).astype(np.float32))
        lon, lat, height = (float(v) for v in FRAME.wgs84_from_enu(place))
        centre = f"{(WIDTH - 1) / 2},{(HEIGHT - 1) / 2}"
        rows.append(
            f"{name},{name}.png,{lon:.10f},{lat:.10f},{height:.5f},0,{WIDTH},{HEIGHT},{FOCAL_PX},{FOCAL_PX},{centre}"
        )
    (folder / "anchors.csv").write_text("\n".join(rows) + "\n")
    for name, place in photos.items():
        _write_photo(folder / "photos" / f"{name}.jpg", _view(texture, place)[0], place + REPORTED_OFF_M)
    (folder / "geocorrect.toml").write_text(CONFIG)
    return DepthWorld(folder, anchors, photos)


def write_scan(folder: Path, anchor_id: str) -> Path:
    """A laser scan of what the anchor sees, every sixth pixel, in the camera's own frame; KITTI layout."""
    wave = 1.0 + 0.08 * np.cos(np.pi * np.arange(WIDTH) / WIDTH)[None, :]
    z_m = (np.load(folder / "depth" / f"{anchor_id}.npy") / (NETWORK_SCALE * wave))[::6, ::6]
    v, u = np.mgrid[0:HEIGHT:6, 0:WIDTH:6]
    x, y = (u - (WIDTH - 1) / 2) / FOCAL_PX, (v - (HEIGHT - 1) / 2) / FOCAL_PX
    points = np.stack([x * z_m, y * z_m, z_m, np.zeros_like(z_m)], axis=-1).reshape(-1, 4)
    path = folder / f"{anchor_id}.bin"
    points.astype("<f4").tofile(path)
    return path


@cache
def _texture() -> np.ndarray:
    """Spots of all sizes, so that every place looks like itself only."""
    rng = np.random.default_rng(4)
    shape = (int(WALL_M[1] * PX_PER_M), int(WALL_M[0] * PX_PER_M), 3)
    total = np.zeros(shape, np.float32)
    for sigma in (2, 4, 8, 16):
        spots = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), sigma)
        total += spots / spots.std()
    return np.clip(128 + 32 * total, 0, 255).astype(np.uint8)


def _view(texture: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture and z-depth of the corner seen from a place, looking north."""
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    x, y = (u - (WIDTH - 1) / 2) / FOCAL_PX, (v - (HEIGHT - 1) / 2) / FOCAL_PX
    sides = [(CORNER_M[1] - slope * (CORNER_M[0] - place[0]) - place[1]) / (1.0 - slope * x) for slope in (0.6, -0.6)]
    z = np.minimum(*sides)
    east, up = place[0] + x * z, place[2] - y * z
    column = ((east + WALL_M[0] / 2 - 3.0) * PX_PER_M).astype(np.float32)
    row = ((WALL_M[1] / 2 - up) * PX_PER_M).astype(np.float32)
    return cv2.remap(texture, column, row, cv2.INTER_AREA), z


def _write_photo(path: Path, pixels: np.ndarray, reported_m: np.ndarray) -> None:
    lon, lat, _ = (float(v) for v in FRAME.wgs84_from_enu(reported_m))
    exif = PillowImage.Exif()
    exif.get_ifd(0x8769)[0xA405] = round(36 * FOCAL_PX / WIDTH, 3)
    exif.get_ifd(0x8825).update({1: "N", 2: _sexagesimal(lat), 3: "E", 4: _sexagesimal(lon), 16: "T", 17: 0.0})
    PillowImage.fromarray(pixels).save(path, quality=95, exif=exif)


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    minutes = (degrees % 1) * 60
    return float(int(degrees)), float(int(minutes)), round((minutes % 1) * 60, 5)
