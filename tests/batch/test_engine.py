"""Engines: same outcomes as the reference, every task exactly once, also when a worker dies."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from engine_workers import Echo, cannot_start

from geocorrect.batch.engine import InProcessEngine, LocalProcessesEngine, build_engine
from geocorrect.batch.options import BatchOptions
from geocorrect.batch.worker import Task
from geocorrect.errors import ModelError, Reason
from geocorrect.records import Image, Rejection


def task(image_id: str) -> Task:
    image = Image(id=image_id, reported=None, camera=None, path=None)
    return Task(image, np.full(3, np.nan), float("nan"), (), ())


def outcomes(engine: InProcessEngine | LocalProcessesEngine, folder: Path, ids: list[str]) -> list[Rejection]:
    found = [outcome.result for outcome in engine.map(partial(Echo, folder), map(task, ids))]
    assert all(isinstance(result, Rejection) for result in found)
    return sorted((result for result in found if isinstance(result, Rejection)), key=lambda r: r.image_id)


def test_processes_agree_with_the_reference(tmp_path: Path) -> None:
    ids = [f"image{i:02}" for i in range(20)]
    expected = outcomes(InProcessEngine(), tmp_path, ids)
    # As text: nan, which stands for unknown, never equals itself.
    assert repr(outcomes(LocalProcessesEngine(2), tmp_path, ids)) == repr(expected)
    assert [result.image_id for result in expected] == ids


def test_a_killed_worker_loses_nothing_and_the_guilty_image_is_named(tmp_path: Path) -> None:
    ids = ["a", "b", "kills-once", "c", "kills-always", "d", "e", "f", "g", "h"]
    found = outcomes(LocalProcessesEngine(2), tmp_path, ids)
    assert [result.image_id for result in found] == sorted(ids)
    reasons = {result.image_id: result.reason for result in found}
    assert reasons.pop("kills-always") is Reason.MEMORY_LIMIT
    assert set(reasons.values()) == {Reason.TOO_FEW_MATCHES}


def test_a_worker_that_cannot_start_raises_its_own_error() -> None:
    """Missing weights must not turn into a thousand rejected photos."""
    with pytest.raises(ModelError, match="weights of nothing"):
        list(LocalProcessesEngine(2).map(cannot_start, map(task, "abc")))


def test_tasks_are_drawn_as_they_are_needed(tmp_path: Path) -> None:
    drawn: list[str] = []

    def endless() -> object:
        while True:
            drawn.append(f"image{len(drawn)}")
            yield task(drawn[-1])

    stream = LocalProcessesEngine(2).map(partial(Echo, tmp_path), endless())  # type: ignore[arg-type]
    for _ in range(5):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(drawn) <= 5 + 2 * 3


@pytest.mark.parametrize(("workers", "kind"), [(1, InProcessEngine), (2, LocalProcessesEngine)])
def test_configuration_chooses_the_engine(workers: int, kind: type) -> None:
    assert isinstance(build_engine(BatchOptions(workers=workers)), kind)
