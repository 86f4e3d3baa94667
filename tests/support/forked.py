"""Functions of `support` in a process of their own, forked from one that has imported what they need."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess

IMPORTED = [
    "geocorrect.export.geojson",
    "geocorrect.workers.limits",
    "geocorrect.workers.process",
    "support.catalog_users",
]


def fork_context() -> ForkServerContext:
    """Processes start from one server for all tests of this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


@contextmanager
def forked(target: Callable[..., None], *arguments: object) -> Iterator[tuple[BaseProcess, Connection]]:
    """A process that calls `target(*arguments, answers)`, and what it sends there; killed after the block."""
    context = fork_context()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments, there), daemon=True)
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        process.kill()
        process.join()
        here.close()


def sent_until_its_end(answers: Connection) -> Iterator[object]:
    """What the process sends, and has sent before it was killed."""
    try:
        while True:
            yield answers.recv()
    except (EOFError, ConnectionResetError):
        return
