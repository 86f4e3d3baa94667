"""What a job has from its first step to its last: one hold on the scene, and one ear for signals and the clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from geocorrect.catalog.lock import SceneLock, lock_scene
from geocorrect.catalog.store import Catalog
from geocorrect.workers.stop import StopRequest, stop_on_signal


@dataclass(frozen=True)
class JobContext:
    """A job at work. hold: `keep` it after every transaction; stop: asked between two pieces of work."""

    hold: SceneLock
    stop: StopRequest


@contextmanager
def work_session(catalog: Catalog, max_runtime_s: float = math.inf, *, dry_run: bool = False) -> Iterator[JobContext]:
    """Hold the scene and heed signals for the length of the block; a dry run holds nothing.

    Raises SceneBusyError when somebody else holds the scene.
    """
    with stop_on_signal(max_runtime_s) as stop:
        if dry_run:
            yield JobContext(SceneLock(), stop)
            return
        with lock_scene(catalog.engine) as hold:
            yield JobContext(hold, stop)


@contextmanager
def use_or_create(
    session: JobContext | None, catalog: Catalog, max_runtime_s: float = math.inf, *, dry_run: bool = False
) -> Iterator[JobContext]:
    """The session that a step is part of, or one of its own. Held once: nobody steps in between two steps of a job."""
    if session is not None:
        yield session
        return
    with work_session(catalog, max_runtime_s, dry_run=dry_run) as own:
        yield own
