"""A GeoPackage from a stranger: what was planted in it does not run, whatever is done with the file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from support import catalog_world as world

from geocorrect.catalog import Catalog, connect, migrate
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.geopackage import planted
from geocorrect.errors import DatabaseError

ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n)"
MOVES_ALL = "begin update correction set lon_deg = 0, lat_deg = 0; end"


@pytest.fixture
def path(empty_geopackage: Path, tmp_path: Path) -> Path:
    """A filled catalog."""
    copy = Path(shutil.copy(empty_geopackage, tmp_path / "catalog.gpkg"))
    with Catalog.open(str(copy)) as catalog:
        world.fill(catalog, 5)
    return copy


def plant(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
        connection.execute("pragma wal_checkpoint(truncate)")


def places(path: Path) -> list[tuple[float, float]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("select lon_deg, lat_deg from correction order by fid").fetchall()


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "named"),
    [
        (f"create trigger t after update on run {MOVES_ALL};", "'t' on 'run'"),
        (f"create trigger RTREE_x after insert on Image {MOVES_ALL};", "'RTREE_x' on 'Image'"),
        (f"create trigger t after insert on gpkg_contents {MOVES_ALL};", "'t' on 'gpkg_contents'"),
        (f"create trigger t after update on geocorrect_version {MOVES_ALL};", "'t' on 'geocorrect_version'"),
        (f"drop table geocorrect_version; create view geocorrect_version as {ENDLESS} select i as version_num from n;",
         "'geocorrect_version' is a view"),
        ("alter table gpkg_extensions rename to e; "
         f"create view gpkg_extensions as {ENDLESS} select i as table_name from n;", "'gpkg_extensions' is a view"),
        (f"create trigger t after insert on rtree_image_geom_node {MOVES_ALL};", "'t' on 'rtree_image_geom_node'"),
        ("alter table image add column x generated always as (abs(fid)) virtual;", "the table 'image' holds"),
        ("alter table run add column x/**/As(length(zeroblob(1000000000)));", "the table 'run' holds"),
        ("alter table Run add column x check(fid < 3 or 'check' = 'as');", "the table 'run' holds"),
        ("drop table geocorrect_version; create table geocorrect_version (version_num default(abs(random())));",
         "the table 'geocorrect_version' holds"),
        ("create index i on image (abs(fid));", "the index 'i' holds"),
        ("create index i on image (fid) where fid > 0;", "the index 'i' holds"),
    ],
)  # fmt: skip
def test_what_is_planted_is_named_and_does_not_run(path: Path, script: str, named: str) -> None:
    plant(path, script)
    before = places(path)
    for work in (
        lambda: Catalog.open(str(path)),
        lambda: Catalog.open(str(path), create=True),
        lambda: migrate.revision_at(str(path)),
    ):
        with pytest.raises(DatabaseError) as caught:
            work()
        assert named in str(caught.value)
        assert "from its owner" in str(caught.value)
    assert places(path) == before


def test_a_changed_trigger_does_not_run_in_the_upgrade_that_repairs_it(path: Path) -> None:
    plant(
        path,
        "drop trigger rtree_image_geom_update1; "
        f"create trigger rtree_image_geom_update1 after update on image {MOVES_ALL}; "
        "update geocorrect_version set made_from = 'before';",
    )
    before = places(path)
    with pytest.raises(DatabaseError, match="rtree_image_geom_update1' is changed; run `geocorrect db upgrade`"):
        Catalog.open(str(path))
    with Catalog.open(str(path), create=True) as catalog:
        catalog.upsert_images([world.image(1), world.image(7)])
        assert faults_of(catalog.engine) == []
    assert places(path) == before


@pytest.mark.parametrize(
    "select",
    [
        f"{ENDLESS} select i as fid from n",
        "select fid as fid from correction where 0\nunion all\nselect fid from correction, correction, (\nselect 1\n)",
    ],
)
def test_a_changed_view_is_not_run_but_made_anew(path: Path, select: str) -> None:
    plant(path, f"drop view current_correction; create view current_correction as\n{select};")
    with pytest.raises(DatabaseError, match="view current_correction is not that of this geocorrect"):
        Catalog.open(str(path))
    with Catalog.open(str(path), create=True) as catalog:
        assert faults_of(catalog.engine) == []
        with catalog.engine.connect() as connection:
            assert connection.execute(text("select count(*) from current_correction")).scalar_one() == 4


def test_capitals_hide_no_view(path: Path) -> None:
    plant(path, f"drop view current_correction; create view CURRENT_CORRECTION as {ENDLESS} select i as fid from n;")
    with pytest.raises(DatabaseError, match="view current_correction is not that of this geocorrect"):
        Catalog.open(str(path))


@pytest.mark.long
def test_status_of_an_endless_view_ends(path: Path) -> None:
    plant(path, f"drop view current_correction; create view current_correction as {ENDLESS} select i as fid from n;")
    command = [sys.executable, "-m", "geocorrect", "status", "--catalog", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=os.environ | {"HOME": "/tmp"}
    )
    assert done.returncode == 5
    assert "run `geocorrect db upgrade`" in " ".join(done.stderr.split())


def test_what_belongs_to_others_stays_and_is_left_alone(path: Path) -> None:
    plant(
        path,
        "create table mine (a check (a > 0)); create trigger t after insert on mine begin select 1; end; "
        """alter table image add column "check" text default 'as (check)' /* as check (a) */; """
        """create index i on image ("check"); """
        "create table gpkg_metadata (a); create trigger m before insert on gpkg_metadata begin select 1; end; "
        f"create view v as {ENDLESS} select i from n;",
    )
    with Catalog.open(str(path), create=True) as catalog:
        catalog.upsert_images([world.image(8)])
        assert faults_of(catalog.engine) == []


def test_nothing_of_the_schema_is_trusted_before_it_was_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def look(connection: sqlite3.Connection, *rest: object, **options: bool) -> None:
        honest(connection, *rest, **options)
        seen.append(connection.execute("pragma trusted_schema").fetchone()[0])

    honest: Callable[..., None] = planted.refuse_planted
    monkeypatch.setattr(connect, "refuse_planted", look)
    with Catalog.open(str(path)) as catalog:
        assert catalog.sizes() == (6, 5)
    assert seen
    assert set(seen) == {1}
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table run_copy (a)")
        connection.execute(f"create trigger t after insert on run {MOVES_ALL}")
        with pytest.raises(DatabaseError):
            planted.refuse_planted(connection, "x", repairs=False)
        assert connection.execute("pragma trusted_schema").fetchone()[0] == 0


def test_looking_at_a_schema_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "LOOK_S", 0.2)
    monkeypatch.setattr(planted, "_harden", lambda c: c.execute(f"{ENDLESS} select count(*) from n"))
    start_s = time.monotonic()
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(DatabaseError, match="interrupted"):
        planted.refuse_planted(connection, "x", repairs=False)
    assert time.monotonic() - start_s < 5
