"""Actors of a real Ray on this machine: same outcomes, deaths of actors and of a whole node survived."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from engine_workers import Echo, cannot_start

from geocorrect.batch.crew import MAX_DEATHS_PER_TASK
from geocorrect.batch.engine import InProcessEngine, build_engine
from geocorrect.batch.options import BatchOptions
from geocorrect.batch.stop import StopRequest
from geocorrect.batch.worker import Outcome, Task
from geocorrect.errors import ConfigError, ExitCode, ModelError, Reason
from geocorrect.records import Image

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """One small cluster for all tests, started as the engine starts it; its workers can import the tests' modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        build_engine(BatchOptions(engine="ray", workers=2))
    yield
    ray.shutdown()


def task(image_id: str) -> Task:
    image = Image(id=image_id, reported=None, camera=None, path=None)
    return Task(image, np.full(3, np.nan), float("nan"), (), (), input_hash=f"input of {image_id}")


def in_pieces(ids: Iterable[str], size: int = 3) -> Iterator[list[Task]]:
    rest = iter(ids)
    while piece := [task(image_id) for image_id in islice(rest, size)]:
        yield piece


def by_id(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    return {outcome.result.image_id: outcome for outcome in sorted(outcomes, key=lambda o: o.result.image_id)}


def test_actors_agree_with_the_reference(tmp_path: Path) -> None:
    ids = [f"image{i:02}" for i in range(20)]
    engine = build_engine(BatchOptions(engine="ray", workers=2))
    found = by_id(engine.map(partial(Echo, tmp_path), in_pieces(ids), StopRequest()))
    expected = by_id(InProcessEngine().map(partial(Echo, tmp_path), in_pieces(ids), StopRequest()))
    assert repr(found) == repr(expected)


def test_dead_actors_lose_nothing_and_limits_hold(tmp_path: Path) -> None:
    options = BatchOptions(engine="ray", workers=2, image_time_limit_s=0.5)
    ids = ["a", "b", "kills-once", "c", "kills-always", "d", "hangs", "e", "f"]
    found = by_id(build_engine(options).map(partial(Echo, tmp_path), in_pieces(ids), StopRequest()))
    assert list(found) == sorted(ids)
    reasons = {name: outcome.result.reason for name, outcome in found.items()}  # type: ignore[union-attr]
    assert (reasons.pop("kills-always"), reasons.pop("hangs")) == (Reason.MEMORY_LIMIT, Reason.TIME_LIMIT)
    assert set(reasons.values()) == {Reason.TOO_FEW_MATCHES}
    tries = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    # What an actor had finished may be lost with it on the way; the image behind it is then not blamed at once.
    assert tries["kills-once"] in (2, 3)
    assert MAX_DEATHS_PER_TASK <= tries["kills-always"] <= MAX_DEATHS_PER_TASK + 2


def test_an_actor_above_the_memory_limit_ends_itself(tmp_path: Path) -> None:
    options = BatchOptions(engine="ray", workers=1, worker_memory_limit_mb=700.0)
    found = by_id(build_engine(options).map(partial(Echo, tmp_path), in_pieces(["a", "eats", "b"]), StopRequest()))
    assert [outcome.result.reason for outcome in found.values()] == [  # type: ignore[union-attr]
        Reason.TOO_FEW_MATCHES, Reason.TOO_FEW_MATCHES, Reason.MEMORY_LIMIT,
    ]  # fmt: skip


def test_errors_come_through_as_they_were(tmp_path: Path) -> None:
    engine = build_engine(BatchOptions(engine="ray", workers=2))
    with pytest.raises(ModelError, match="weights of nothing"):
        list(engine.map(cannot_start, in_pieces("abc"), StopRequest()))
    with pytest.raises(ZeroDivisionError):
        list(engine.map(partial(Echo, tmp_path), in_pieces(["a", "bug"]), StopRequest()))


def test_tasks_are_drawn_as_needed_and_a_stop_ends_it(tmp_path: Path) -> None:
    drawn: list[str] = []

    def endless() -> Iterator[list[Task]]:
        while True:
            drawn.append(f"image{len(drawn)}")
            yield [task(drawn[-1])]

    stop = StopRequest()
    stream = build_engine(BatchOptions(engine="ray", workers=2)).map(partial(Echo, tmp_path), endless(), stop)
    for _ in range(5):
        next(stream)
    stop.exit_code = ExitCode.TERMINATED
    assert len(list(stream)) <= 4
    assert len(drawn) <= 5 + 2 * 3


def test_sigterm_stays_with_the_run() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    ray.shutdown()
    build_engine(BatchOptions(engine="ray", workers=2))
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_worker_that_fits_nowhere_is_refused_and_not_waited_for() -> None:
    with pytest.raises(ConfigError, match=r"one worker needs 1000 GPU, the Ray cluster has 0"):
        build_engine(BatchOptions(engine="ray", gpus_per_worker=1000.0))
