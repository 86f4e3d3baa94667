"""One sensor's folder in the KITTI layout: data/<ten digits>.<suffix>, and timestamps.txt with a row per frame number.

A partial copy (some data files deleted) is fine, because the file's number, not its position in the listing, picks the
timestamp. A file without a timestamp, or times that run backwards, are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geocorrect.anchors.readers.timestamps import NANOSECONDS_PER_SECOND, Nanoseconds, read_timestamps
from geocorrect.errors import InputError


@dataclass(frozen=True, eq=False)
class SensorFolder:
    """Frames of one sensor in time order."""

    folder: Path
    number: Nanoseconds
    """(N,) frame numbers."""
    time_ns: Nanoseconds
    """(N,) int64."""
    paths: tuple[Path, ...]
    """N files."""

    def __len__(self) -> int:
        return len(self.paths)

    def nearest(self, time_ns: int, max_offset_s: float) -> int | None:
        """Index of the frame nearest in time; None when it is farther than max_offset_s."""
        offset = np.abs(self.time_ns - time_ns)
        index = int(np.argmin(offset))
        return index if offset[index] <= max_offset_s * NANOSECONDS_PER_SECOND else None


def read_sensor_folder(folder: Path, suffix: str) -> SensorFolder:
    """A sensor's frames, at least one; suffix is that of the data files, such as ".png".

    Frames that repeat the time of the one before (the recorder's duplicates) are dropped. InputError names the folder
    or file that is missing or damaged.
    """
    data = folder / "data"
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; expected <sensor>/data/0000000000{suffix} and timestamps.txt")
    # A name with another dot is a mask of the frame of that number (see `geocorrect.io.masks`), or hidden.
    paths = sorted(path for path in data.iterdir() if path.suffix == suffix and "." not in path.stem)
    if not paths:
        raise InputError(f"{data}: no {suffix} files")
    times = read_timestamps(folder / "timestamps.txt")
    backwards = np.flatnonzero(np.diff(times) < 0)
    if len(backwards):
        row = int(backwards[0]) + 2
        raise InputError(f"{folder / 'timestamps.txt'}, line {row}: the time runs backwards; export the sequence again")
    numbers = np.array([_number(path, len(times)) for path in paths], np.int64)
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    kept = np.diff(times[numbers], prepend=times[numbers[0]] - 1) > 0
    ordered = tuple(paths[i] for i in order[kept])
    return SensorFolder(folder, numbers[kept], times[numbers[kept]], ordered)


def _number(path: Path, n_times: int) -> int:
    if not path.stem.isdecimal():
        raise InputError(f"{path}: the file name is no frame number (expected ten digits)")
    number = int(path.stem)
    if number >= n_times:
        raise InputError(f"{path}: no timestamp; timestamps.txt has {n_times} rows (0…{n_times - 1})")
    return number
