"""One writer per scene: the error of the second says who has the lock and since when; it ends with its holder."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from support.catalog_users import hold_lock
from support.forked import forked
from support.postgis_fixture import execute

from geocorrect.catalog import Catalog
from geocorrect.catalog.lock import lock_scene
from geocorrect.errors import SceneBusyError


@pytest.fixture
def holder(catalog_url: str) -> Iterator[BaseProcess]:
    """Another process that has locked the scene."""
    with forked(hold_lock, catalog_url) as (process, answers):
        assert answers.recv() == "locked"
        yield process


def test_the_second_learns_who_and_since_when(holder: BaseProcess, catalog_url: str) -> None:
    with Catalog.open(catalog_url) as catalog:
        with pytest.raises(SceneBusyError) as caught, lock_scene(catalog.engine):
            pass
        assert str(holder.pid) in str(caught.value)
        assert "since 20" in str(caught.value)
        assert catalog.images() == {}, "readers are not kept out"


def test_a_killed_holder_loses_the_lock(holder: BaseProcess, catalog_url: str) -> None:
    holder.kill()
    holder.join()
    with Catalog.open(catalog_url) as catalog:
        locked = False
        for _ in range(50):  # the server notices a dead client within moments
            try:
                with lock_scene(catalog.engine):
                    locked = True
                    break
            except SceneBusyError:
                signal.sigtimedwait([], 0.1)
        assert locked


def test_it_is_free_after_the_block_and_scenes_do_not_disturb_each_other(catalog_url: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.gpkg")
    with Catalog.open(catalog_url, create=True) as first, Catalog.open(other, create=True) as second:
        for _ in range(2):
            with lock_scene(first.engine), lock_scene(second.engine):
                pass


def test_everybody_may_ask_who_has_the_lock(holder: BaseProcess, catalog_url: str) -> None:
    with Catalog.open(catalog_url) as catalog:
        found = catalog.holder()
        assert found is not None
        assert str(holder.pid) in found.who
        assert found.since is not None
        assert abs((datetime.now(UTC) - found.since).total_seconds()) < 120
        holder.kill()
        holder.join()
        assert any(catalog.holder() is None or signal.sigtimedwait([], 0.1) for _ in range(50))


def test_asking_does_not_send_a_run_away(catalog_url: str) -> None:
    """Looking at a lock file locks it for a moment; a run that starts in that moment works all the same."""
    with Catalog.open(catalog_url, create=True) as catalog:
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                catalog.holder()

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for _ in range(30):
                with lock_scene(catalog.engine):
                    pass
        finally:
            stop.set()
            asking.join()


@pytest.mark.postgis
def test_another_user_of_the_server_learns_who(postgis_url: str) -> None:
    """A plain user does not see when a superuser's session began: that is left out, and no error."""
    Catalog.open(postgis_url, create=True).close()
    role = f"reader_{uuid.uuid4().hex[:8]}"
    execute(postgis_url, f"create role {role} login")
    try:
        for statement in (f"grant usage on schema geocorrect to {role}",
                          f"grant select on all tables in schema geocorrect to {role}"):  # fmt: skip
            execute(postgis_url, statement)
        theirs = make_url(postgis_url).set(username=role, drivername="postgresql")
        address = theirs.render_as_string(hide_password=False)
        with Catalog.open(postgis_url) as ours, lock_scene(ours.engine), Catalog.open(address) as other:
            found = other.holder()
            assert found is not None
            assert str(os.getpid()) in found.who
            with pytest.raises(SceneBusyError, match=str(os.getpid())), lock_scene(other.engine):
                pass
    finally:
        execute(postgis_url, f"drop owned by {role}")
        execute(postgis_url, f"drop role {role}")


def test_two_names_of_a_file_are_one_scene(tmp_path: Path) -> None:
    """Through a symbolic link it is the same catalog, and has the same lock."""
    path, link = tmp_path / "c.gpkg", tmp_path / "folder" / "link.gpkg"
    link.parent.mkdir()
    link.symlink_to(path)
    with Catalog.open(str(path), create=True) as ours, Catalog.open(str(link)) as other:
        with lock_scene(ours.engine), pytest.raises(SceneBusyError), lock_scene(other.engine):
            pass
        with lock_scene(other.engine):
            assert ours.holder() is not None
