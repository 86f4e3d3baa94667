"""Tasks for several workers: who gets which, how many wait, what happens when one dies or takes too long.

The same for every kind of worker (processes here, actors on a cluster): a `WorkerHandle` is one worker that can die and
be replaced. Pieces of a tile stay with one worker, whose caches then serve them; at the end the others help.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from geocorrect.errors import ModelError, Reason
from geocorrect.workers.stop import StopRequest

log = logging.getLogger(__name__)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
MAX_DEATHS_PER_TASK = 3
"""A task whose worker died this often is given up: the image kills it, not bad luck."""
MAX_DEATHS_AT_START = 3
STARTUP_WARNING_S = 60.0
"""A worker that is not ready after this long is reported: nobody else says that a cluster has no room."""
POLL_INTERVAL_S = 0.25
"""How often limits are checked."""
QUICK_S = 1.0
"""A worker whose images are quicker than this has the next one waiting; a stop then costs one more of them."""
GRACE = 1.25
GRACE_S = 2.0
"""A worker notices the time limit by itself; it is killed when it has not after this factor and these seconds."""


class WorkItem(Protocol[R_co]):
    """A task as the pool sees it."""

    @property
    def key(self) -> str:
        """Name of the task in the log."""
        ...

    def failed(self, reason: Reason, detail: str) -> R_co:
        """The result when no worker can finish the task."""
        ...


class WorkerHandle(Protocol):
    """One worker: started at once, ready when `ready` is done. It works on its tasks in order, one at a time."""

    def ready(self) -> Future[object]:
        """Done when its models are loaded; raises what the making of the worker raised."""
        ...

    def submit(self, task: Any) -> Future[Any]:
        """The result, or what the worker raised, or an exception that `died` recognises."""
        ...

    def died(self, error: BaseException) -> bool:
        """Whether the error means that the worker is gone, not that the task failed."""
        ...

    def raise_if_unschedulable(self) -> None:
        """Raises when a worker that has not become ready never will."""
        ...

    def memory_mb(self) -> float:
        """Resident memory of the worker in MiB, nan when unknown."""
        ...

    def kill(self) -> None:
        """End the worker at once."""
        ...

    def close(self) -> None:
        """End the worker when it has nothing more to do."""
        ...


@dataclass(frozen=True)
class Limits:
    """What one worker may take; inf = no limit."""

    time_s: float = math.inf
    """Per task."""
    memory_mb: float = math.inf
    """Resident, MiB."""


@dataclass(eq=False)
class _Running(Generic[R]):
    task: WorkItem[R]
    future: Future[R]
    since_s: float


@dataclass(eq=False)
class _Slot(Generic[R]):
    """A worker, the tasks it is working on (oldest first), and those that it will get next."""

    worker: WorkerHandle
    ready: Future[object]
    running: deque[_Running[R]] = field(default_factory=deque)
    queue: deque[WorkItem[R]] = field(default_factory=deque)
    last_task_s: float = math.inf
    deaths_at_start: int = 0
    checked_s: float = field(default_factory=time.monotonic)
    warned: bool = False


class WorkerPool(Generic[R]):
    """Workers and their tasks; `results` gives what they make of them."""

    def __init__(self, start_worker: Callable[[], WorkerHandle], size: int, limits: Limits, stop: StopRequest) -> None:
        self._start_worker, self._limits, self._stop = start_worker, limits, stop
        self._slots: list[_Slot[R]] = [self._new_slot() for _ in range(size)]
        self._deaths: Counter[str] = Counter()
        self._all_drawn = False

    def results(
        self, pieces: Iterable[Sequence[WorkItem[R]]], while_waiting: Callable[[], None] = lambda: None
    ) -> Iterator[R]:
        """One result per task, in any order; see `engine.Engine.map`."""
        coming = iter(pieces)
        try:
            while self._hand_out(coming):
                self._wait()
                while_waiting()
                for slot in self._slots:
                    yield from self._collect(slot)
                    yield from self._enforce_limits(slot)
        finally:
            for slot in self._slots:
                if slot.running:  # the caller gave up in the middle
                    slot.worker.kill()
                slot.worker.close()

    def _wait(self) -> None:
        """Until something has happened, or it is time to check the limits."""
        expected: list[Future[Any]] = [run.future for slot in self._slots for run in slot.running]
        expected += [slot.ready for slot in self._slots if not slot.ready.done()]
        wait(expected, timeout=POLL_INTERVAL_S, return_when=FIRST_COMPLETED)
        for slot in self._slots:
            if not slot.ready.done() and time.monotonic() - slot.checked_s > STARTUP_WARNING_S:
                self._check_late_worker(slot)

    def _check_late_worker(self, slot: _Slot[R]) -> None:
        """Again every STARTUP_WARNING_S: a cluster may be late itself in noticing that a node has ended."""
        slot.checked_s = time.monotonic()
        slot.worker.raise_if_unschedulable()
        if not slot.warned:
            slot.warned = True
            log.warning(
                "a worker is not ready after %.0f s: models are still loading, or a cluster has no room for it; "
                "the others go on",
                STARTUP_WARNING_S,
            )

    def _new_slot(self) -> _Slot[R]:
        worker = self._start_worker()
        return _Slot(worker, worker.ready())

    def _hand_out(self, coming: Iterator[Sequence[WorkItem[R]]]) -> bool:
        """Give every worker that is ready something to do; whether there is anything to wait for."""
        for slot in self._slots:
            if not self._is_ready(slot):
                continue
            depth = 2 if slot.last_task_s < QUICK_S else 1
            while len(slot.running) < depth and (task := self._next_task(slot, coming)) is not None:
                slot.running.append(_Running(task, slot.worker.submit(task), time.monotonic()))
        if self._stop.requested:
            return any(slot.running for slot in self._slots)
        if self._all_drawn:  # a worker that never becomes ready is then no reason to stay
            return any(slot.running or slot.queue for slot in self._slots)
        return any(slot.running or not slot.ready.done() for slot in self._slots)

    def _is_ready(self, slot: _Slot[R]) -> bool:
        if not slot.ready.done():
            return False
        error = slot.ready.exception()
        if error is None:
            slot.deaths_at_start = 0
            return True
        if not slot.worker.died(error):
            raise error
        if slot.deaths_at_start == MAX_DEATHS_AT_START:
            raise ModelError(
                f"worker processes die while they start, {MAX_DEATHS_AT_START + 1} times in a row ({_brief(error)}); "
                "is there enough memory for batch.workers times the models?"
            )
        if not self._stop.requested:
            slot.deaths_at_start += 1
            self._replace(slot)
        return False

    def _replace(self, slot: _Slot[R]) -> None:
        slot.worker.close()
        slot.worker = self._start_worker()
        slot.ready = slot.worker.ready()
        slot.checked_s, slot.warned = time.monotonic(), False

    def _next_task(self, slot: _Slot[R], coming: Iterator[Sequence[WorkItem[R]]]) -> WorkItem[R] | None:
        """From its own piece, else a new piece, else the end of the longest piece of the others."""
        if self._stop.requested:
            return None
        while not slot.queue and not self._all_drawn:
            piece = next(coming, None)
            self._all_drawn = piece is None
            slot.queue.extend(piece or ())
        if slot.queue:
            return slot.queue.popleft()
        longest = max(self._slots, key=lambda other: len(other.queue))
        return longest.queue.pop() if longest.queue else None

    def _collect(self, slot: _Slot[R]) -> Iterator[R]:
        """What a worker has finished; a death is blamed on the oldest task that it had not."""
        while slot.running and slot.running[0].future.done():
            first = slot.running[0]
            error = first.future.exception()
            if error is not None:
                if not slot.worker.died(error):
                    raise error
                yield from self._handle_worker_death(slot)
                return
            slot.running.popleft()
            now_s = time.monotonic()
            slot.last_task_s = now_s - first.since_s
            if slot.running:
                slot.running[0].since_s = now_s
            yield first.future.result()

    def _handle_worker_death(self, slot: _Slot[R]) -> Iterator[R]:
        """The worker died of itself: its task is tried again, a few times."""
        task = slot.running[0].task
        self._deaths[task.key] += 1
        log.warning("a worker died while it worked on this image", extra={"image_id": task.key})
        gives_up = self._deaths[task.key] >= MAX_DEATHS_PER_TASK
        self._restart(slot, leave_out=1 if gives_up else 0)
        if gives_up:
            yield task.failed(Reason.MEMORY_LIMIT, f"its worker process died {MAX_DEATHS_PER_TASK} times")

    def _enforce_limits(self, slot: _Slot[R]) -> Iterator[R]:
        """Kill the worker whose oldest task is over a limit; that task fails, the others are tried again."""
        if not slot.running or slot.running[0].future.done():
            return
        first, limits = slot.running[0], self._limits
        if time.monotonic() - first.since_s > limits.time_s * GRACE + GRACE_S:
            failed = first.task.failed(Reason.TIME_LIMIT, too_slow(limits.time_s))
        elif math.isfinite(limits.memory_mb) and (used_mb := slot.worker.memory_mb()) > limits.memory_mb:
            detail = f"{used_mb:.0f} MB used, {limits.memory_mb:g} MB allowed (batch.worker_memory_limit_mb)"
            failed = first.task.failed(Reason.MEMORY_LIMIT, detail)
        else:
            return
        slot.worker.kill()
        self._restart(slot, leave_out=1)
        yield failed

    def _restart(self, slot: _Slot[R], leave_out: int) -> None:
        """A new worker for the slot; tasks of the old one, but for the first `leave_out`, come first."""
        tasks = [run.task for run in slot.running][leave_out:]
        slot.running.clear()
        slot.queue.extendleft(reversed(tasks))
        slot.last_task_s = math.inf
        if not self._stop.requested:
            self._replace(slot)


def too_slow(limit_s: float) -> str:
    """Why a task that reached its time limit has no result."""
    return f"not done after {limit_s:g} s (batch.image_time_limit_s)"


def _brief(error: BaseException) -> str:
    """An error's last line, where libraries that quote a remote traceback say what it was."""
    lines = str(error).strip().splitlines()
    return lines[-1][:300] if lines else type(error).__name__
