"""A worker in a process of its own on this machine."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from geocorrect.workers.freed_memory import keep_freed_memory

MakeWorker = Callable[[], Callable[[Any], Any]]
"""Makes a worker: called once per process, so that models are loaded once. Must be picklable."""
_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}


def one_thread_per_child() -> None:
    """Child processes that start from now on compute with one thread, unless the user's environment says otherwise.

    numpy's BLAS reads it when the child imports it: N processes times N threads is slower than N processes.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


class ProcessWorker:
    """See `pool.WorkerHandle`. A pool of one process: which task killed it is then never in doubt."""

    def __init__(self, make_worker: MakeWorker) -> None:
        one_thread_per_child()
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_start, initargs=(make_worker,))
        with _stop_signals_blocked():
            self._ready: Future[Any] = self._pool.submit(_process_id)

    def ready(self) -> Future[object]:
        """See `pool.WorkerHandle.ready`."""
        return self._ready

    def submit(self, task: Any) -> Future[Any]:
        """See `pool.WorkerHandle.submit`."""
        try:
            return self._pool.submit(_work, task)
        except BrokenProcessPool as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def died(self, error: BaseException) -> bool:
        """See `pool.WorkerHandle.died`."""
        return isinstance(error, BrokenProcessPool)

    def raise_if_unschedulable(self) -> None:
        """See `pool.WorkerHandle.raise_if_unschedulable`: a process that cannot start has died."""

    def memory_mb(self) -> float:
        """See `pool.WorkerHandle.memory_mb`."""
        return resident_mb(self._ready.result()) if self._is_alive() else math.nan

    def kill(self) -> None:
        """See `pool.WorkerHandle.kill`."""
        # Until the pool has noticed and reaped it the number cannot belong to anybody else.
        if self._is_alive():
            with suppress(ProcessLookupError):
                os.kill(self._ready.result(), signal.SIGKILL)

    def close(self) -> None:
        """See `pool.WorkerHandle.close`."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _is_alive(self) -> bool:
        return self._ready.done() and self._ready.exception() is None


def resident_mb(process_id: int) -> float:
    """Memory of a process of this machine in MiB; nan where there is no /proc, or no such process."""
    try:
        pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return math.nan
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


@contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """Signals that ask for a stop wait while the block starts a process, which inherits that.

    A service manager signals the whole group; the parent alone decides what that means, also while children start.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker: Callable[[Any], Any] | Exception | None = None


def _start(make_worker: MakeWorker) -> None:
    """Runs once in every worker process.

    An exception is kept for the first task to raise: thrown here it would look like a death of the process.
    """
    import cv2

    global _worker
    _end_with_parent()
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    keep_freed_memory()
    try:
        _worker = make_worker()
    except Exception as error:
        _worker = error


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended, even killed, even in the middle of an image.

    A pool's workers wait for work on a pipe whose other end they hold themselves, so they would wait for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _process_id() -> int:
    if isinstance(_worker, Exception):
        raise _worker
    return os.getpid()


def _work(task: Any) -> Any:
    assert callable(_worker)
    return _worker(task)
