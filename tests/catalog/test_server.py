"""A shared server: an upgrade disturbs nobody and takes no right away, and a writer needs no more than its rights."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from PIL import Image as Picture
from sqlalchemy import text
from sqlalchemy.engine import make_url
from support import catalog_world as world
from support.postgis_fixture import execute
from typer.testing import CliRunner

from geocorrect.catalog import Catalog, migrate
from geocorrect.catalog.postgis.roles import grant_roles
from geocorrect.catalog.views.qml import STYLED
from geocorrect.catalog.views.views import views_of
from geocorrect.cli.app import app
from geocorrect.errors import DatabaseError

pytestmark = pytest.mark.postgis


@dataclass(frozen=True)
class Server:
    """A filled catalog on a server, and the addresses of those who work with it."""

    owner: str
    writer: str
    reader: str
    roles: tuple[str, str]


@pytest.fixture
def server(postgis_url: str, postgis_cluster: object) -> Iterator[Server]:
    """Roles of its own: those of a cluster are common to all its databases."""
    if postgis_cluster is None:
        pytest.skip("a given server may not let us make users")
    tag = uuid.uuid4().hex[:8]
    writer, reader, pen, eye = (f"{name}_{tag}" for name in ("writer", "reader", "pen", "eye"))
    with Catalog.open(postgis_url, create=True) as catalog:
        world.fill(catalog, 5)
        grant_roles(catalog.engine, writer, reader)
    for user, role in ((pen, writer), (eye, reader)):
        execute(postgis_url, f"create role {user} login in role {role}")
    owner = make_url(postgis_url)
    addresses = [owner.set(username=user).render_as_string(hide_password=False) for user in (pen, eye)]
    try:
        yield Server(postgis_url, addresses[0], addresses[1], (writer, reader))
    finally:
        for name in (pen, eye, writer, reader):
            execute(postgis_url, f"drop owned by {name}")
            execute(postgis_url, f"drop role {name}")


def make_due(owner: str) -> None:
    """As if the views of the catalog were those of another release."""
    execute(owner, "update geocorrect.geocorrect_version set made_from = 'older views'")


def test_rights_outlive_an_upgrade(server: Server) -> None:
    writer, reader = server.roles
    execute(server.owner, f"grant update (because) on geocorrect.retraction to {reader}")
    execute(server.owner, "grant select on geocorrect.coverage to public")
    execute(server.owner, f"create role guest_{reader}")
    execute(server.owner, f"grant select on geocorrect.rejected to guest_{reader} with grant option")
    make_due(server.owner)
    try:
        with Catalog.open(server.owner, create=True) as catalog:
            assert not migrate.upgrade_is_due(catalog.engine)
        for address in (server.writer, server.reader):
            with psycopg.connect(address) as connection:
                found = connection.execute("select count(*) from public.layer_styles where useasdefault").fetchone()
                assert found == (len(STYLED),)
                for view in views_of("postgresql"):
                    connection.execute(f"select * from geocorrect.{view.name}")  # type: ignore[arg-type]
        with psycopg.connect(server.owner) as connection:
            may = "has_table_privilege(%s, %s, %s)"
            for role, table, right, expected in (
                (f"guest_{reader}", "rejected", "select with grant option", True),
                (f"guest_{reader}", "correction", "select", False),
                (f"guest_{reader}", "coverage", "select", True),
                (reader, "correction", "insert", False),
                (writer, "correction", "insert", True),
            ):
                found = connection.execute(f"select {may}", (role, f"geocorrect.{table}", right)).fetchone()
                assert found == (expected,), (role, table, right)
    finally:
        execute(server.owner, f"drop owned by guest_{reader}")
        execute(server.owner, f"drop role guest_{reader}")


def test_a_current_catalog_is_opened_without_touching_it(server: Server) -> None:
    """A view that was made again would have another oid."""
    query = "select oid from pg_class where relnamespace = to_regnamespace('geocorrect') order by oid"
    with psycopg.connect(server.owner) as connection:
        before = connection.execute(query).fetchall()
    Catalog.open(server.owner, create=True).close()
    with psycopg.connect(server.owner) as connection:
        assert connection.execute(query).fetchall() == before


def test_a_writer_stores_anchors_and_photos(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Picture.new("RGB", (64, 48)).save(tmp_path / "new.jpg")
    (tmp_path / "anchors.csv").write_text(
        "file,lon_deg,lat_deg,height_m,heading_deg,pitch_deg,roll_deg,width,height,fx,fy,cx,cy\n"
        "new.jpg,12.4965,41.9029,50,90,0,0,64,48,60,60,31.5,23.5\n"
    )
    place = ["--crs", "EPSG:4326", "--height-reference", "ellipsoid"]
    for command in (["import", "."], ["anchors", "add", "anchors.csv", "--format", "table", *place]):
        done = CliRunner().invoke(app, [*command, "--catalog", server.writer])
        assert done.exit_code == 0, (done.output, done.exception)
    with Catalog.open(server.writer, create=True) as worker:
        assert worker.upsert_anchors(world.anchor(i) for i in (50, 51)) == 2
        assert worker.upsert_images([world.image(50)]) == 1
        worker.begin_run(world.manifest("run-b"))
        worker.record("run-b", [world.correction(50)])
        assert len(worker.images()) == 7
    make_due(server.owner)
    # The views are the owner's affair.
    Catalog.open(server.writer, create=True).close()
    execute(server.owner, "update geocorrect.geocorrect_version set version_num = '0001'")
    with pytest.raises(DatabaseError, match="has schema 0001.*let its owner run `geocorrect db upgrade`"):
        Catalog.open(server.writer, create=True)


def test_nobody_waits_for_a_current_catalog(server: Server) -> None:
    with psycopg.connect(server.reader) as busy:
        busy.execute("select count(*) from geocorrect.current_correction")
        start = time.monotonic()
        Catalog.open(server.owner, create=True).close()
        with Catalog.open(server.reader) as other:
            assert other.counts() == {"accepted": 4, "rejected": 1}
        assert time.monotonic() - start < 5.0


def test_an_upgrade_gives_up_rather_than_make_all_wait(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_MS", 400)
    make_due(server.owner)
    answers: list[int] = []

    def look() -> None:
        with psycopg.connect(server.reader) as connection:
            row = connection.execute("select count(*) from geocorrect.current_correction").fetchone()
            assert row is not None
            answers.append(row[0])

    with psycopg.connect(server.reader) as busy:
        busy.execute("select count(*) from geocorrect.current_correction")
        another = threading.Timer(0.2, look)
        another.start()
        with pytest.raises(DatabaseError, match="somebody has the catalog open in a transaction"):
            Catalog.open(server.owner, create=True)
        another.join(5.0)
        assert answers == [4]
    Catalog.open(server.owner, create=True).close()
    with Catalog.open(server.owner) as catalog, catalog.engine.connect() as connection:
        assert connection.execute(text("select made_from from geocorrect_version")).scalar() == migrate.made_from(
            "postgresql"
        )
