"""Engines: same outcomes as the reference, every task exactly once, also when a worker dies."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.engine_workers import Echo, Telltale, cannot_start, dies_at_start
from support.forked import fork_context
from support.tasks import in_pieces, task

from geocorrect.config import BatchOptions
from geocorrect.errors import ExitCode, ModelError, Reason
from geocorrect.records import Rejection
from geocorrect.workers.engine import Engine, InProcessEngine, PoolEngine, build_engine
from geocorrect.workers.pool import MAX_DEATHS_PER_TASK, Limits
from geocorrect.workers.process import ProcessWorker
from geocorrect.workers.stop import StopRequest
from geocorrect.workers.worker import Task

SPAWNED = {"test_processes_agree_with_the_reference"}
"""Tests whose workers start as those of a real run do, which takes each of them seconds of imports."""


@pytest.fixture(autouse=True)
def _forked_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of the same kind, but forked from one that has imported everything."""
    if request.node.name in SPAWNED:
        return
    context = fork_context()
    monkeypatch.setattr(multiprocessing, "get_context", lambda _method: context)


def processes(workers: int = 2, limits: Limits | None = None) -> PoolEngine:
    return PoolEngine(ProcessWorker, workers, limits or Limits())


def outcomes(engine: Engine, folder: Path, ids: list[str]) -> list[Rejection]:
    stream = engine.map(partial(Echo, folder), in_pieces(ids), StopRequest())
    found = [outcome.result for outcome in stream]
    assert all(isinstance(result, Rejection) for result in found)
    return sorted((result for result in found if isinstance(result, Rejection)), key=lambda r: r.image_id)


@pytest.mark.long
def test_processes_agree_with_the_reference(tmp_path: Path) -> None:
    ids = [f"image{i:02}" for i in range(20)]
    expected = outcomes(InProcessEngine(), tmp_path, ids)
    # As text: nan, which stands for unknown, never equals itself.
    assert repr(outcomes(processes(), tmp_path, ids)) == repr(expected)
    assert [result.image_id for result in expected] == ids


def test_a_killed_worker_loses_nothing_and_the_guilty_image_is_named(tmp_path: Path) -> None:
    ids = ["a", "b", "kills-once", "c", "kills-always", "d", "e", "f", "g", "h"]
    found = outcomes(processes(), tmp_path, ids)
    assert [result.image_id for result in found] == sorted(ids)
    by_id = {result.image_id: result for result in found}
    guilty = by_id.pop("kills-always")
    assert (guilty.reason, guilty.detail) == (
        Reason.MEMORY_LIMIT,
        f"its worker process died {MAX_DEATHS_PER_TASK} times",
    )
    assert {result.reason for result in by_id.values()} == {Reason.TOO_FEW_MATCHES}
    # Nothing but what the dead worker had begun is done again.
    tries = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    assert tries.pop("kills-always") == MAX_DEATHS_PER_TASK
    assert tries.pop("kills-once") == 2
    assert set(tries.values()) == {1}


def test_an_image_that_never_ends_is_killed_and_named(tmp_path: Path) -> None:
    found = outcomes(processes(limits=Limits(time_s=0.2)), tmp_path, ["a", "hangs", "b", "c", "d"])
    by_id = {result.image_id: result for result in found}
    assert by_id.pop("hangs").reason is Reason.TIME_LIMIT
    assert [result.reason for result in by_id.values()] == [Reason.TOO_FEW_MATCHES] * 4


def test_an_image_that_eats_memory_is_killed_and_named(tmp_path: Path) -> None:
    found = outcomes(processes(limits=Limits(memory_mb=700)), tmp_path, ["a", "eats", "b", "c", "d"])
    by_id = {result.image_id: result for result in found}
    eater = by_id.pop("eats")
    assert eater.reason is Reason.MEMORY_LIMIT
    assert "700 MB allowed (batch.worker_memory_limit_mb)" in eater.detail
    assert [result.reason for result in by_id.values()] == [Reason.TOO_FEW_MATCHES] * 4


