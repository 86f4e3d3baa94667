"""A VBR drive past the corner of two walls: pictures, scans and trajectory of known geometry, and predicted depth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from support.depth_world import FOCAL_PX, HEIGHT, WIDTH, _texture, _view
from support.vbr_world import COLUMNS, ROWS, write_sensor

START_S, STEP_S, STEP_M = 1000.0, 0.5, 0.8
BASE_FROM_CAM = "[[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]]"
IDENTITY = "[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]"


def place(number: int) -> np.ndarray:
    """(3,) east, north, up of an image; the car moves sideways and looks north."""
    return np.array([STEP_M * number, 0.3 * (number % 2), 0.05 * number])


def points_m(number: int) -> np.ndarray:
    """(H, W, 3) points in the camera frame of an image."""
    z = _view(_texture(), place(number))[1]
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.stack([(u - (WIDTH - 1) / 2) / FOCAL_PX * z, (v - (HEIGHT - 1) / 2) / FOCAL_PX * z, z], axis=-1)


def scanned_m(number: int) -> np.ndarray:
    """(N, 3) points of the scan in the camera frame: every fourth pixel."""
    return points_m(number)[::4, ::4].reshape(-1, 3)


def image_id(number: int) -> str:
    return f"corner0/camera_left/{number:010d}"


def write_corner_drive(root: Path, n_images: int) -> Path:
    """ROOT/corner0 in VBR layout; returns the folder."""
    folder = root / "corner0"
    times = [START_S + 1.0 + STEP_S * i for i in range(n_images)]
    images = write_sensor(folder / "camera_left", times, "/camera_left/image_raw")
    scans = write_sensor(folder / "ouster_points", times, "/ouster/points")
    for number in range(n_images):
        pixels = _view(_texture(), place(number))[0]
        cv2.imwrite(str(images / f"{number:010d}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        x, y, z = scanned_m(number).T
        cloud = np.zeros((ROWS * COLUMNS, 4), np.float32)
        cloud[: len(z), :3] = np.column_stack([z, -x, -y])
        cloud.tofile(scans / f"{number:010d}.bin")
    rows = ["#timestamp tx ty tz qx qy qz qw"]
    for step in range(-2, n_images + 2):
        east, north, up = place(step)
        rows.append(f"{START_S + 1.0 + STEP_S * step:.6f} {north:.9f} {-east:.9f} {up:.9f} 0 0 0 1")
    (folder / "corner0_gt.txt").write_text("\n".join(rows) + "\n")
    (folder / "vbr_calib.yaml").write_text(
        f"cam_l:\n  resolution: [{WIDTH}, {HEIGHT}]\n  distortion_coeffs: [0.0, 0.0, 0.0, 0.0]\n"
        f"  intrinsics: [{FOCAL_PX}, {FOCAL_PX}, {(WIDTH - 1) / 2}, {(HEIGHT - 1) / 2}]\n  T_b: {BASE_FROM_CAM}\n"
        f"lidar:\n  T_b: {IDENTITY}\n"
    )
    return folder


def write_prediction(folder: Path, number: int, depth_m: np.ndarray) -> None:
    """(H, W) z or (H, W, 3) points of an image."""
    path = folder / f"{image_id(number)}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, depth_m.astype(np.float32))
