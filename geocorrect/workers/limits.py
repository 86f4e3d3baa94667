"""What surrounds a worker in every process: time and memory limits, bugs that cost one image, log lines with its id."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from geocorrect.config import Settings
from geocorrect.errors import GeocorrectError, InputError, ModelError, Reason
from geocorrect.log import LogSetup, current_setup, logged_image, resume
from geocorrect.records import Correction
from geocorrect.workers.pool import too_slow
from geocorrect.workers.worker import Outcome, Task, Worker

log = logging.getLogger(__name__)
OPENCV_NO_MEMORY = -4
MAX_BUGS_IN_A_ROW = 5
"""So many failures in a row are not due to the images: the last one's error ends the run."""


@dataclass(frozen=True)
class WorkerFactory:
    """Makes the worker of a run, in whatever process it will work. Picklable."""

    settings: Settings
    fingerprints: tuple[str, ...]
    """Of matcher, depth source and further networks when the run was planned."""
    log_setup: LogSetup = field(default_factory=current_setup)
    """Of the process that plans the run."""

    def __call__(self) -> LimitedWorker:
        """A worker with its models; ModelError when they are not those that the run was planned with."""
        resume(self.log_setup)
        worker = Worker(self.settings)
        if worker.fingerprints != self.fingerprints:
            raise ModelError(
                f"the weights were replaced while the run worked: it began with {', '.join(self.fingerprints)}, "
                f"now there are {', '.join(worker.fingerprints)}; start it again, that is another run"
            )
        return LimitedWorker(worker, self.settings.batch.image_time_limit_s)


class LimitedWorker:
    """Corrects an image; one that takes too long or too much memory, or that geocorrect fails on, is rejected.

    The time limit is an alarm that Python notices between two calls into compiled code: a single call that never
    returns is only ended by an engine that can kill the process. Without a main thread there is no alarm at all.
    """

    def __init__(self, work: Callable[[Task], Outcome], time_limit_s: float) -> None:
        self.work, self.time_limit_s = work, time_limit_s
        self._bugs_in_a_row = 0

    def __call__(self, task: Task) -> Outcome:
        """The outcome. Raises errors that concern every image, and the last of many bugs in a row."""
        started_s = time.monotonic()
        with logged_image(task.key):
            outcome = self._survive(task)
            log.info("%s in %.2f s", _verdict(outcome), time.monotonic() - started_s)
        return outcome

    def _survive(self, task: Task) -> Outcome:
        try:
            with _alarm_after(self.time_limit_s):
                outcome = self.work(task)
        except _TimeIsUp:
            outcome = task.failed(Reason.TIME_LIMIT, too_slow(self.time_limit_s))
        except Exception as error:
            if _is_out_of_memory(error):
                outcome = task.failed(Reason.MEMORY_LIMIT, _brief(error))
            else:
                self._bugs_in_a_row += 1
                if _concerns_every_image(error) or self._bugs_in_a_row >= MAX_BUGS_IN_A_ROW:
                    raise
                log.exception("geocorrect failed on this image: a bug, please report it")
                return task.failed(Reason.INTERNAL_ERROR, _brief(error))
        self._bugs_in_a_row = 0
        return outcome


class _TimeIsUp(BaseException):
    """Not an Exception: nothing between the alarm and its handler may take it for an error of its own."""


@contextmanager
def _alarm_after(limit_s: float) -> Iterator[None]:
    """Raise _TimeIsUp in the block after so many seconds of wall clock."""
    if not math.isfinite(limit_s) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _verdict(outcome: Outcome) -> str:
    result = outcome.result
    if isinstance(result, Correction):
        return f"{result.status.value}, expected error {result.expected_error_m:.2f} m"
    return f"rejected, {result.reason.value} ({result.detail})"


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _concerns_every_image(error: Exception) -> bool:
    """Whether every image meets it until a person fixes it; an unforeseen file of this one is not that."""
    return isinstance(error, GeocorrectError) and not isinstance(error, InputError)


def _is_out_of_memory(error: Exception) -> bool:
    """MemoryError, and what OpenCV and torch raise instead; by name, because neither is loaded here."""
    kind = type(error).__name__
    return (
        isinstance(error, MemoryError)
        or kind == "OutOfMemoryError"
        or (kind == "error" and getattr(error, "code", 0) == OPENCV_NO_MEMORY)
    )
