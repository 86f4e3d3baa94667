"""Timed poses of a vehicle: reading, interpolation, and refusal where nothing is known.

A pose asked for outside the covered time, or inside a gap of the recording, raises InputError: extrapolating a moving
car is inventing data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.readers.timestamps import (
    NANOSECONDS_PER_SECOND,
    Nanoseconds,
    nanoseconds_of,
    seconds_text,
)
from geocorrect.errors import InputError
from geocorrect.geometry.pose import Float, Pose, interpolate
from geocorrect.io.text_file import read_text

DEFAULT_MAX_GAP_S = 0.5


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses local_from_base at increasing times."""

    name: str
    """The file, for messages."""
    time_ns: Nanoseconds
    """(N,) int64, strictly increasing."""
    translation_m: Float
    """(N, 3)."""
    rotation: Rotation
    """N rotations."""
    max_gap_s: float = DEFAULT_MAX_GAP_S
    """Poses further apart in time than this are not interpolated between."""

    def __post_init__(self) -> None:
        times = np.asarray(self.time_ns)
        translation = np.asarray(self.translation_m, float)
        if times.dtype != np.int64 or times.ndim != 1 or len(times) < 2:
            raise ValueError(f"{self.name}: a trajectory needs at least 2 times as int64 nanoseconds")
        if translation.shape != (len(times), 3) or len(self.rotation) != len(times):
            raise ValueError(f"{self.name}: {len(times)} times, but {translation.shape} translations")
        if not (np.diff(times) > 0).all():
            raise ValueError(f"{self.name}: times must increase strictly")
        if not np.isfinite(translation).all():
            raise ValueError(f"{self.name}: positions must be finite")

    def __len__(self) -> int:
        return len(self.time_ns)

    def pose(self, index: int) -> Pose:
        """local_from_base of one recorded row (0-based)."""
        if not 0 <= index < len(self):
            raise InputError(f"{self.name}: row {index} asked for, the trajectory has rows 0…{len(self) - 1}")
        return Pose(self.rotation[index], self.translation_m[index])

    def covers(self, time_ns: int) -> bool:
        """Whether `pose_at` has an answer at this time."""
        return self._problem(time_ns) is None

    def pose_at(self, time_ns: int) -> Pose:
        """local_from_base at a time: linear in position, geodesic in rotation between the two neighbouring rows.

        Raises InputError naming the trajectory and the time when it is outside the recording or inside a gap.
        """
        if (problem := self._problem(time_ns)) is not None:
            raise InputError(f"{self.name}: {problem}")
        after, start, end = self._interval(time_ns)
        return interpolate(self.pose(after - 1), self.pose(after), (time_ns - start) / (end - start))

    def pose_at_row(self, row: float) -> Pose:
        """local_from_base at a fractional row, e.g. 649.12: the time is interpolated between the rows' times."""
        return self.pose_at(self.time_at_row(row))

    def time_at_row(self, row: float) -> int:
        """Time in ns of a fractional row; InputError outside the recording."""
        if not 0.0 <= row <= len(self) - 1:
            raise InputError(f"{self.name}: row {row:g} asked for, the trajectory has rows 0…{len(self) - 1}")
        before = min(int(row), len(self) - 2)
        step = int(self.time_ns[before + 1] - self.time_ns[before])
        return int(self.time_ns[before]) + round((row - before) * step)

    def _interval(self, time_ns: int) -> tuple[int, int, int]:
        """(index of the row after a time, the time before, the time after)."""
        after = int(np.clip(np.searchsorted(self.time_ns, time_ns, side="right"), 1, len(self) - 1))
        return after, int(self.time_ns[after - 1]), int(self.time_ns[after])

    def _problem(self, time_ns: int) -> str | None:
        first, last = int(self.time_ns[0]), int(self.time_ns[-1])
        if not first <= time_ns <= last:
            covered = f"{seconds_text(first)} … {seconds_text(last)}"
            return f"no pose at {seconds_text(time_ns)}; the trajectory covers {covered}"
        _, start, end = self._interval(time_ns)
        if end - start > self.max_gap_s * NANOSECONDS_PER_SECOND and time_ns not in (start, end):
            return (
                f"no pose at {seconds_text(time_ns)}: the recording has a gap of {(end - start) / 1e9:.3f} s "
                f"from {seconds_text(start)}, longer than {self.max_gap_s:g} s"
            )
        return None


def read_tum(path: Path, max_gap_s: float = DEFAULT_MAX_GAP_S) -> Trajectory:
    """Trajectory in TUM order: `timestamp tx ty tz qx qy qz qw` per line, seconds and metres, # for comments.

    Whole Unix milli-, micro- or nanoseconds are recognised.

    Raises InputError naming file and line: missing file, wrong number of columns, no numbers, not a unit quaternion,
    times that do not increase.
    """
    lines = read_text(path, "no such trajectory file").split("\n")
    rows = [(number, line.split()) for number, line in enumerate(lines, 1)]
    rows = [(number, fields) for number, fields in rows if fields and not fields[0].startswith("#")]
    if len(rows) < 2:
        raise InputError(f"{path}: {len(rows)} poses; a trajectory needs at least 2")
    where = [f"{path}, line {number}" for number, _ in rows]
    values = np.array([_pose(here, fields) for here, (_, fields) in zip(where, rows, strict=True)])
    times = nanoseconds_of([fields[0] for _, fields in rows], where)
    backwards = np.flatnonzero(np.diff(times) <= 0)
    if len(backwards):
        number = rows[int(backwards[0]) + 1][0]
        raise InputError(f"{path}, line {number}: the time does not increase; sort the file and drop duplicates")
    return Trajectory(str(path), times, values[:, :3], Rotation.from_quat(values[:, 3:]), max_gap_s)


def _pose(where: str, fields: list[str]) -> list[float]:
    """The numbers tx ty tz qx qy qz qw of a line."""
    if len(fields) != 8:
        raise InputError(f"{where}: {len(fields)} columns, expected 8 (timestamp tx ty tz qx qy qz qw)")
    try:
        values = [float(text) for text in fields[1:]]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    if not np.isfinite(values).all():
        raise InputError(f"{where}: a value is not finite; remove the row")
    norm = float(np.linalg.norm(values[3:]))
    if not 0.99 < norm < 1.01:
        raise InputError(f"{where}: quaternion of length {norm:.3g}, expected 1 (order qx qy qz qw)")
    return values
