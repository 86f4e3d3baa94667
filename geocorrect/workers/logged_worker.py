"""Workers whose log lines name run and image, in whatever process they work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from geocorrect.log import LogSetup, current_setup, logged_image, resume
from geocorrect.records import Correction
from geocorrect.workers.worker import Outcome, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggedWorkers:
    """Makes workers that log as the process that plans the run does. Picklable if `make_worker` is."""

    make_worker: Callable[[], Callable[[Task], Outcome]]
    setup: LogSetup = field(default_factory=current_setup)

    def __call__(self) -> Callable[[Task], Outcome]:
        """A worker; called once in every process that computes."""
        resume(self.setup)
        return _LoggedWorker(self.make_worker())


@dataclass(frozen=True)
class _LoggedWorker:
    work: Callable[[Task], Outcome]

    def __call__(self, task: Task) -> Outcome:
        started_s = time.monotonic()
        with logged_image(task.image.id):
            outcome = self.work(task)
            log.info("%s in %.2f s", _verdict(outcome), time.monotonic() - started_s)
        return outcome


def _verdict(outcome: Outcome) -> str:
    result = outcome.result
    if isinstance(result, Correction):
        return f"{result.status.value}, expected error {result.expected_error_m:.2f} m"
    return f"rejected, {result.reason.value} ({result.detail})"
