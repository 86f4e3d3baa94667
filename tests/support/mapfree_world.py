"""Map-free sets on disk: a corner of two textured walls, a reference and queries with known poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from support.depth_world import FOCAL_PX, HEIGHT, WIDTH, _texture, _view

INTRINSICS_LINE = f"{FOCAL_PX} {FOCAL_PX} {(WIDTH - 1) / 2} {(HEIGHT - 1) / 2} {WIDTH} {HEIGHT}"
REFERENCE_PLACE = np.array([3.0, 0.0, 0.0])
"""East, north, up of the reference; all cameras look north."""


def query_place(scene: int, frame: int) -> np.ndarray:
    return REFERENCE_PLACE + np.array([0.15 * frame - 0.4, 0.1 + 0.05 * scene, 0.02 * frame])


def pose_of(place: np.ndarray) -> Pose:
    """world_from_cam in the reference camera's frame: x right = east, y down, z forward = north."""
    east, north, up = place - REFERENCE_PLACE
    return Pose(Rotation.identity(), np.array([east, -up, north]))


def cam_from_world_line(pose: Pose) -> str:
    inverse = pose.inverse()
    x, y, z, w = inverse.quaternion_xyzw
    return " ".join(f"{value:.12f}" for value in (w, x, y, z, *inverse.translation_m))


def depth_m(place: np.ndarray) -> np.ndarray:
    return _view(_texture_once(), place)[1]


def write_set(folder: Path, n_scenes: int = 2, n_queries: int = 6, training: bool = False) -> Path:
    """Scenes s00000 …; training sets have several frames in seq0, too, and a table of overlaps."""
    for number in range(n_scenes):
        scene = folder / f"s{number:05d}"
        frames = {"seq0/frame_00000.jpg": REFERENCE_PLACE}
        if training:
            frames |= {f"seq0/frame_{i:05d}.jpg": REFERENCE_PLACE + [0.1 * i, 0.0, 0.0] for i in range(1, 3)}  # noqa: RUF005
        frames |= {f"seq1/frame_{i:05d}.jpg": query_place(number, i) for i in range(n_queries)}
        for name, place in frames.items():
            (scene / name).parent.mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(_view(_texture_once(), place)[0]).save(scene / name, quality=95)
        lines = [f"{name} {INTRINSICS_LINE}" for name in frames]
        (scene / "intrinsics.txt").write_text("# frame fx fy cx cy width height\n" + "\n".join(lines) + "\n")
        poses = [f"{name} {cam_from_world_line(pose_of(place))}" for name, place in frames.items()]
        (scene / "poses.txt").write_text("# frame qw qx qy qz tx ty tz\n" + "\n".join(poses) + "\n")
        if training:
            indices = np.array([[0, 0, 1, 0], [0, 1, 1, 3], [0, 2, 1, 5], [0, 0, 0, 1]])
            np.savez(scene / "overlaps.npz", idxs=indices, overlaps=np.array([0.9, 0.5, 0.6, 0.1]))
    return folder


_CACHE: list[np.ndarray] = []


def _texture_once() -> np.ndarray:
    if not _CACHE:
        _CACHE.append(_texture())
    return _CACHE[0]
