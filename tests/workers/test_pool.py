"""Tasks and workers: what a worker that never becomes ready may do to the others."""

from __future__ import annotations

import time

import pytest
from support.fake_worker import FakeWorker
from support.tasks import task

from geocorrect.errors import RemoteError
from geocorrect.log import LogOptions, set_up_logging
from geocorrect.workers import pool
from geocorrect.workers.pool import Limits, WorkerPool
from geocorrect.workers.stop import StopRequest


@pytest.mark.parametrize("n_pieces", [0, 1, 3])
def test_a_run_ends_without_the_worker_that_never_came(n_pieces: int) -> None:
    """More workers than a cluster has room for, or a machine that was lost for good."""
    workers = [FakeWorker(is_ready) for is_ready in (True, False)]
    waiting = iter(workers)
    stop = StopRequest(max_runtime_s=10.0)
    pieces = [[task(f"{piece}-{i}") for i in range(4)] for piece in range(n_pieces)]
    began_s = time.monotonic()
    found = list(WorkerPool(lambda: next(waiting), 2, Limits(), stop).results(iter(pieces)))
    assert time.monotonic() - began_s < 5.0
    assert len(found) == 4 * n_pieces
    assert all(worker.is_closed for worker in workers)


def test_a_worker_that_does_not_come_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(LogOptions())
    monkeypatch.setattr(pool, "STARTUP_WARNING_S", 0.1)
    list(
        WorkerPool(lambda: FakeWorker(False), 1, Limits(), StopRequest(max_runtime_s=1.2)).results(iter([[task("a")]]))
    )
    assert capsys.readouterr().err.count("a worker is not ready after 0 s") == 1


class LostLater(FakeWorker):
    """Never ready; that its node has ended is only noticed at the third look."""

    looks = 0

    def raise_if_unschedulable(self) -> None:
        self.looks += 1
        if self.looks == 3:
            raise RemoteError("gone")


def test_whether_it_can_ever_start_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "STARTUP_WARNING_S", 0.1)
    worker = LostLater(is_ready=False)
    with pytest.raises(RemoteError, match="gone"):
        list(WorkerPool(lambda: worker, 1, Limits(), StopRequest(max_runtime_s=10.0)).results(iter([[task("a")]])))
    assert worker.is_closed
