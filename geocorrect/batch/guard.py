"""What every worker does around an image: keep to the time limit, survive a lack of memory, refuse replaced weights."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from geocorrect.batch.describe import RunDescription
from geocorrect.batch.worker import Outcome, Task, Worker
from geocorrect.errors import ModelError, Reason
from geocorrect.records import Rejection

OPENCV_NO_MEMORY = -4


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


@dataclass(frozen=True, eq=False)
class GuardedWorker:
    """Corrects an image; one that takes too long or too much memory is rejected, and the next one has its turn.

    The time limit is an alarm that Python notices between two calls into compiled code: a single call that never
    returns is only ended by an engine that can kill the process. Without a main thread there is no alarm at all.
    """

    worker: Worker
    time_limit_s: float

    def __call__(self, task: Task) -> Outcome:
        """The outcome with the task's input hash."""
        try:
            with _alarm_after(self.time_limit_s):
                return replace(self.worker(task), input_hash=task.input_hash)
        except _TimeIsUp:
            return too_slow(task, self.time_limit_s)
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            return too_large(task, f"{type(error).__name__}: {error}".splitlines()[0][:200])


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


def _is_out_of_memory(error: Exception) -> bool:
    """MemoryError, and what OpenCV and torch raise instead; by name, because neither is loaded here."""
    kind = type(error).__name__
    return (
        isinstance(error, MemoryError)
        or kind == "OutOfMemoryError"
        or (kind == "error" and getattr(error, "code", 0) == OPENCV_NO_MEMORY)
    )
