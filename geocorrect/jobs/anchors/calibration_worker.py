"""One anchor from its record to what its neighbours say about its depth, on disk; here, or in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice

from geocorrect.config import Settings
from geocorrect.depth.calibration.stored import CalibrationReport
from geocorrect.errors import InputError
from geocorrect.records import Anchor
from geocorrect.workers.anchor_cache import AnchorCache
from geocorrect.workers.backends import build_matcher, build_neighbour_depth
from geocorrect.workers.orphan import end_with_parent


@dataclass(frozen=True)
class CalibrationTask:
    """An anchor and the neighbours that tell its depth. Everything a process needs; it never sees the catalog."""

    anchor: Anchor
    neighbours: tuple[Anchor, ...]


class AnchorCalibrator:
    """Loads models once and calibrates one anchor after the other."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError when the configured source is not one that neighbours calibrate."""
        matcher = build_matcher(settings)
        self._reader = AnchorCache(settings, matcher)
        self._source = build_neighbour_depth(settings, matcher, self._reader.book)

    @property
    def fingerprint(self) -> str:
        """Of the depth source, matcher and options included."""
        return self._source.fingerprint

    def is_stored(self, task: CalibrationTask) -> bool:
        """Whether the anchor is done already; nothing is read."""
        self._learn(task)
        return self._source.store.path(self._source.key(task.anchor)).exists()

    def remove_unfinished(self) -> None:
        """Delete what killed processes left half-written."""
        self._source.store.remove_unfinished()

    def __call__(self, task: CalibrationTask) -> CalibrationReport | str:
        """Calibrate and store, or read what is stored; a message when a file cannot be read."""
        self._learn(task)
        try:
            return self._source.prepare(task.anchor, self._reader.view)
        except InputError as error:
            return f"anchor {task.anchor.id}: {error}"

    def _learn(self, task: CalibrationTask) -> None:
        self._reader.book.learn({task.anchor.id: task.neighbours}, (task.anchor,))


def calibrate_in_processes(settings: Settings, tasks: Iterable[CalibrationTask]) -> Iterator[CalibrationReport | str]:
    """Results in any order, from `batch.workers` processes with a few tasks each, so that memory stays bounded.

    A process that dies takes its pool with it; what was in flight is then a message, and a new pool goes on.
    """
    workers, waiting = settings.batch.workers, iter(tasks)
    pool = _pool(settings, workers)
    running: dict[Future[CalibrationReport | str], CalibrationTask] = {}
    try:
        while True:
            fresh = list(islice(waiting, 3 * workers - len(running)))
            running.update({_submitted(pool, task): task for task in fresh})
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in finished):
                pool.shutdown(wait=True, cancel_futures=True)
                pool = _pool(settings, workers)
                lost, running = running, {}
                yield from (_after_death(future, task) for future, task in lost.items())
                continue
            for future in finished:
                del running[future]
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, task: CalibrationTask) -> Future[CalibrationReport | str]:
    """The future of a task; a failed one when the pool broke a moment ago."""
    try:
        return pool.submit(_calibrate, task)
    except BrokenProcessPool as error:
        failed: Future[CalibrationReport | str] = Future()
        failed.set_exception(error)
        return failed


def _after_death(future: Future[CalibrationReport | str], task: CalibrationTask) -> CalibrationReport | str:
    if future.exception() is None:
        return future.result()
    return f"anchor {task.anchor.id}: a process died with it (memory?); run again, with fewer workers"


def _pool(settings: Settings, workers: int) -> ProcessPoolExecutor:
    # Read by numpy's BLAS when the child imports it: N processes times N threads is slower than N processes.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_start, initargs=(settings,))


_calibrator: AnchorCalibrator | Exception | None = None


def _start(settings: Settings) -> None:
    """Runs once in every process; what goes wrong is kept for the first task to raise, lest it look like a death."""
    import cv2

    global _calibrator
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    try:
        _calibrator = AnchorCalibrator(settings)
    except Exception as error:
        _calibrator = error


def _calibrate(task: CalibrationTask) -> CalibrationReport | str:
    if isinstance(_calibrator, Exception):
        raise _calibrator
    assert _calibrator is not None
    return _calibrator(task)
