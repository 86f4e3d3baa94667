"""Submissions to the Map-free benchmark: a zip of `pose_<scene>.txt`, one line per estimated query.

A line is `frame qw qx qy qz tx ty tz confidence`: the query's pose world-to-camera, the reference camera as world.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geocorrect.errors import InputError
from geocorrect.evaluate.mapfree.scene_files import world_from_cam
from geocorrect.geometry.pose import Pose
from geocorrect.io.atomic_file import atomic_path

MAX_FILE_BYTES = 64 << 20
"""Of one scene's file; a larger one is no list of poses."""

FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive, so that equal answers give equal bytes."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """The answer for one query."""

    world_from_cam: Pose
    """Pose of the query in the reference camera's frame, metres."""
    confidence: float
    """Larger is better, not negative; only its order within a submission matters."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.confidence) and self.confidence >= 0):
            raise ValueError(f"confidence must be finite and not negative, got {self.confidence}")


Submission = Mapping[str, Mapping[str, Estimate]]
"""Scene → frame name → estimate; frames without an answer are absent."""


def pose_line(frame: str, estimate: Estimate) -> str:
    """One line of a scene's file; numbers in full precision."""
    cam_from_world = estimate.world_from_cam.inverse()
    x, y, z, w = cam_from_world.quaternion_xyzw
    numbers = [w, x, y, z, *cam_from_world.translation_m, estimate.confidence]
    return " ".join([frame, *(f"{float(value):.17g}" for value in numbers)])


def write_submission(path: Path, submission: Submission) -> None:
    """Write the zip; scenes without any answer get no file, as the benchmark asks for answers only.

    OutputError when it cannot be written.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for scene in sorted(submission):
            lines = [pose_line(frame, submission[scene][frame]) for frame in sorted(submission[scene])]
            if lines:
                entry = zipfile.ZipInfo(f"pose_{scene}.txt", FIXED_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, "\n".join(lines) + "\n")


def read_submission(path: Path) -> dict[str, dict[str, Estimate]]:
    """Read a zip or a folder of `pose_<scene>.txt`; lines with nan are no answers. InputError naming file and line."""
    found: dict[str, dict[str, Estimate]] = {}
    for name, text in _texts(path):
        scene = Path(name).stem.removeprefix("pose_")
        estimates: dict[str, Estimate] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                frame, estimate = _parsed(f"{path}, {name}, line {number}", line)
                if frame in estimates:
                    raise InputError(f"{path}, {name}, line {number}: {frame} is answered twice")
                if estimate is not None:
                    estimates[frame] = estimate
        found[scene] = estimates
    if not found:
        raise InputError(f"{path}: holds no file pose_<scene>.txt")
    return found


def _parsed(where: str, line: str) -> tuple[str, Estimate | None]:
    frame, *values = line.split()
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) != 8:
        raise InputError(f"{where}: expected `frame qw qx qy qz tx ty tz confidence`, got {line.strip()!r}")
    if np.isnan(numbers).any():
        return frame, None
    if numbers[7] < 0:
        raise InputError(f"{where}: confidence {numbers[7]:g} is negative, which the benchmark refuses")
    pose = world_from_cam(where, numbers[:7])
    if pose is None or not np.isfinite(numbers).all():
        raise InputError(f"{where}: not a pose: {line.strip()!r}")
    return frame, Estimate(pose, float(numbers[7]))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    try:
        if path.is_dir():
            for file in sorted(path.glob("pose_*.txt")):
                yield file.name, file.read_text(encoding="utf-8")
            return
        with zipfile.ZipFile(path) as archive:
            for entry in sorted(archive.infolist(), key=lambda one: one.filename):
                base = Path(entry.filename).name
                if not (base.startswith("pose_") and base.endswith(".txt")):
                    continue
                if entry.file_size > MAX_FILE_BYTES:
                    raise InputError(f"{path}, {entry.filename}: {entry.file_size} bytes is no list of poses")
                yield base, archive.read(entry).decode("utf-8")
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as a submission ({error})") from None
