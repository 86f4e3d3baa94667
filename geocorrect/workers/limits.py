"""What every worker does around an image: keep to its limits, survive lack of memory and bugs, refuse other weights."""

from __future__ import annotations

import logging
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from geocorrect.errors import GeocorrectError, InputError, ModelError, Reason
from geocorrect.jobs.run_identity import RunDescription
from geocorrect.records import Rejection
from geocorrect.workers.worker import Outcome, Task, Worker

log = logging.getLogger(__name__)
OPENCV_NO_MEMORY = -4
MAX_BUGS_IN_A_ROW = 5
"""So many images in a row that one worker fails on are no matter of the images: the last one's error ends the run."""


@dataclass(frozen=True)
class GuardedWorkers:
    """Makes guarded workers of one run. Picklable."""

    description: RunDescription

    def __call__(self) -> GuardedWorker:
        """A worker with its models; ModelError when they are not those that the run was described with."""
        expected = self.description
        worker = Worker(expected.settings)
        if worker.fingerprints != (expected.matcher, expected.depth):
            raise ModelError(
                f"the weights were replaced while the run worked: it began with {expected.matcher}, {expected.depth}, "
                f"now there are {', '.join(worker.fingerprints)}; start it again, that is another run"
            )
        return GuardedWorker(worker, expected.settings.batch.image_time_limit_s)


class GuardedWorker:
    """Corrects an image; one that takes too long or too much memory, or that geocorrect fails on, is rejected.

    The time limit is an alarm that Python notices between two calls into compiled code: a single call that never
    returns is only ended by an engine that can kill the process. Without a main thread there is no alarm at all.
    """

    def __init__(self, worker: Worker, time_limit_s: float) -> None:
        self.worker, self.time_limit_s = worker, time_limit_s
        self._bugs_in_a_row = 0

    def __call__(self, task: Task) -> Outcome:
        """The outcome with the task's input hash. Raises what a human must mend, and the last of many bugs in a row."""
        try:
            outcome = self._limited(task)
        except Exception as error:
            self._bugs_in_a_row += 1
            if _is_for_a_human(error) or self._bugs_in_a_row >= MAX_BUGS_IN_A_ROW:
                raise
            log.exception("geocorrect failed on this image: a bug, please report it")
            return rejected(task, Reason.INTERNAL_ERROR, _brief(error))
        self._bugs_in_a_row = 0
        return outcome

    def _limited(self, task: Task) -> Outcome:
        try:
            with _alarm_after(self.time_limit_s):
                return replace(self.worker(task), input_hash=task.input_hash)
        except _TimeIsUp:
            return too_slow(task, self.time_limit_s)
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            return too_large(task, _brief(error))


def too_slow(task: Task, limit_s: float) -> Outcome:
    """The outcome of a task that took too long."""
    return rejected(task, Reason.TIME_LIMIT, f"not done after {limit_s:g} s (batch.image_time_limit_s)")


def too_large(task: Task, detail: str) -> Outcome:
    """The outcome of a task that needed too much memory."""
    return rejected(task, Reason.MEMORY_LIMIT, detail)


def rejected(task: Task, reason: Reason, detail: str) -> Outcome:
    """The outcome of a task that no worker finished."""
    return Outcome(Rejection(task.image.id, reason, detail), task.pairs, (), task.input_hash)


class _TimeIsUp(BaseException):
    """Not an Exception: nothing between the alarm and the guard may take it for an error of its own."""


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


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _is_for_a_human(error: Exception) -> bool:
    """Whether every image meets it until somebody mends it; a file of this one that nobody foresaw is not that."""
    return isinstance(error, GeocorrectError) and not isinstance(error, InputError)


def _is_out_of_memory(error: Exception) -> bool:
    """MemoryError, and what OpenCV and torch raise instead; by name, because neither is loaded here."""
    kind = type(error).__name__
    return (
        isinstance(error, MemoryError)
        or kind == "OutOfMemoryError"
        or (kind == "error" and getattr(error, "code", 0) == OPENCV_NO_MEMORY)
    )
