"""A harvest killed with SIGKILL at random moments ends with the catalog and files of an undisturbed one (row 15)."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from support.child_process import child
from support.harvest_support import Site, SiteFactory, jpeg, street_image, town

from geocorrect.catalog import schema
from geocorrect.catalog.store import Catalog
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeReply, FakeRequest
from geocorrect.errors import OutputError, RemoteError
from geocorrect.harvest.harvest import run_harvest
from geocorrect.harvest.journal import Journal
from geocorrect.harvest.mapillary.tiles import Coverage
from geocorrect.harvest.sink import MemorySink

SCRIPT = Path(__file__).parents[1] / "support" / "killable_harvest.py"


class Killable:
    """Starts harvests in a process of their own and kills them."""

    def __init__(self, process: subprocess.Popen[str], here: Site, folder: Path) -> None:
        self.process, self.here, self.folder = process, here, folder
        self.catalog = folder / "catalog.gpkg"

    def run(self, kill_after_s: float | None = None) -> int:
        """Exit status; −9 when the kill came in time."""
        service = self.here.service
        order = {"graph_url": service.graph_url, "tiles_url": service.tiles_url}
        order |= {"folder": str(self.folder / "images"), "catalog": str(self.catalog)}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        pid = int(self.process.stdout.readline())
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self.process.stdout.readline())

    def content(self) -> tuple[dict[str, Any], dict[str, bytes], int]:
        """Catalog records (without harvest times and the folder's name), files, and rows of history."""
        root = self.folder / "images"
        with Catalog.open(str(self.catalog)) as catalog:
            records = {
                key: repr(replace(image, harvested_at=None, path=image.path and image.path.relative_to(root)))
                for key, image in catalog.images().items()
            }
            with catalog.engine.connect() as connection:
                history = connection.execute(select(func.count()).select_from(schema.image_history)).scalar_one()
        files = {str(path.relative_to(root)): path.read_bytes() for path in root.glob("[0-9]*/*")}
        return records, files, history


@contextmanager
def killable(here: Site, folder: Path) -> Iterator[Killable]:
    environment = {**os.environ, "MAPILLARY_TOKEN": FAKE_TOKEN, "OMP_NUM_THREADS": "1"}
    folder.mkdir()
    command = [sys.executable, str(SCRIPT)]
    with child(command, stdin=-1, stdout=-1, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Killable(process, here, folder)


def kill_repeatedly(site: SiteFactory, tmp_path: Path, kills: int, streets: int) -> None:
    images = town(streets, 25) + [street_image(index, 40, compass_angle=0) for index in range(25)]
    pictures = {image["id"]: jpeg(640, 480, seed=number % 17) for number, image in enumerate(images)}
    slow = lambda request: time.sleep(0.004)  # noqa: E731
    here = site(images, rule=slow, files=pictures)
    with killable(here, tmp_path / "whole") as whole:
        started = time.monotonic()
        assert whole.run() == 0
        duration_s = time.monotonic() - started
        expected = whole.content()
    assert len(expected[0]) == len(expected[1]) == len(images)
    chance = random.Random(7)
    with killable(here, tmp_path / "killed") as victim:
        killed = 0
        while killed < kills:
            # Kills fall anywhere, but late enough for the work to advance between two of them.
            status = victim.run(chance.uniform(0.02, max(2.5 * duration_s / kills, 0.3)))
            killed += status == -signal.SIGKILL
            assert status in (0, -signal.SIGKILL)
            if status == 0:
                # Finished before the last kill: start over, so that every kill meets a harvest at work.
                shutil.rmtree(tmp_path / "killed" / "images")
                victim.catalog.unlink()
        assert victim.run() == 0
        assert victim.content() == expected
    assert not list((tmp_path / "killed").rglob("*.part"))


@pytest.mark.long
def test_four_kills(site: SiteFactory, tmp_path: Path) -> None:
    kill_repeatedly(site, tmp_path, kills=4, streets=4)


@pytest.mark.slow
def test_thirty_kills(site: SiteFactory, tmp_path: Path) -> None:
    kill_repeatedly(site, tmp_path, kills=30, streets=16)


def test_journal_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.jsonl"
    with Journal(path) as journal:
        journal.tile_read("14/1/2", Coverage({"a"}, {"7"}, 3))
        journal.sequence_done("a", ["1", "2"])
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Journal(path) as journal:
            journal.sequence_done("b", ["3"])
        with Journal(path) as journal:
            assert journal.sequence_ids["b"] == ["3"]
            assert ("a" in journal.sequence_ids) == (cut >= len(whole) - 1)


@pytest.mark.long
def test_journal_does_not_grow_with_the_number_of_runs(site: SiteFactory) -> None:
    here = site()
    here.harvest()
    here.harvest()
    size = here.plan().journal_path.stat().st_size
    for _ in range(3):
        assert here.harvest().n_unchanged == len(here.ids)
    assert here.plan().journal_path.stat().st_size == size


def test_journal_that_cannot_be_written_ends_the_run_at_once(
    site: SiteFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site()
    monkeypatch.setattr(Journal, "_append", refuse_to_write)
    with pytest.raises(OutputError, match="No space left"):
        here.harvest()


def refuse_to_write(journal: Journal, entry: Any) -> None:
    raise OutputError("journal: cannot be written (No space left on device)")


def test_journal_of_another_make_is_ignored_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('[]\n{"sequence":5}\nnull\n{"gone":"1","at":"never"}\n{"sequence":"a","ids":["1"]}\n')
    with Journal(path) as journal:
        assert journal.sequence_ids == {"a": ["1"]}
        assert not journal.gone


@pytest.mark.long
def test_token_renewed_after_it_expired_in_the_middle(site: SiteFactory) -> None:
    here = site(town(6))
    here.script.rule = expire_after(here, 12)
    with pytest.raises(RemoteError, match="renew MAPILLARY_TOKEN"):
        here.harvest(graph_workers=1)
    run_harvest(here.options(), here.plan(), here.sink, token="MLY|2|renewed")
    assert set(here.sink.by_id) == here.ids


def expire_after(here: Site, number: int) -> Any:
    def rule(request: FakeRequest) -> FakeReply | None:
        if request.number == number:
            here.service.token = "MLY|2|renewed"
        return None

    return rule


def test_clock_that_ran_ahead_does_not_freeze_refreshes(site: SiteFactory) -> None:
    from datetime import UTC, datetime, timedelta

    here = site([street_image(0, computed_geometry=...)])
    here.harvest()
    image = next(iter(here.sink.by_id.values()))
    here.sink.by_id[image.id] = replace(image, harvested_at=datetime.now(UTC) + timedelta(days=400))
    assert here.harvest().n_updated == 1


@pytest.mark.long
def test_interruption_keeps_what_was_stored(site: SiteFactory) -> None:
    here = site(town(40, 10))

    class Impatient(MemorySink):
        def upsert_images(self, images: Any) -> None:
            super().upsert_images(images)
            if len(self.by_id) >= 100:
                raise KeyboardInterrupt

    here.sink = Impatient()
    with pytest.raises(KeyboardInterrupt):
        here.harvest()
    kept = dict(here.sink.by_id)
    assert 100 <= len(kept) < 400
    here.sink = MemorySink()
    here.sink.by_id.update(kept)
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert report.n_new == 400 - len(kept)


def test_catalog_whose_making_was_killed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "catalog.gpkg"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert path.stat().st_size > 0, "a header and no table, as a kill right after the start leaves it"
    with Catalog.open(str(path), create=True) as catalog:
        assert list(catalog.images()) == []
