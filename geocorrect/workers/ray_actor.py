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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from geocorrect.config import BatchOptions
from geocorrect.errors import ConfigError, GeocorrectError, RemoteError
from geocorrect.log import collected_lines, relay
from geocorrect.workers.freed_memory import keep_freed_memory
from geocorrect.workers.process import MakeWorker, resident_mb

POLL_INTERVAL_S = 0.25
CONNECT_S = 10.0
GO_ON = "what is done is stored, run the same command again to go on"


def ray_workers(options: BatchOptions) -> Callable[[MakeWorker], RayWorker]:
    """Connects to the cluster, or starts one of this machine alone, and returns what starts an actor there.

    ConfigError when the extra is missing, the cluster does not answer, or no machine of it has room for a worker.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError('batch.engine = "ray" needs the extra: pip install "geocorrect[ray]"') from None
    there: Any = ray  # typed in part only
    if not there.is_initialized():
        with _own_signals():
            _connect(there, options)
    _require_room([node["Resources"] for node in there.nodes() if node["Alive"]], options)
    # Restarts are ours: a task that kills its actor must be distinguished from one that was merely there.
    demands: dict[str, Any] = {
        "num_cpus": options.cpus_per_worker,
        "num_gpus": options.gpus_per_worker,
        "max_restarts": 0,
        "max_task_retries": 0,
    }
    actor = there.remote(**demands)(_Actor)
    limit_mb, own_node = options.worker_memory_limit_mb, options.ray_address is None
    return lambda make_worker: RayWorker(there, actor.remote(make_worker, limit_mb), own_node)


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


def _require_room(machines: list[dict[str, float]], options: BatchOptions) -> None:
    """An actor that fits on no machine would be waited for without end, however many machines there are."""
    needed = {"CPU": options.cpus_per_worker, "GPU": options.gpus_per_worker}
    if any(all(there.get(name, 0.0) >= each for name, each in needed.items()) for there in machines):
        return
    there = sorted({_in_words({name: machine.get(name, 0.0) for name in needed}) for machine in machines})
    raise ConfigError(
        f"one worker needs {_in_words(needed)} on one machine, the Ray cluster has machines with "
        f"{'; '.join(there) or 'nothing'}; change batch.cpus_per_worker or batch.gpus_per_worker, or add machines"
    )


def _in_words(resources: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())


class RayWorker:
    """See `pool.WorkerHandle`. The actor may be on another machine; a machine that is lost is an actor that died.

    own_node: the cluster is one node that this process started, and nobody will start it again.
    """

    def __init__(self, ray: Any, actor: Any, own_node: bool) -> None:
        self._ray, self._actor, self._own_node = ray, actor, own_node
        self._ready: Future[object] = self._result(actor.is_ready.remote())

    def ready(self) -> Future[object]:
        """See `pool.WorkerHandle.ready`; waits as long as the cluster has no room."""
        return self._ready

    def submit(self, task: Any) -> Future[Any]:
        """See `pool.WorkerHandle.submit`."""
        return self._result(self._actor.work.remote(task))

    def died(self, error: BaseException) -> bool:
        """See `pool.WorkerHandle.died`."""
        gone = self._ray.exceptions
        kinds = (gone.RayActorError, gone.WorkerCrashedError, gone.NodeDiedError, gone.ObjectLostError)
        return isinstance(error, (*kinds, gone.OutOfMemoryError))  # the last: killed by the machine's memory monitor

    def raise_if_unschedulable(self) -> None:
        """See `pool.WorkerHandle.raise_if_unschedulable`: a cluster may grow, a node of this run alone will not."""
        if self._own_node and not any(node["Alive"] for node in self._ray.nodes()):
            raise RemoteError(f"Ray's node on this machine has ended; {GO_ON}")

    def memory_mb(self) -> float:
        """See `pool.WorkerHandle.memory_mb`: an actor watches itself, because only it can see its machine."""
        return math.nan

    def kill(self) -> None:
        """See `pool.WorkerHandle.kill`."""
        with suppress(self._ray.exceptions.RayError):  # gone already, or its machine
            self._ray.kill(self._actor, no_restart=True)

    def close(self) -> None:
        """See `pool.WorkerHandle.close`."""
        self.kill()

    def _result(self, reference: Any) -> Future[Any]:
        """A future of the standard library that raises what the worker raised, not Ray's wrapping of it."""
        found: Future[Any] = Future()

        def take(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                answer: _Answer = done.result()
                relay(answer.log_lines)
                found.set_result(answer.value)
            elif isinstance(error, self._ray.exceptions.RayTaskError):
                found.set_exception(error.cause)
            elif self.died(error) or not isinstance(error, self._ray.exceptions.RayError):
                found.set_exception(error)
            else:
                found.set_exception(_ray_failure(error))

        reference.future().add_done_callback(take)
        return found


def _ray_failure(error: BaseException) -> GeocorrectError:
    """Ray's own errors: how its cluster is set up, or that it fails under the run."""
    name = type(error).__name__
    text = f"Ray: {name}: {' '.join(str(error).split())[:500]}"
    if name in ("ActorUnschedulableError", "TaskUnschedulableError", "RuntimeEnvSetupError"):
        return ConfigError(text)
    return RemoteError(f"{text}; {GO_ON}")


@dataclass(frozen=True)
class _Answer:
    """A result with the log lines that came with it: an actor's own stderr is a file that nobody reads."""

    value: Any
    log_lines: tuple[str, ...]


class _Actor:
    """Runs in a process of the cluster."""

    def __init__(self, make_worker: MakeWorker, memory_limit_mb: float) -> None:
        import cv2

        cv2.setNumThreads(1)
        keep_freed_memory()
        if math.isfinite(memory_limit_mb):
            threading.Thread(target=_leave_when_too_large, args=(memory_limit_mb,), daemon=True).start()
        self._worker: Callable[[Any], Any] | Exception
        with collected_lines() as self._first_lines:
            try:
                self._worker = make_worker()
            except Exception as error:  # raised here it would look like a death
                self._worker = error

    def is_ready(self) -> _Answer:
        if isinstance(self._worker, Exception):
            raise self._worker
        return _Answer(True, tuple(self._first_lines))

    def work(self, task: Any) -> _Answer:
        assert callable(self._worker)
        with collected_lines() as lines:
            outcome = self._worker(task)
        return _Answer(outcome, tuple(lines))


def _leave_when_too_large(limit_mb: float) -> None:
    while resident_mb(os.getpid()) <= limit_mb:
        time.sleep(POLL_INTERVAL_S)
    os._exit(1)
