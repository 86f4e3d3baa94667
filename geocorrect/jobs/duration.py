"""Durations as people type them: 90, 90s, 30m, 2h, 1.5h."""

from __future__ import annotations

import re

from geocorrect.errors import UsageError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Seconds of a duration; UsageError when it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if found is None or float(found[1]) == 0.0:
        raise UsageError(f"{text!r} is no duration; write 90s, 30m or 2h")
    return float(found[1]) * _SECONDS[found[2]]
