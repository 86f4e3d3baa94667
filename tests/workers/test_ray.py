"""Actors of a real Ray on this machine: same outcomes, deaths of actors and of a whole node survived."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.engine_workers import Echo, Talkers, cannot_start
from support.ray_fixture import ray_or_skip
from support.tasks import in_pieces, task

from geocorrect.config import BatchOptions
from geocorrect.errors import ConfigError, ExitCode, GeocorrectError, ModelError, Reason
from geocorrect.log import LogOptions, begin_run, end_run, set_up_logging
from geocorrect.workers import ray_actor
from geocorrect.workers.engine import InProcessEngine, build_engine
from geocorrect.workers.pool import MAX_DEATHS_PER_TASK
from geocorrect.workers.ray_actor import RayWorker
from geocorrect.workers.stop import StopRequest
from geocorrect.workers.worker import Outcome, Task

ray = ray_or_skip()
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.long]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """One small cluster for all tests, started as the engine starts it; its workers can import the tests' modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        build_engine(BatchOptions(engine="ray", workers=2))
    yield
    ray.shutdown()


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


def test_more_actors_than_room_end_with_the_work(tmp_path: Path) -> None:
    """One of the two gets a processor, the other waits; without the second nothing is left to do."""
    cpus = ray.cluster_resources()["CPU"]
    options = BatchOptions(engine="ray", workers=2, cpus_per_worker=cpus)
    stream = build_engine(options).map(partial(Echo, tmp_path), in_pieces("abcdefgh"), StopRequest(max_runtime_s=60.0))
    began_s = time.monotonic()
    assert list(by_id(stream)) == list("abcdefgh")
    assert time.monotonic() - began_s < 50.0


def test_what_actors_log_arrives_with_run_and_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(LogOptions("info", "json"))
    run_id = begin_run()
    try:
        make_worker = Talkers()
        engine = build_engine(BatchOptions(engine="ray", workers=2))
        assert len(list(engine.map(make_worker, in_pieces("abcd"), StopRequest()))) == 4
    finally:
        end_run()
        set_up_logging(LogOptions())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    told = {line["image_id"]: line for line in lines if line["message"].startswith("about ")}
    assert {name: line["message"] for name, line in told.items()} == {name: f"about {name}" for name in "abcd"}
    assert {line["run_id"] for line in told.values()} == {run_id}
    assert os.getpid() not in {line["process"] for line in told.values()}


@pytest.mark.parametrize("name", ["OutOfMemoryError", "ActorDiedError", "NodeDiedError", "ObjectLostError"])
def test_an_actor_that_the_cluster_killed_has_died(name: str) -> None:
    error_class = getattr(ray.exceptions, name)
    assert RayWorker.died(SimpleNamespace(_ray=ray), error_class.__new__(error_class))  # type: ignore[arg-type]


def test_what_ray_itself_complains_about_has_an_exit_code() -> None:
    errors = ray.exceptions
    cases = {
        errors.ActorUnschedulableError("no room"): ExitCode.CONFIG,
        errors.RuntimeEnvSetupError("no environment"): ExitCode.CONFIG,
        errors.LocalRayletDiedError("gone"): ExitCode.REMOTE,
        errors.RaySystemError("broken"): ExitCode.REMOTE,
    }
    for error, code in cases.items():
        assert reported_of(error).exit_code is code
        assert type(error).__name__ in str(reported_of(error))


def reported_of(error: BaseException) -> GeocorrectError:
    """What a worker says about an error of Ray."""
    failed: Future[object] = Future()
    failed.set_exception(error)
    ready = SimpleNamespace(future=lambda: failed)
    actor = SimpleNamespace(is_ready=SimpleNamespace(remote=lambda: ready))
    said = RayWorker(ray, actor, own_node=True).ready().exception()
    assert isinstance(said, GeocorrectError)
    return said


def test_sigterm_stays_with_the_run() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    ray.shutdown()
    build_engine(BatchOptions(engine="ray", workers=2))
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_worker_that_fits_nowhere_is_refused_and_not_waited_for() -> None:
    four_small = [{"CPU": 2.0}, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0}, {"CPU": 8.0}]
    ray_actor._require_room(four_small, BatchOptions(engine="ray", cpus_per_worker=8.0))
    for wrong in ({"cpus_per_worker": 9.0}, {"cpus_per_worker": 4.0, "gpus_per_worker": 1.0}):
        with pytest.raises(ConfigError, match=r"machines with 2 CPU, 0 GPU; 2 CPU, 1 GPU; 8 CPU, 0 GPU; change"):
            ray_actor._require_room(four_small, BatchOptions(engine="ray", **wrong))  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"one worker needs 1 CPU, 1000 GPU on one machine, the Ray cluster has machines"
    ):
        build_engine(BatchOptions(engine="ray", gpus_per_worker=1000.0))
