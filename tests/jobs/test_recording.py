"""When results reach the catalog: in groups, after some seconds, and before a failure is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.batch_scene import street
from support.fake_worker import FakeWorker, done

from geocorrect.catalog import Catalog
from geocorrect.config import Settings
from geocorrect.jobs import run
from geocorrect.jobs.plan import plan_run
from geocorrect.records import Image
from geocorrect.workers import pool
from geocorrect.workers.engine import InProcessEngine, PoolEngine
from geocorrect.workers.pool import Limits
from geocorrect.workers.stop import StopRequest
from geocorrect.workers.worker import Outcome, Task


@dataclass
class Interrupted:
    """An engine in whose work somebody presses Ctrl-C twice, or whose third image meets what a human must mend."""

    error: type[BaseException]

    def map(
        self, _make: object, pieces: Iterable[list[Task]], _stop: StopRequest, _wait: Callable[[], None]
    ) -> Iterator[Outcome]:
        for count, task in enumerate(next(iter(pieces))):
            if count == 3:
                raise self.error
            yield done(task)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_is_in_hand_is_stored_before_the_end(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "build_engine", lambda _options: Interrupted(error))
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        street(catalog, 10, 10)
        with pytest.raises(error):
            run.run_batch(plan_run(Settings(), catalog), catalog, StopRequest())
        assert catalog.counts() == {"rejected": 3}


class SlowWorker(FakeWorker):
    """Gives the fourth outcome when it is told to."""

    def __init__(self, release: threading.Event) -> None:
        super().__init__()
        self._release, self._count = release, 0

    def submit(self, task: Task) -> Future[Outcome]:
        self._count += 1
        if self._count != 4:
            return super().submit(task)
        found: Future[Outcome] = Future()
        threading.Thread(target=lambda: (self._release.wait(60.0), found.set_result(done(task)))).start()
        return found


def test_results_do_not_wait_for_a_slow_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three results and a fourth photo that goes on until somebody has seen the three in the catalog."""
    release, stored = threading.Event(), []
    monkeypatch.setattr(run, "SECONDS_PER_TRANSACTION", 0.2)
    monkeypatch.setattr(pool, "POLL_INTERVAL_S", 0.05)
    engine = PoolEngine(lambda _make: SlowWorker(release), 1, Limits())
    monkeypatch.setattr(run, "build_engine", lambda _options: engine)

    def progress(count: int, _todo: int) -> None:
        stored.append(count)
        release.set()

    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        street(catalog, 5, 5)
        run.run_batch(plan_run(Settings(), catalog), catalog, StopRequest(max_runtime_s=30.0), progress)
        assert catalog.counts() == {"rejected": 5}
    assert stored[0] == 3
    assert stored[-1] == 5


def test_one_process_stores_what_is_old_before_the_next_photo() -> None:
    order: list[str] = []

    def work(item: Task) -> Outcome:
        order.append(item.image.id)
        return done(item)

    piece = [Task(Image(name, None, None, None), np.full(3, np.nan), float("nan"), (), ()) for name in "ab"]
    list(InProcessEngine().map(lambda: work, iter([piece]), StopRequest(), lambda: order.append("?")))
    assert order == ["?", "a", "?", "b"]
