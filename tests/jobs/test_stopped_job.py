"""Signals, time and full disks in the middle of a job, at a moment that the test chooses."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from support import sequence_catalog
from support.batch_scene import in_process, street
from support.postgis_fixture import execute

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.catalog.lock import lock_scene
from geocorrect.config import BatchOptions, ExportSection, ImagesSection, Settings
from geocorrect.errors import DatabaseError, ExitCode, Status
from geocorrect.export.export import export_catalog
from geocorrect.jobs import pipeline
from geocorrect.jobs.context import JobContext, RunLimits, use_or_create
from geocorrect.jobs.pipeline import run_pipeline
from geocorrect.jobs.run import correct_due
from geocorrect.jobs.sequences import adjust_due_sequences
from simulation.sequences import SequenceWorld, simulate_sequence

SIGNALS = [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]


@pytest.fixture(scope="module")
def thirty_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of thirty photos whose files are missing, to be copied."""
    path = tmp_path_factory.mktemp("street") / "c.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        street(catalog, 30, 10)
    return path


@pytest.fixture
def catalog(thirty_photos: Path, tmp_path: Path) -> Iterator[Catalog]:
    """Thirty photos whose files are missing."""
    with Catalog.open(str(shutil.copy(thirty_photos, tmp_path))) as catalog:
        yield catalog


def settings(folder: Path, engine: Literal["local", "in-process"] = "in-process") -> Settings:
    return Settings(
        images=ImagesSection(folder / "images"),
        export=ExportSection((folder / "one.csv", folder / "two.csv")),
        batch=BatchOptions(engine=engine, images_per_transaction=10),
    )


@pytest.mark.parametrize(
    ("number", "code", "engine"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED, "in-process"),
        (signal.SIGTERM, ExitCode.TERMINATED, "local"),
    ],
)
def test_a_signal_between_two_photos(
    catalog: Catalog, tmp_path: Path, number: int, code: ExitCode, engine: Literal["local", "in-process"]
) -> None:
    """What is at hand is stored, neither sequences nor exports are begun, and the next run does the rest."""

    def progress(done: int, _: int) -> None:
        if done == 10:
            os.kill(os.getpid(), number)

    stopped = run_pipeline(settings(tmp_path, engine), catalog, on_progress=progress)
    assert (stopped.exit_code, stopped.sequences, stopped.exported) == (code, None, {})
    assert 10 <= stopped.correct.n_computed <= 20
    assert catalog.counts() == {"rejected": stopped.correct.n_computed}
    assert catalog.holder() is None
    finished = run_pipeline(settings(tmp_path), catalog)
    assert (finished.exit_code, catalog.counts(), len(finished.exported)) == (ExitCode.OK, {"rejected": 30}, 2)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_between_two_exports(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: ExitCode
) -> None:
    def export(of: Catalog, path: Path) -> int:
        os.kill(os.getpid(), number)
        return export_catalog(of, path)

    monkeypatch.setattr(pipeline, "export_catalog", export)
    stopped = run_pipeline(settings(tmp_path), catalog)
    assert (stopped.exit_code, list(stopped.exported)) == (code, [tmp_path / "one.csv"])
    assert (tmp_path / "one.csv").exists()
    assert stopped.correct.n_computed == 30


def test_the_scene_is_held_from_the_first_step_to_the_last(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released and taken again between two steps, another run could step in."""
    holds: list[str] = []
    real = (pipeline.correct_due, pipeline.adjust_due_sequences, pipeline.export_catalog)

    def seen(step):  # type: ignore[no-untyped-def]
        def work(*arguments, **named):  # type: ignore[no-untyped-def]
            holds.append(str(catalog.holder()))
            done = step(*arguments, **named)
            holds.append(str(catalog.holder()))
            return done

        return work

    for name, step in zip(("correct_due", "adjust_due_sequences", "export_catalog"), real, strict=True):
        monkeypatch.setattr(pipeline, name, seen(step))
    assert run_pipeline(settings(tmp_path), catalog).exit_code is ExitCode.OK
    assert len(holds) == 8
    assert len(set(holds)) == 1
    assert str(os.getpid()) in holds[0]


def test_time_that_is_up_leaves_the_sequences_to_the_next_run(tmp_path: Path) -> None:
    """What is left is no failure."""
    options = Settings(images=ImagesSection(tmp_path))
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        sequence_catalog.fill(catalog, {"seq-a": simulate_sequence(SequenceWorld(), 4)})
        with use_or_create(None, catalog, 0.0) as context:
            late = adjust_due_sequences(options, catalog, context=context)
        assert (late.n_due, late.n_done, late.exit_code) == (1, 0, ExitCode.OK)
        assert "1 are left" in late.sentence()
        with use_or_create(None, catalog) as context:
            assert adjust_due_sequences(options, catalog, context=context).n_done == 1


def test_a_step_of_a_job_does_not_take_the_scene_again(catalog: Catalog) -> None:
    with use_or_create(None, catalog) as context:
        assert isinstance(context, JobContext)
        done = correct_due(in_process(Settings()), catalog, limits=RunLimits(), context=context)
        assert done.exit_code is ExitCode.OK
        with pytest.raises(Exception, match="is held by"), lock_scene(catalog.engine):
            pass


# --- full disks ---


@contextmanager
def no_file_above(limit: int) -> Iterator[None]:
    """For whoever writes a file, a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["out.csv", "out.geojson", "out.gpkg", "out.fgb", "out.parquet"])
def test_a_disk_that_fills_in_an_export(
    catalog: Catalog, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is named, nothing of it is left, and what was there before stays."""
    correct_due(in_process(Settings()), catalog)
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("of yesterday")
    arguments = ["export", str(out / name), "--catalog", catalog.address, "--status", Status.REJECTED.value]
    with no_file_above(1000):
        assert run(arguments) == ExitCode.OUTPUT
    assert name in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_text() == "of yesterday"
    assert run(arguments) == ExitCode.OK


FULL = """
create function geocorrect.is_full() returns trigger language plpgsql as $$
begin
  if (select count(*) from geocorrect.correction) >= 20 then
    raise exception 'could not extend file "base/1/2": No space left on device' using errcode = '53100';
  end if;
  return new;
end $$
"""


@pytest.mark.postgis
def test_a_disk_that_fills_at_the_database_server(postgis_url: str, tmp_path: Path) -> None:
    """The server says so with its own code; it is not waited for, what is stored stays, the next run goes on."""
    with Catalog.open(postgis_url, create=True) as catalog:
        street(catalog, 30, 10)
        execute(postgis_url, FULL)
        execute(postgis_url, "create trigger full_disk before insert on geocorrect.correction "
                             "for each statement execute function geocorrect.is_full()")  # fmt: skip
        with pytest.raises(DatabaseError, match="make room on the disk of the database server"):
            correct_due(settings(tmp_path), catalog)
        assert catalog.counts() == {"rejected": 20}
        execute(postgis_url, "drop trigger full_disk on geocorrect.correction")
        assert correct_due(settings(tmp_path), catalog).n_computed == 10
        assert len(catalog.runs()) == 1


def test_people_read_the_brackets_of_a_section(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Square brackets are text, not markup."""
    monkeypatch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
    assert run(["run", "--catalog", catalog.address]) == ExitCode.OK
    assert "no [area] configured: nothing harvested" in capsys.readouterr().err