def test_what_no_worker_finished_says_what_it_rests_on(tmp_path: Path) -> None:
    engine = processes(1, Limits(time_s=0.2))
    (outcome,) = engine.map(partial(Echo, tmp_path), in_pieces(["hangs"]), StopRequest())
    assert outcome.input_hash == "input of hangs"


@pytest.mark.parametrize("engine", [InProcessEngine(), processes()])
def test_a_worker_that_cannot_start_raises_its_own_error(engine: Engine) -> None:
    """Missing weights must not turn into a thousand rejected photos."""
    with pytest.raises(ModelError, match="weights of nothing"):
        list(engine.map(cannot_start, in_pieces("abc"), StopRequest()))


def test_workers_that_die_while_they_start_end_the_run() -> None:
    with pytest.raises(ModelError, match="worker processes die while they start"):
        list(processes(1).map(dies_at_start, in_pieces("abc"), StopRequest()))


@pytest.mark.parametrize("engine", [InProcessEngine(), processes()])
def test_a_bug_is_not_swallowed(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(engine.map(partial(Echo, tmp_path), in_pieces(["a", "bug", "b"]), StopRequest()))


def test_tasks_are_drawn_as_they_are_needed(tmp_path: Path) -> None:
    drawn: list[str] = []

    def endless() -> Iterator[list[Task]]:
        while True:
            drawn.append(f"image{len(drawn)}")
            yield [task(drawn[-1])]

    stream = processes().map(partial(Echo, tmp_path), endless(), StopRequest())
    for _ in range(5):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(drawn) <= 5 + 2 * 3


@pytest.mark.parametrize("engine", [InProcessEngine(), processes()])
def test_after_a_stop_only_what_was_begun_is_finished(engine: Engine, tmp_path: Path) -> None:
    stop = StopRequest()
    stream = engine.map(partial(Echo, tmp_path), in_pieces(f"image{i}" for i in range(100)), stop)
    next(stream)
    stop.exit_code = ExitCode.TERMINATED
    assert len(list(stream)) <= 4


def test_a_piece_stays_with_one_worker_and_the_last_one_is_shared(tmp_path: Path) -> None:
    ids = [f"{tile}-{i}" for tile in "abcd" for i in range(10)]
    found = outcomes_by_worker(tmp_path, ids)
    # Four pieces for two workers: every one but the last shared ones was computed in one process.
    assert sum(len({worker for name, worker in found.items() if name[0] == tile}) for tile in "abcd") <= 6
    assert len(set(found.values())) == 2


def outcomes_by_worker(folder: Path, ids: list[str]) -> dict[str, str]:
    stream = processes().map(partial(Telltale, folder), in_pieces(ids, 10), StopRequest())
    return {
        outcome.result.image_id: outcome.result.detail for outcome in stream if isinstance(outcome.result, Rejection)
    }


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (BatchOptions(), PoolEngine),  # not even one worker can kill the run
        (BatchOptions(workers=2), PoolEngine),
        (BatchOptions(engine="in-process"), InProcessEngine),
        (BatchOptions(worker_memory_limit_mb=1000.0), PoolEngine),
    ],
)
def test_configuration_chooses_the_engine(options: BatchOptions, kind: type) -> None:
    assert isinstance(build_engine(options), kind)


def test_this_process_alone_keeps_no_limit_of_memory() -> None:
    with pytest.raises(ValueError, match="one worker without a memory limit"):
        BatchOptions(engine="in-process", worker_memory_limit_mb=1000.0)


@pytest.mark.parametrize(
    "wrong", [{"image_time_limit_s": 0.0}, {"worker_memory_limit_mb": -1.0}, {"cpus_per_worker": 0}]
)
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        BatchOptions(**wrong)  # type: ignore[arg-type]
