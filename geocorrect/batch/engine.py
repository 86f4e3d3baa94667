"""Who computes: this process, or N processes of this machine. Every engine runs the same worker class."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Protocol

from geocorrect.batch.worker import Outcome, Task, Worker
from geocorrect.config import Settings
from geocorrect.errors import Reason
from geocorrect.records import Rejection

MAX_DEATHS_PER_TASK = 2
"""A task whose worker died this often is given up: the image, not bad luck, kills the process."""


class Engine(Protocol):
    """Computes tasks with workers that load their models once."""

    def map(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Outcomes in any order; every task gives exactly one, also when a worker process dies."""
        ...


class InProcessEngine:
    """One image after the other, here. The reference against which every other engine must agree."""

    def __init__(self, settings: Settings) -> None:
        self._worker = Worker(settings)

    def map(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See `Engine.map`; in order."""
        return map(self._worker, tasks)


class LocalProcessesEngine:
    """N worker processes; at most a few tasks per worker are in flight, so memory stays bounded."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._in_flight = 3 * settings.batch.workers

    def map(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See `Engine.map`."""
        waiting = iter(tasks)
        pool = self._pool(self._settings.batch.workers)
        running: dict[Future[Outcome], Task] = {}
        try:
            while True:
                fresh = islice(waiting, self._in_flight - len(running))
                running.update({pool.submit(_run_task, task): task for task in fresh})
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                if any(isinstance(future.exception(), BrokenProcessPool) for future in finished):
                    suspects, running = list(running.values()), {}
                    pool.shutdown(wait=True, cancel_futures=True)
                    yield from map(self._alone, suspects)
                    pool = self._pool(self._settings.batch.workers)
                for future in finished & running.keys():
                    del running[future]
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _alone(self, task: Task) -> Outcome:
        """Run one task in a process of its own, so that only the guilty one can be blamed for a death."""
        for _ in range(MAX_DEATHS_PER_TASK):
            with self._pool(1) as pool:
                try:
                    return pool.submit(_run_task, task).result()
                except BrokenProcessPool:
                    continue
        detail = f"its worker process died {MAX_DEATHS_PER_TASK} times, alone on the machine"
        return Outcome(Rejection(task.image.id, Reason.MEMORY_LIMIT, detail), task.pairs)

    def _pool(self, workers: int) -> ProcessPoolExecutor:
        # Read by numpy's BLAS when the child imports it: N processes times N threads is slower than N processes.
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(variable, "1")
        return ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(self._settings,),
        )


def build_engine(settings: Settings) -> Engine:
    """The configured engine."""
    if settings.batch.workers == 1:
        return InProcessEngine(settings)
    return LocalProcessesEngine(settings)


_worker: Worker | None = None


def _start_worker(settings: Settings) -> None:
    """Runs once in every worker process; Ctrl-C is left to the parent."""
    import cv2

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)
    _worker = Worker(settings)


def _run_task(task: Task) -> Outcome:
    assert _worker is not None
    return _worker(task)
