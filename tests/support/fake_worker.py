"""A worker without a process, for tests of the pool."""

from __future__ import annotations

from concurrent.futures import Future

from geocorrect.errors import Reason
from geocorrect.workers.worker import Outcome, Task


def done(task: Task) -> Outcome:
    """The outcome of a task of which nothing is asked."""
    return task.failed(Reason.UNCERTAIN, "")


class FakeWorker:
    """Has every outcome at once; may never be ready."""

    def __init__(self, is_ready: bool = True) -> None:
        self.is_closed = False
        self._ready: Future[object] = Future()
        if is_ready:
            self._ready.set_result(True)

    def ready(self) -> Future[object]:
        return self._ready

    def submit(self, task: Task) -> Future[Outcome]:
        found: Future[Outcome] = Future()
        found.set_result(done(task))
        return found

    def died(self, error: BaseException) -> bool:
        return False

    def raise_if_unschedulable(self) -> None: ...

    def memory_mb(self) -> float:
        return float("nan")

    def kill(self) -> None: ...

    def close(self) -> None:
        self.is_closed = True
