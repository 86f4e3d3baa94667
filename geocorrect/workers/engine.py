"""Who computes: this process, N processes of this machine, or actors of a cluster. All run the same worker class."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from geocorrect.config import BatchOptions
from geocorrect.errors import ConfigError
from geocorrect.workers.pool import Limits, WorkerHandle, WorkerPool, WorkItem
from geocorrect.workers.process import MakeWorker, ProcessWorker
from geocorrect.workers.stop import StopRequest

R = TypeVar("R")


class Engine(Protocol):
    """Computes tasks with workers that load their models once."""

    def map(
        self,
        make_worker: MakeWorker,
        pieces: Iterable[Sequence[WorkItem[R]]],
        stop: StopRequest,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> Iterator[R]:
        """Results in any order; every task gives exactly one, also when a worker dies.

        Args:
            make_worker: called once wherever a worker works.
            pieces: tasks that share anchors, drawn as they are needed.
            stop: once it is requested, only what is being computed is finished.
            while_waiting: called in this thread several times a second while workers compute; by an engine that
                computes in this thread, before every task.
        """
        ...


class InProcessEngine:
    """One image after the other, here: an image that kills its process ends the run, and the next one, too.

    The reference against which every other engine must agree.
    """

    def map(
        self,
        make_worker: MakeWorker,
        pieces: Iterable[Sequence[WorkItem[R]]],
        stop: StopRequest,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> Iterator[R]:
        """See `Engine.map`; in order."""
        worker = make_worker()
        for piece in pieces:
            for task in piece:
                if stop.requested:
                    return
                while_waiting()
                yield worker(task)


@dataclass(frozen=True)
class PoolEngine:
    """Several workers that can die and be replaced."""

    start_worker: Callable[[MakeWorker], WorkerHandle]
    """Given what makes a worker, starts one."""
    workers: int
    limits: Limits

    def map(
        self,
        make_worker: MakeWorker,
        pieces: Iterable[Sequence[WorkItem[R]]],
        stop: StopRequest,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> Iterator[R]:
        """See `Engine.map`."""
        pool: WorkerPool[R] = WorkerPool(partial(self.start_worker, make_worker), self.workers, self.limits, stop)
        return pool.results(pieces, while_waiting)


def build_engine(options: BatchOptions) -> Engine:
    """The configured engine; ConfigError when this machine cannot do what is asked."""
    limits = Limits(options.image_time_limit_s, options.worker_memory_limit_mb)
    if math.isfinite(limits.memory_mb) and not sys.platform.startswith("linux"):
        raise ConfigError("batch.worker_memory_limit_mb works on Linux only; leave it out here")
    if options.engine == "in-process":
        return InProcessEngine()
    if options.engine == "ray":
        from geocorrect.workers.ray_actor import ray_workers

        return PoolEngine(ray_workers(options), options.workers, limits)
    return PoolEngine(ProcessWorker, options.workers, limits)
