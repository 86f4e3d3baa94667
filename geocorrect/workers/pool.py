"""Tasks for several workers: who gets which, how many wait, what happens when one dies or takes too long.

The same for every kind of worker (processes here, actors on a cluster): a `WorkerHandle` is one worker that can die and
be replaced. Pieces of a tile stay with one worker, whose caches then serve them; at the end the others help.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

from geocorrect.errors import ModelError, Reason
from geocorrect.workers.limits import rejected, too_large, too_slow
from geocorrect.workers.stop import StopRequest
from geocorrect.workers.worker import Outcome, Task

log = logging.getLogger(__name__)
MAX_DEATHS_PER_TASK = 3
"""A task whose worker died this often is given up: the image kills it, not bad luck."""
MAX_DEATHS_AT_START = 3
STARTUP_WARNING_S = 60.0
"""A worker that is not ready after this long is told: nobody else says that a cluster has no room."""
POLL_INTERVAL_S = 0.25
"""How often limits are looked at."""
QUICK_S = 1.0
"""A worker whose images are quicker than this has the next one waiting; a stop then costs one more of them."""
GRACE = 1.25
GRACE_S = 2.0
"""A worker notices the time limit by itself; it is killed when it has not after this factor and these seconds."""


class WorkerHandle(Protocol):
    """One worker: made at once, ready when `ready` is done. It works on its tasks in order, one at a time."""

    def ready(self) -> Future[object]:
        """Done when its models are loaded; raises what the making of the worker raised."""
        ...

    def submit(self, task: Task) -> Future[Outcome]:
        """The outcome, or what the worker raised, or an exception that `died` tells."""
        ...

    def died(self, error: BaseException) -> bool:
        """Whether the error says that the worker is gone, and not what was wrong with the task."""
        ...

    def raise_if_unschedulable(self) -> None:
        """Raises when a worker that has not become ready never will."""
        ...

    def memory_mb(self) -> float:
        """Resident memory of the worker, nan when that cannot be told."""
        ...

    def kill(self) -> None:
        """End the worker at once."""
        ...

    def close(self) -> None:
        """End the worker when it has nothing more to do."""
        ...


@dataclass(frozen=True)
class Limits:
    """time_s: per image; memory_mb: resident, per worker; inf = no limit."""

    time_s: float = math.inf
    memory_mb: float = math.inf


@dataclass(eq=False)
class _Running:
    task: Task
    future: Future[Outcome]
    since_s: float


@dataclass(eq=False)
class _Slot:
    """A seat, the tasks it is working on (oldest first), and those that it will get next."""

    seat: WorkerHandle
    ready: Future[object]
    running: deque[_Running] = field(default_factory=deque)
    queue: deque[Task] = field(default_factory=deque)
    slowest_lately_s: float = math.inf
    deaths_at_start: int = 0
    looked_s: float = field(default_factory=time.monotonic)
    told: bool = False


class WorkerPool:
    """Workers and the tasks that they have; `outcomes` gives what they make of them."""

    def __init__(self, start_worker: Callable[[], WorkerHandle], size: int, limits: Limits, stop: StopRequest) -> None:
        self._start_worker, self._limits, self._stop = start_worker, limits, stop
        self._posts = [self._new_post() for _ in range(size)]
        self._deaths: Counter[str] = Counter()
        self._all_drawn = False

    def outcomes(
        self, pieces: Iterable[list[Task]], while_waiting: Callable[[], None] = lambda: None
    ) -> Iterator[Outcome]:
        """One outcome per task, in any order; see `engine.Engine.map`."""
        coming = iter(pieces)
        try:
            while self._hand_out(coming):
                self._wait()
                while_waiting()
                for post in self._posts:
                    yield from self._collect(post)
                    yield from self._enforce(post)
        finally:
            for post in self._posts:
                if post.running:  # somebody gave up in the middle
                    post.seat.kill()
                post.seat.close()

    def _wait(self) -> None:
        """Until something has happened, or it is time to look at the limits."""
        expected: list[Future[Any]] = [run.future for post in self._posts for run in post.running]
        expected += [post.ready for post in self._posts if not post.ready.done()]
        wait(expected, timeout=POLL_INTERVAL_S, return_when=FIRST_COMPLETED)
        for post in self._posts:
            if not post.ready.done() and time.monotonic() - post.looked_s > STARTUP_WARNING_S:
                self._look_at_the_late(post)

    def _look_at_the_late(self, post: _Slot) -> None:
        """Every STARTUP_WARNING_S: a cluster may be late itself in noticing that a node has ended."""
        post.looked_s = time.monotonic()
        post.seat.raise_if_unschedulable()
        if not post.told:
            post.told = True
            log.warning(
                "a worker is not ready after %.0f s: models are still loading, or a cluster has no room for it; "
                "the others go on",
                STARTUP_WARNING_S,
            )

    def _new_post(self) -> _Slot:
        seat = self._start_worker()
        return _Slot(seat, seat.ready())

    def _hand_out(self, coming: Iterator[list[Task]]) -> bool:
        """Give every worker that is ready something to do; whether there is anything to wait for."""
        for post in self._posts:
            if not self._is_ready(post):
                continue
            depth = 2 if post.slowest_lately_s < QUICK_S else 1
            while len(post.running) < depth and (task := self._next_task(post, coming)) is not None:
                post.running.append(_Running(task, post.seat.submit(task), time.monotonic()))
        if self._stop.requested:
            return any(post.running for post in self._posts)
        if self._all_drawn:  # a worker that never becomes ready is then no reason to stay
            return any(post.running or post.queue for post in self._posts)
        return any(post.running or not post.ready.done() for post in self._posts)

    def _is_ready(self, post: _Slot) -> bool:
        if not post.ready.done():
            return False
        error = post.ready.exception()
        if error is None:
            post.deaths_at_start = 0
            return True
        if not post.seat.died(error):
            raise error
        if post.deaths_at_start == MAX_DEATHS_AT_START:
            raise ModelError(
                f"worker processes die while they start, {MAX_DEATHS_AT_START + 1} times in a row ({_brief(error)}); "
                "is there enough memory for batch.workers times the models?"
            )
        if not self._stop.requested:
            post.deaths_at_start += 1
            self._replace(post)
        return False

    def _replace(self, post: _Slot) -> None:
        post.seat.close()
        post.seat = self._start_worker()
        post.ready = post.seat.ready()
        post.looked_s, post.told = time.monotonic(), False

    def _next_task(self, post: _Slot, coming: Iterator[list[Task]]) -> Task | None:
        """From its own piece, else a new piece, else the end of the longest piece of the others."""
        if self._stop.requested:
            return None
        while not post.queue and not self._all_drawn:
            piece = next(coming, None)
            self._all_drawn = piece is None
            post.queue.extend(piece or ())
        if post.queue:
            return post.queue.popleft()
        longest = max(self._posts, key=lambda other: len(other.queue))
        return longest.queue.pop() if longest.queue else None

    def _collect(self, post: _Slot) -> Iterator[Outcome]:
        """What a worker has finished; a death is blamed on the oldest task that it had not."""
        while post.running and post.running[0].future.done():
            first = post.running[0]
            error = first.future.exception()
            if error is not None:
                if not post.seat.died(error):
                    raise error
                yield from self._handle_worker_death(post)
                return
            post.running.popleft()
            now_s = time.monotonic()
            post.slowest_lately_s = now_s - first.since_s
            if post.running:
                post.running[0].since_s = now_s
            yield first.future.result()

    def _handle_worker_death(self, post: _Slot) -> Iterator[Outcome]:
        """The worker died of itself: its task is tried again, a few times."""
        guilty = post.running[0].task
        self._deaths[guilty.image.id] += 1
        log.warning("a worker died while it worked on this image", extra={"image_id": guilty.image.id})
        gives_up = self._deaths[guilty.image.id] >= MAX_DEATHS_PER_TASK
        self._take_back(post, leave_out=1 if gives_up else 0)
        if gives_up:
            yield rejected(guilty, Reason.MEMORY_LIMIT, f"its worker process died {MAX_DEATHS_PER_TASK} times")

    def _enforce(self, post: _Slot) -> Iterator[Outcome]:
        """Kill the worker whose oldest task is over a limit; that task is rejected, the others are tried again."""
        if not post.running or post.running[0].future.done():
            return
        first, limits = post.running[0], self._limits
        if time.monotonic() - first.since_s > limits.time_s * GRACE + GRACE_S:
            outcome = too_slow(first.task, limits.time_s)
        elif math.isfinite(limits.memory_mb) and (used_mb := post.seat.memory_mb()) > limits.memory_mb:
            detail = f"{used_mb:.0f} MB used, {limits.memory_mb:g} MB allowed (batch.worker_memory_limit_mb)"
            outcome = too_large(first.task, detail)
        else:
            return
        post.seat.kill()
        self._take_back(post, leave_out=1)
        yield outcome

    def _take_back(self, post: _Slot, leave_out: int) -> None:
        """A new worker for the post; tasks of the old one, but for the first `leave_out`, come first."""
        tasks = [run.task for run in post.running][leave_out:]
        post.running.clear()
        post.queue.extendleft(reversed(tasks))
        post.slowest_lately_s = math.inf
        if not self._stop.requested:
            self._replace(post)


def _brief(error: BaseException) -> str:
    """An error's last line, where libraries that quote a remote traceback say what it was."""
    lines = str(error).strip().splitlines()
    return lines[-1][:300] if lines else type(error).__name__
