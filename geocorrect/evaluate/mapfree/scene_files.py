"""Reading a Map-free set: one folder per scene with `intrinsics.txt`, `poses.txt`, `seq0/` and `seq1/`.

Poses are world-to-camera in the files and become `world_from_cam` here; the world of a scene is its reference camera.
Layout: https://github.com/nianticlabs/map-free-reloc#organization
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose

REFERENCE = "seq0/frame_00000.jpg"
INTRINSICS_FILE, POSES_FILE = "intrinsics.txt", "poses.txt"
FOCAL_SIGMA = 1e-3
"""The protocol gives every frame its intrinsics and projects by them: they are calibrated, not to be guessed anew."""


@dataclass(frozen=True, eq=False)
class MapfreeScene:
    """One scene as its files describe it."""

    name: str
    """Of the folder, such as s00460."""
    folder: Path
    """Where the files lie."""
    cameras: dict[str, Camera]
    """By frame name such as `seq1/frame_00010.jpg`, in file order."""
    world_from_cam: dict[str, Pose | None]
    """By frame name, in file order; None where the pose is withheld (zeros, as in the test set)."""

    def queries(self, every: int = 1) -> list[str]:
        """Names of the query frames, every n-th in file order. The poses file decides, the intrinsics where it has
        none.
        """
        listed = [name for name in self.world_from_cam if not name.startswith("seq0/")]
        if not listed:
            listed = [name for name in self.cameras if not name.startswith("seq0/")]
        return listed[::every]

    def camera(self, frame: str) -> Camera:
        """Camera of a frame; InputError naming the file when it is not listed."""
        if frame not in self.cameras:
            raise InputError(f"{self.folder / INTRINSICS_FILE}: no line for {frame}")
        return self.cameras[frame]

    @property
    def last_size(self) -> tuple[int, int]:
        """(width, height) of the last line of the intrinsics, which the official evaluation takes for all frames."""
        last = list(self.cameras.values())[-1]
        return last.width, last.height


def read_set(folder: Path) -> list[MapfreeScene]:
    """The scenes of a set, by name; InputError when there are none or a file is damaged."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name a Map-free set such as …/mapfree/val")
    scenes = [read_scene(path.parent) for path in sorted(folder.glob(f"*/{INTRINSICS_FILE}"))]
    if not scenes:
        raise InputError(f"{folder}: no scene in it; a Map-free set holds folders such as s00460/{INTRINSICS_FILE}")
    return scenes


def read_scene(folder: Path) -> MapfreeScene:
    """One scene; InputError naming file and line."""
    cameras = {name: _camera(where, numbers) for where, name, numbers in _rows(folder / INTRINSICS_FILE, 6)}
    if not cameras:
        raise InputError(f"{folder / INTRINSICS_FILE}: no frame is listed")
    poses_file = folder / POSES_FILE
    poses: dict[str, Pose | None] = {}
    if poses_file.is_file():
        poses = {name: world_from_cam(where, numbers) for where, name, numbers in _rows(poses_file, 7)}
    return MapfreeScene(folder.name, folder, cameras, poses)


def world_from_cam(where: str, numbers: np.ndarray) -> Pose | None:
    """The pose of a line `qw qx qy qz tx ty tz`, world-to-camera; None when all are zero.

    where: file and line, for the InputError about a quaternion that is not of unit length.
    """
    if not numbers.any():
        return None
    w, x, y, z = numbers[:4]
    try:
        return Pose.from_quaternion([x, y, z, w], numbers[4:7]).inverse()
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _camera(where: str, numbers: np.ndarray) -> Camera:
    focal_x, focal_y, principal_x, principal_y, width, height = (float(value) for value in numbers)
    try:
        camera = Camera.pinhole(int(width), int(height), focal_x, focal_y, principal_x, principal_y)
        return replace(camera, focal_sigma=FOCAL_SIGMA)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _rows(path: Path, n_numbers: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """(file and line, frame name, numbers) of every line; blank lines and lines that begin with # are left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, *values = line.split()
        where = f"{path}, line {number}"
        try:
            numbers = np.array([float(value) for value in values])
        except ValueError:
            raise InputError(f"{where}: expected a frame name and {n_numbers} numbers, got {line.strip()!r}") from None
        if len(numbers) != n_numbers or not np.isfinite(numbers).all():
            raise InputError(f"{where}: expected a frame name and {n_numbers} finite numbers, got {line.strip()!r}")
        yield where, name, numbers
