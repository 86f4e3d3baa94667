"""One photo that kills its process and one that meets a bug: all the others have their results after one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.batch_scene import due, street
from support.engine_workers import Faulty, FaultyWorkers

from geocorrect.catalog import Catalog
from geocorrect.config import Settings
from geocorrect.errors import ExitCode, Reason
from geocorrect.jobs import run as batch_run
from geocorrect.jobs.run import correct_due
from geocorrect.log import LogOptions, set_up_logging
from geocorrect.records import Rejection
from geocorrect.workers.stop import StopRequest
from geocorrect.workers.worker import Outcome, Task

SETTINGS = Settings()


@pytest.mark.long
def test_a_bad_photo_stops_no_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(LogOptions(format="json"))
    monkeypatch.setattr(batch_run, "WorkerFactory", FaultyWorkers)
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        street(catalog, 60, 20)
        outcome = correct_due(SETTINGS, catalog)
        found = {stored.image_id: (stored.reason, stored.detail) for stored in catalog.current()}
        told = capfd.readouterr().err
        assert len(found) == 60
        assert due(catalog, SETTINGS) == set()
        assert correct_due(SETTINGS, catalog).exit_code is ExitCode.OK  # not tried again every night
    set_up_logging(LogOptions())
    assert found.pop(Faulty.KILLS) == (Reason.MEMORY_LIMIT, "its worker process died 3 times")
    assert found.pop(Faulty.BUG) == (Reason.INTERNAL_ERROR, "FloatingPointError: of this photo alone")
    assert {reason for reason, _ in found.values()} == {Reason.UNCERTAIN}
    assert outcome.exit_code is ExitCode.PROGRAMMING_ERROR
    assert "a bug; please report" in outcome.sentence()
    lines = [line for line in told.splitlines() if f'"image_id": "{Faulty.BUG}"' in line]
    assert any("Traceback" in line and "FloatingPointError" in line for line in lines)
    deaths = [line for line in told.splitlines() if "died while it worked on this image" in line]
    assert len(deaths) == 3
    assert all(f'"image_id": "{Faulty.KILLS}"' in line for line in deaths)


def test_a_systematic_bug_ends_the_run_and_what_was_computed_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "WorkerFactory", FaultyWorkers)
    settings = SETTINGS.model_copy(update={"batch": replace(SETTINGS.batch, engine="in-process", seed=Faulty.ALL_SEED)})
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        street(catalog, 20, 20)
        with pytest.raises(FloatingPointError):
            correct_due(settings, catalog)
        assert catalog.reasons() == {Reason.INTERNAL_ERROR.value: 4}


class Deadly:
    """An engine whose process dies with one photo."""

    def map(
        self, _make: object, pieces: Iterable[list[Task]], _stop: StopRequest, _wait: Callable[[], None]
    ) -> Iterator[Outcome]:
        for task in (task for piece in pieces for task in piece):
            if task.image.id == Faulty.KILLS:
                raise SystemExit
            yield Outcome(Rejection(task.image.id, Reason.UNCERTAIN), task.pairs, (), task.input_hash)


def test_a_photo_that_kills_the_whole_run_does_not_hold_up_the_same_others_every_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a machine without memory ends the parent, too, nobody is left to count the deaths."""
    monkeypatch.setattr(batch_run, "build_engine", lambda _options: Deadly())
    counts = []
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        street(catalog, 100, 20)
        for _ in range(4):
            with pytest.raises(SystemExit):
                correct_due(SETTINGS, catalog)
            counts.append(sum(catalog.counts().values()))
    assert counts == sorted(set(counts))
    assert 90 <= counts[-1] < 100
