"""Workers as Ray actors, on this machine or on a cluster: the only file that knows Ray.

Every machine of the cluster needs geocorrect, the weights, and the folders of photos and anchors under the same paths.
"""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from geocorrect.batch.options import BatchOptions
from geocorrect.batch.process_seat import WorkerFactory, resident_mb
from geocorrect.batch.worker import Outcome, Task
from geocorrect.errors import ConfigError

LOOK_S = 0.25
CONNECT_S = 10.0


def ray_seats(options: BatchOptions) -> Callable[[WorkerFactory], RaySeat]:
    """Connects to the cluster, or starts one of this machine alone, and returns what starts an actor there.

    ConfigError when the extra is missing, the cluster does not answer, or it has too few processors or GPUs.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError('batch.engine = "ray" needs the extra: pip install "geocorrect[ray]"') from None
    there: Any = ray  # typed in part only
    if not there.is_initialized():
        with _own_signals():
            _connect(there, options)
    _require_resources(there.cluster_resources(), options)
    # Restarts are ours: a task that kills its actor must be told from one that was merely there.
    demands: dict[str, Any] = {
        "num_cpus": options.cpus_per_worker,
        "num_gpus": options.gpus_per_worker,
        "max_restarts": 0,
        "max_task_retries": 0,
    }
    actor = there.remote(**demands)(_Actor)
    return lambda make_worker: RaySeat(there, actor.remote(make_worker, options.worker_memory_limit_mb))


def _connect(ray: Any, options: BatchOptions) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "include_dashboard": False}
    try:
        if options.ray_address is None:
            cpus = max(os.cpu_count() or 1, math.ceil(options.workers * options.cpus_per_worker))
            ray.init(address="local", num_cpus=cpus, **quiet)
        else:
            _require_listener(options.ray_address)
            ray.init(address=options.ray_address, log_to_driver=False, configure_logging=False)
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"batch.ray_address = {options.ray_address!r}: {first}") from None


def _require_listener(address: str) -> None:
    """OSError when nobody answers at host:port; Ray itself would try for minutes."""
    found = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if found is not None:
        socket.create_connection((found[1], int(found[2])), CONNECT_S).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Connecting installs a handler that exits at once on SIGTERM; the run has its own, which finishes the image."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_resources(there: dict[str, float], options: BatchOptions) -> None:
    """An actor that fits nowhere would be waited for without end."""
    for name, each in (("CPU", options.cpus_per_worker), ("GPU", options.gpus_per_worker)):
        if each > there.get(name, 0.0):
            raise ConfigError(
                f"one worker needs {each:g} {name}, the Ray cluster has {there.get(name, 0.0):g}; change "
                "batch.cpus_per_worker or batch.gpus_per_worker, or add machines"
            )


class RaySeat:
    """See `crew.Seat`. The actor may be on another machine; a machine that is lost is an actor that died."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self._ready: Future[object] = self._result(actor.is_ready.remote())

    def ready(self) -> Future[object]:
        """See `crew.Seat.ready`; waits as long as the cluster has no room."""
        return self._ready

    def submit(self, task: Task) -> Future[Outcome]:
        """See `crew.Seat.submit`."""
        return self._result(self._actor.work.remote(task))

    def died(self, error: BaseException) -> bool:
        """See `crew.Seat.died`."""
        gone = self._ray.exceptions
        return isinstance(
            error, gone.RayActorError | gone.WorkerCrashedError | gone.NodeDiedError | gone.ObjectLostError
        )

    def memory_mb(self) -> float:
        """See `crew.Seat.memory_mb`: an actor watches itself, because only it can see its machine."""
        return math.nan

    def kill(self) -> None:
        """See `crew.Seat.kill`."""
        self._ray.kill(self._actor, no_restart=True)

    def close(self) -> None:
        """See `crew.Seat.close`."""
        self.kill()

    def _result(self, reference: Any) -> Future[Any]:
        """A future of the standard library that raises what the worker raised, not Ray's wrapping of it."""
        found: Future[Any] = Future()

        def take(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                found.set_result(done.result())
            elif isinstance(error, self._ray.exceptions.RayTaskError):
                found.set_exception(error.cause)
            else:
                found.set_exception(error)

        reference.future().add_done_callback(take)
        return found


class _Actor:
    """Runs in a process of the cluster."""

    def __init__(self, make_worker: WorkerFactory, memory_limit_mb: float) -> None:
        import cv2

        cv2.setNumThreads(1)
        if math.isfinite(memory_limit_mb):
            threading.Thread(target=_leave_when_too_large, args=(memory_limit_mb,), daemon=True).start()
        self._worker: Callable[[Task], Outcome] | Exception
        try:
            self._worker = make_worker()
        except Exception as error:  # raised here it would look like a death
            self._worker = error

    def is_ready(self) -> bool:
        if isinstance(self._worker, Exception):
            raise self._worker
        return True

    def work(self, task: Task) -> Outcome:
        assert callable(self._worker)
        return self._worker(task)


def _leave_when_too_large(limit_mb: float) -> None:
    while resident_mb(os.getpid()) <= limit_mb:
        time.sleep(LOOK_S)
    os._exit(1)
