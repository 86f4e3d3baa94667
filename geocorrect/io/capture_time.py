"""When a photo can have been taken: one rule for every clock that a file, a table or a service believes in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Older than any photo with a position; clocks without a battery say 1970 or 1980."""

_CLOCK_ERROR = timedelta(days=1)


def latest() -> datetime:
    """The end of the plausible range: now, and a day for clocks that are fast."""
    return datetime.now(UTC) + _CLOCK_ERROR


def plausible(moment: datetime | None) -> datetime | None:
    """The moment (timezone-aware) where a photo can have been taken then, else None: the time is unknown."""
    return moment if moment is not None and EARLIEST <= moment <= latest() else None


def agree(first: datetime, second: datetime) -> bool:
    """Whether two clocks of one device say the same, its zone unknown: within a day."""
    return abs(first - second) <= _CLOCK_ERROR
