"""Sensor times as integer nanoseconds: exact, whatever clock they come from.

VBR stamps are the bag's record time on a clock that starts near zero, written by numpy as
1970-01-01T00:06:06.660458140; KITTI writes 2011-09-26 13:02:44.335092332; trajectories are decimal seconds. float32,
and even float64 for Unix times, would lose the digits that matter at 10 m/s.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import InputError
from geocorrect.io.capture_time import plausible
from geocorrect.io.text_file import read_text

Nanoseconds = NDArray[np.int64]
NANOSECONDS_PER_SECOND = 1_000_000_000


def read_timestamps(path: Path) -> Nanoseconds:
    """(N,) int64 nanoseconds of a timestamps.txt with one ISO date-time per line, in file order.

    Raises InputError naming file and line when a line is no date-time; empty lines at the end are allowed.
    """
    lines = read_text(path, "no such file; every sensor folder needs its timestamps.txt").rstrip().split("\n")
    if lines == [""]:
        raise InputError(f"{path}: the file is empty; export the sequence again")
    return np.array([_nanoseconds(line.strip(), path, row) for row, line in enumerate(lines, 1)], np.int64)


def _nanoseconds(text: str, path: Path, row: int) -> int:
    text = text.replace(" ", "T")
    try:
        stamp = np.datetime64(text, "ns")
        known = "T" in text and not np.isnat(stamp)
    except ValueError:
        known = False
    if not known:
        raise InputError(f"{path}, line {row}: {text!r} is not a date and time (YYYY-MM-DDThh:mm:ss.fraction)")
    return int(stamp.astype(np.int64))


def nanoseconds_from_seconds(text: str) -> int:
    """Exact int64 nanoseconds of decimal seconds in text, e.g. 1237.6017897600; ValueError when it is not a number."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number of seconds") from None
    if not value.is_finite():
        raise ValueError(f"{text!r} is not a finite number of seconds")
    return int((value * NANOSECONDS_PER_SECOND).to_integral_value())


def seconds_text(time_ns: int) -> str:
    """Nanoseconds as seconds with microseconds, for messages."""
    return f"{time_ns / NANOSECONDS_PER_SECOND:.6f} s"


def utc_from_nanoseconds(time_ns: int) -> datetime | None:
    """UTC date-time of Unix nanoseconds; None when the clock is not a calendar clock (it started near zero)."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
    return plausible(moment)
