"""The program in processes of its own, forked from one that has imported everything: a cold start takes seconds.

Signals, exit codes, locks, files and worker processes are those of the program; only the imports are done already.
Workers are forked, too: grandchildren of the run, where those of a cold start are its children.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import pkgutil
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from typing import IO, Protocol

import pytest


class Program(Protocol):
    """What a `subprocess.Popen` and a `WarmProgram` have in common."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class WarmStart:
    """Starts the program; see `warm_start`."""

    def __init__(self, orders: IO[str], answers: IO[bytes]) -> None:
        self._orders, self._answers = orders, answers
        self._rest = b""
        self._ended: dict[int, int] = {}
        self._started: list[int] = []

    def __call__(self, arguments: list[str], environment: dict[str, str], log: Path) -> WarmProgram:
        """Start it, leader of a process group of its own, in this folder, with all it says added to a file."""
        print(json.dumps([arguments, environment, str(log), os.getcwd()]), file=self._orders, flush=True)
        while not self._started:
            self.read(None)
        return WarmProgram(self, self._started.pop())

    def read(self, timeout_s: float | None) -> None:
        """Take in what the server says, waiting so long for it."""
        if not select.select([self._answers], [], [], timeout_s)[0]:
            return
        new = os.read(self._answers.fileno(), 65536)
        if not new:
            raise AssertionError("the server of warm starts has ended")
        *lines, self._rest = (self._rest + new).split(b"\n")
        for pid, status in map(json.loads, lines):
            if status is None:
                self._started.append(pid)
            else:
                self._ended[pid] = status

    def status(self, pid: int) -> int | None:
        """Exit status, negative for a signal; None before the end."""
        self.read(0.0)
        return self._ended.get(pid)


class WarmProgram:
    """A run of the program, used like a `subprocess.Popen`."""

    def __init__(self, server: WarmStart, pid: int) -> None:
        self._server, self.pid = server, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.status(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline_s = time.monotonic() + (300.0 if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline_s:
                raise subprocess.TimeoutExpired("geocorrect", timeout or 300.0)
            self._server.read(0.1)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextmanager
def warm_start() -> Iterator[WarmStart]:
    """A server of warm starts, with this process's modules' search path."""
    command = [sys.executable, __file__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert server.stdin is not None
    assert server.stdout is not None
    with server, open(server.stdin.fileno(), "w", closefd=False) as orders:
        yield WarmStart(orders, server.stdout)
        server.stdin.close()


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmStart]:
    """Starts the program without paying for its imports each time."""
    with warm_start() as server:
        yield server


# --- the server's process ---


def serve() -> None:
    """Fork for each order, a line of JSON, and say whose process began and how which ended; returns in the children."""
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_w, False)
    signal.set_wakeup_fd(wake_w)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = select.select([sys.stdin, wake_r], [], [])[0]
        if wake_r in ready:
            os.read(wake_r, 4096)
            while (ended := _reaped()) is not None:
                print(json.dumps(ended), flush=True)
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                sys.exit()
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(wake_r)
                os.close(wake_w)
                return _become(*json.loads(line))
            print(json.dumps([child, None]), flush=True)


def _reaped() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def _become(arguments: list[str], environment: dict[str, str], log: str, folder: str) -> None:
    """What a shell does between fork and exec."""
    os.setsid()
    os.chdir(folder)
    for source, flags, targets in (
        ("/dev/null", os.O_RDONLY, [0]),
        (log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, [1, 2]),
    ):
        descriptor = os.open(source, flags, 0o644)
        for target in targets:
            os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["geocorrect", *arguments]
    _fork_workers()


def _fork_workers() -> None:
    """Let multiprocessing fork workers from a copy of this process, made before it has threads, files or locks."""

    def fork(_program: str, arguments: list[str], descriptors: list[int]) -> int:
        child = os.fork()
        if child:
            return child
        # Above all not the other end of the pipe by which it learns that the run has ended.
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor > 2 and descriptor not in descriptors:
                with suppress(OSError):
                    os.close(descriptor)
        exec(arguments[-1], {"__name__": "forkserver"})  # never returns
        os._exit(0)

    context = multiprocessing.get_context("forkserver")
    multiprocessing.get_context = lambda _method=None: context  # type: ignore[assignment,misc]
    forkserver.set_forkserver_preload([])
    real = util.spawnv_passfds
    resource_tracker.ensure_running()
    util.spawnv_passfds = fork  # type: ignore[attr-defined]
    forkserver.ensure_running()
    util.spawnv_passfds = real  # type: ignore[attr-defined]


ROOMS = "catalog cli export harvest jobs localize match retrieve sequences workers"
LIBRARIES = """
    alembic.command geopandas httpcore httpx jinja2 mako.template mapbox_vector_tile PIL.JpegImagePlugin psycopg pyarrow
    pyogrio rich.console
"""
NETWORKS = ("ray", "mickey", "mapanything", "mast3r", "eloftr")


def _import_everything() -> None:
    """What a run loads on its way, before the first fork."""
    import geocorrect

    for library in LIBRARIES.split():
        importlib.import_module(library)
    for room in ROOMS.split():
        for found in pkgutil.walk_packages([f"{geocorrect.__path__[0]}/{room}"], f"geocorrect.{room}."):
            if not any(part in found.name for part in NETWORKS):
                importlib.import_module(found.name)


if __name__ == "__main__":
    _import_everything()
    assert "torch" not in sys.modules
    serve()
    from geocorrect.__main__ import main

    main()
