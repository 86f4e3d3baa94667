"""What a job has from its first step to its last: the scene's lock, and one listener for signals and the clock."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from geocorrect.catalog.lock import SceneLock, lock_scene
from geocorrect.catalog.store import Catalog
from geocorrect.errors import UsageError
from geocorrect.workers.stop import StopRequest, stop_on_signal

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class RunLimits:
    """How much a job may do."""

    max_images: int | None = None
    max_runtime_s: float = math.inf
    """Seconds, counted from when this object is made."""
    began_s: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, max_images: int | None, max_runtime: str | None) -> RunLimits:
        """As typed, the time like 90s, 30m, 2h; UsageError when it is no duration."""
        return cls(max_images, math.inf if max_runtime is None else seconds(max_runtime))

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return max(0.0, self.max_runtime_s - (time.monotonic() - self.began_s))


def seconds(text: str) -> float:
    """Seconds of a duration as people type it: 90, 90s, 30m, 2h, 1.5h. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if found is None or float(found[1]) == 0.0:
        raise UsageError(f"{text!r} is no duration; write 90s, 30m or 2h")
    return float(found[1]) * _SECONDS[found[2]]


@dataclass(frozen=True)
class JobContext:
    """A job at work."""

    lock: SceneLock
    """To be refreshed after every transaction."""
    stop: StopRequest
    """To be asked between two pieces of work."""


@contextmanager
def use_or_create(
    context: JobContext | None, catalog: Catalog, max_runtime_s: float = math.inf, *, dry_run: bool = False
) -> Iterator[JobContext]:
    """The context of the job that a step belongs to, or one of its own: no other run steps in between two steps.

    A context of its own locks the scene and listens for signals for the length of the block; a dry run locks nothing.
    Raises SceneBusyError when another run has the scene.
    """
    if context is not None:
        yield context
        return
    with stop_on_signal(max_runtime_s) as stop:
        if dry_run:
            yield JobContext(SceneLock(), stop)
            return
        with lock_scene(catalog.engine) as lock:
            yield JobContext(lock, stop)
