"""Sensor times as integer nanoseconds: exact, whatever clock they come from.

VBR stamps are the bag's record time on a clock that starts near zero, written by numpy as
1970-01-01T00:06:06.660458140; KITTI writes 2011-09-26 13:02:44.335092332; trajectories are decimal seconds. float32,
and even float64 for Unix times, would lose the digits that matter at 10 m/s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation, Overflow
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import InputError
from geocorrect.io.capture_time import plausible
from geocorrect.io.text_file import read_text

Nanoseconds = NDArray[np.int64]
NANOSECONDS_PER_SECOND = 1_000_000_000
MAX_NS = 2**63 - 1
MAX_STEP_S = 10.0
"""Poses so far apart cannot be interpolated between."""
UNIX_YEARS_S = (315_532_800, 4_102_444_800)
"""1980 and 2100."""
SMALL_UNITS_NS = (1_000_000, 1000, 1)
"""Milli-, micro- and nanoseconds."""


_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,18})?)?", re.ASCII)


def read_timestamps(path: Path) -> Nanoseconds:
    """(N,) int64 nanoseconds of a timestamps.txt with one ISO date-time per line, in file order.

    Raises InputError naming file and line when a line is no date-time; empty lines at the end are allowed.
    """
    lines = read_text(path, "no such file; every sensor folder needs its timestamps.txt").rstrip().split("\n")
    if lines == [""]:
        raise InputError(f"{path}: the file is empty; export the sequence again")
    return np.array([_nanoseconds(line.strip(), path, row) for row, line in enumerate(lines, 1)], np.int64)


def _nanoseconds(text: str, path: Path, row: int) -> int:
    text = text.replace(" ", "T").removesuffix("Z")
    try:
        # An offset would be converted, with a warning to whoever looks.
        known = _STAMP.fullmatch(text) is not None
        stamp = np.datetime64(text if known else "NaT", "ns")
        known = known and not np.isnat(stamp)
    except ValueError:
        known = False
    if not known:
        raise InputError(f"{path}, line {row}: {text!r} is not a date and time (YYYY-MM-DDThh:mm:ss.fraction)")
    return int(stamp.astype(np.int64))


def nanoseconds_from_seconds(text: str, unit_ns: int = NANOSECONDS_PER_SECOND) -> int:
    """Exact int64 nanoseconds of decimal seconds (or another unit) in text, e.g. 1237.6017897600, or ValueError."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number of seconds") from None
    if not value.is_finite():
        raise ValueError(f"{text!r} is not a finite number of seconds")
    # First the exponent: a context overflows, and an integer of a billion digits fills the memory.
    if value.adjusted() > 20 or abs(value) > MAX_NS // unit_ns:
        raise ValueError(f"{text!r} is no time in seconds; is it in another unit?")
    return int((value * unit_ns).to_integral_value())


def nanoseconds_of(stamps: Sequence[str], where: Sequence[str]) -> Nanoseconds:
    """(N,) int64 nanoseconds of a file's stamps: seconds, or Unix milli-, micro- or nanoseconds, which are evident.

    Args:
        stamps: in increasing order or nearly so.
        where: file and line of each, for messages.

    Raises:
        InputError: a stamp is no number, or the stamps step by so much that they cannot be seconds.
    """
    unit_ns = next((unit for unit in SMALL_UNITS_NS if stamps and _is_unix_time(stamps[0], unit)), None)
    times = []
    for text, here in zip(stamps, where, strict=True):
        try:
            times.append(nanoseconds_from_seconds(text, unit_ns or NANOSECONDS_PER_SECOND))
        except ValueError as error:
            raise InputError(f"{here}: {error}") from None
    step_s = float(np.median(np.diff(times))) / NANOSECONDS_PER_SECOND if len(times) > 2 else 0.0
    if step_s >= MAX_STEP_S and unit_ns is None and all(text.isdecimal() for text in stamps):
        raise InputError(
            f"{where[0]}: the times are whole numbers that step by {step_s:g}, too much for seconds; divide "
            "milliseconds by 1000, microseconds by 1e6, nanoseconds by 1e9"
        )
    return np.array(times, np.int64)


def _is_unix_time(text: str, unit_ns: int) -> bool:
    """Whether a stamp can only be Unix time in this unit: as seconds it would lie beyond the year 5000."""
    try:
        seconds = Decimal(text) * unit_ns / NANOSECONDS_PER_SECOND
    except (InvalidOperation, Overflow):
        return False
    return bool(seconds.is_finite() and UNIX_YEARS_S[0] <= seconds <= UNIX_YEARS_S[1])


def seconds_text(time_ns: int) -> str:
    """Nanoseconds as seconds with microseconds, for messages."""
    return f"{time_ns / NANOSECONDS_PER_SECOND:.6f} s"


def utc_from_nanoseconds(time_ns: int) -> datetime | None:
    """UTC date-time of Unix nanoseconds; None when the clock is not a calendar clock (it started near zero)."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
    return plausible(moment)
