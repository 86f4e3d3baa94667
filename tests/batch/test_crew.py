"""Tasks and seats: what a worker that never becomes ready may do to the others."""

from __future__ import annotations

import time
from concurrent.futures import Future

import numpy as np
import pytest

from geocorrect.batch import crew
from geocorrect.batch.crew import Crew, Limits
from geocorrect.batch.stop import StopRequest
from geocorrect.batch.worker import Outcome, Task
from geocorrect.errors import Reason
from geocorrect.log import LogOptions, set_up_logging
from geocorrect.records import Image, Rejection


class FakeSeat:
    """Has every outcome at once; may never be ready."""

    def __init__(self, is_ready: bool) -> None:
        self.is_closed = False
        self._ready: Future[object] = Future()
        if is_ready:
            self._ready.set_result(True)

    def ready(self) -> Future[object]:
        return self._ready

    def submit(self, task: Task) -> Future[Outcome]:
        done: Future[Outcome] = Future()
        done.set_result(Outcome(Rejection(task.image.id, Reason.UNCERTAIN), ()))
        return done

    def died(self, error: BaseException) -> bool:
        return False

    def require_hope(self) -> None:
        pass

    def memory_mb(self) -> float:
        return float("nan")

    def kill(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


def task(name: str) -> Task:
    return Task(Image(name, None, None, None), np.full(3, np.nan), float("nan"), (), ())


@pytest.mark.parametrize("n_pieces", [0, 1, 3])
def test_a_run_ends_without_the_worker_that_never_came(n_pieces: int) -> None:
    """More workers than a cluster has room for, or a machine that was lost for good."""
    seats = [FakeSeat(is_ready) for is_ready in (True, False)]
    waiting = iter(seats)
    stop = StopRequest(max_runtime_s=10.0)
    pieces = [[task(f"{piece}-{i}") for i in range(4)] for piece in range(n_pieces)]
    began_s = time.monotonic()
    found = list(Crew(lambda: next(waiting), 2, Limits(), stop).outcomes(iter(pieces)))
    assert time.monotonic() - began_s < 5.0
    assert len(found) == 4 * n_pieces
    assert all(seat.is_closed for seat in seats)


def test_a_worker_that_does_not_come_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(LogOptions())
    monkeypatch.setattr(crew, "PATIENCE_S", 0.1)
    list(Crew(lambda: FakeSeat(False), 1, Limits(), StopRequest(max_runtime_s=1.2)).outcomes(iter([[task("a")]])))
    assert capsys.readouterr().err.count("a worker is not ready after 0 s") == 1
