"""Who computes: this process, or N processes of this machine. Every engine runs the same worker class."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Protocol

from geocorrect.batch.options import BatchOptions
from geocorrect.batch.orphan import end_with_parent
from geocorrect.batch.worker import Outcome, Task
from geocorrect.errors import Reason
from geocorrect.records import Rejection

WorkerFactory = Callable[[], Callable[[Task], Outcome]]
"""Makes a worker: called once per process, so that models are loaded once. Must be picklable."""

MAX_DEATHS_PER_TASK = 2
"""A task whose worker died this often, alone on the machine, is given up: the image kills it, not bad luck."""


class Engine(Protocol):
    """Computes tasks with workers that load their models once."""

    def map(self, make_worker: WorkerFactory, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Outcomes in any order; every task gives exactly one, also when a worker process dies."""
        ...


class InProcessEngine:
    """One image after the other, here. The reference against which every other engine must agree."""

    def map(self, make_worker: WorkerFactory, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See `Engine.map`; in order."""
        return map(make_worker(), tasks)


class LocalProcessesEngine:
    """N worker processes; at most a few tasks per worker are in flight, so memory stays bounded."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._in_flight = 3 * workers

    def map(self, make_worker: WorkerFactory, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See `Engine.map`."""
        waiting = iter(tasks)
        pool = _pool(make_worker, self._workers)
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
                    yield from (_run_alone(make_worker, task) for task in suspects)
                    pool = _pool(make_worker, self._workers)
                for future in finished & running.keys():
                    del running[future]
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def build_engine(options: BatchOptions) -> Engine:
    """The configured engine."""
    return InProcessEngine() if options.workers == 1 else LocalProcessesEngine(options.workers)


def _run_alone(make_worker: WorkerFactory, task: Task) -> Outcome:
    """Run one task in a process of its own, so that only the guilty one can be blamed for a death."""
    for _ in range(MAX_DEATHS_PER_TASK):
        with _pool(make_worker, 1) as pool:
            # A worker that cannot even start is nobody's image's fault: let that raise.
            pool.submit(_worker_is_ready).result()
            try:
                return pool.submit(_run_task, task).result()
            except BrokenProcessPool:
                continue
    detail = f"its worker process died {MAX_DEATHS_PER_TASK} times, alone on the machine"
    return Outcome(Rejection(task.image.id, Reason.MEMORY_LIMIT, detail), task.pairs)


def _pool(make_worker: WorkerFactory, workers: int) -> ProcessPoolExecutor:
    # Read by numpy's BLAS when the child imports it: N processes times N threads is slower than N processes.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(make_worker,))


_worker: Callable[[Task], Outcome] | Exception | None = None


def _start_worker(make_worker: WorkerFactory) -> None:
    """Runs once in every worker process; Ctrl-C is left to the parent.

    An exception is kept for the first task to raise: thrown here it would look like a death of the process.
    """
    import cv2

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)
    end_with_parent()
    try:
        _worker = make_worker()
    except Exception as error:
        _worker = error


def _worker_is_ready() -> bool:
    if isinstance(_worker, Exception):
        raise _worker
    return True


def _run_task(task: Task) -> Outcome:
    _worker_is_ready()
    assert callable(_worker)
    return _worker(task)
