"""Servers as people run them: behind a pooler, in an old encoding, dumped and restored, half restored."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import mercantile
import pytest
from sqlalchemy import text
from support.catalog_world import fill
from support.postgis_fixture import Cluster, execute, skip_or_fail, with_database

from geocorrect.__main__ import run as run_command
from geocorrect.catalog import Catalog
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.lock import holder_of, lock_scene
from geocorrect.catalog.postgis.kept_connections import KeptConnections
from geocorrect.catalog.served.filter import MapFilter
from geocorrect.catalog.served.tiles import TileAddress, TileReader
from geocorrect.errors import DatabaseError, SceneBusyError

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/sbin")
SETTINGS = """
[databases]
* = host={folder} port={port} user=postgres
[pgbouncer]
listen_addr =
listen_port = {bouncer_port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
default_pool_size = 4
"""


@pytest.fixture
def postgis_catalog(postgis_url: str) -> str:
    with Catalog.open(postgis_url, create=True) as catalog:
        fill(catalog, 4, "run-a")
        fill(catalog, 4, "run-b")
    return postgis_url


@pytest.fixture(params=["transaction", "session"])
def bounced_url(request: pytest.FixtureRequest, postgis_url: str, postgis_cluster: Cluster | None) -> Iterator[str]:
    """The address of an empty database behind PgBouncer."""
    if postgis_cluster is None:
        pytest.skip("a given server may be reached in another way")
    if PGBOUNCER is None:
        skip_or_fail("no PgBouncer; run `apt-get install pgbouncer`")
    assert PGBOUNCER is not None
    folder, port = postgis_cluster.folder, postgis_cluster.port + 1
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        SETTINGS.format(folder=folder, port=postgis_cluster.port, bouncer_port=port, mode=request.param)
    )
    settings.chmod(0o644)
    bouncer = subprocess.Popen([*postgis_cluster.as_user, PGBOUNCER, str(settings)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if (folder / f".s.PGSQL.{port}").exists():
                break
            time.sleep(0.1)
        yield f"postgresql://postgres@/{postgis_url.rsplit('/', 1)[1].split('?')[0]}?host={folder}&port={port}"
    finally:
        bouncer.terminate()
        bouncer.wait()


@pytest.mark.postgis
def test_behind_pgbouncer_a_catalog_works_and_is_locked(bounced_url: str) -> None:
    """In transaction mode prepared statements failed, and the lock and the search path belonged to anybody."""
    with Catalog.open(bounced_url, create=True) as catalog, Catalog.open(bounced_url) as other:
        with lock_scene(catalog.engine) as lock:
            for number in range(8):  # a statement is prepared the fifth time
                fill(catalog, 2, f"run-{number}")
                lock.refresh()
            assert str(os.getpid()) in str(holder_of(other.engine))
            with pytest.raises(SceneBusyError, match="is held by geocorrect run"), lock_scene(other.engine):
                pass
        assert holder_of(other.engine) is None, "a lock that leaked would stay in the pool"
        with lock_scene(other.engine):
            assert len(catalog.runs()) == 8
        assert faults_of(other.engine) == []
        place = catalog.extent()
        assert place is not None
        address = TileAddress(17, *mercantile.tile(place[0], place[1], 17)[:2])
        tiles = {TileReader(catalog).read("anchors", address, MapFilter(), _no_encoder) for _ in range(8)}
        assert len(tiles) == 1
        assert b"anchor_id" in tiles.pop()
        assert KeptConnections(catalog.engine).row("select 1", {}) is None, "a kept session would be a client's own"


def _no_encoder(*_: object) -> bytes:
    raise AssertionError("the server makes the tile")


@pytest.mark.long
@pytest.mark.postgis
def test_the_doctor_names_the_pooler(bounced_url: str, postgis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked with the address of the pooler and with that of the server itself."""
    Catalog.open(postgis_url, create=True).close()

    def seen(url: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GEOCORRECT__CATALOG__URL", url)
            run_command(["doctor", "--json"])
        findings = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}
        assert findings["catalog"]["ok"], findings["catalog"]
        return str(findings["catalog"]["text"])

    assert "through a pooler (PgBouncer: session and transaction mode work" in seen(bounced_url)
    assert "pooler" not in seen(postgis_url)


@pytest.mark.postgis
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "WIN1252"])
def test_another_encoding_is_refused_with_the_remedy(postgis_server_url: str, encoding: str) -> None:
    server, name = postgis_server_url.split("#")[0], f"geocorrect_test_{uuid.uuid4().hex[:12]}"
    execute(server, f"create database {name} encoding '{encoding}' locale 'C' template template0")
    try:
        with pytest.raises(DatabaseError, match=rf"encoding {encoding}.*createdb --encoding=UTF8 .*{name}_utf8"):
            Catalog.open(with_database(server, name), create=True)
    finally:
        execute(server, f"drop database {name} with (force)")


@pytest.mark.postgis
@pytest.mark.parametrize("form", ["custom", "plain"])
def test_a_dump_is_restored_whole(postgis_catalog: str, postgis_server_url: str, form: str, tmp_path: Path) -> None:
    """pg_restore and psql run with an empty search path, as pg_upgrade does."""
    server, name = postgis_server_url.split("#")[0], f"geocorrect_test_{uuid.uuid4().hex[:12]}"
    dump = tmp_path / "dump"
    run("pg_dump", "--dbname", postgis_catalog, "--format", form, "--file", str(dump))
    execute(server, f"create database {name} encoding 'UTF8' template template0")
    copy = with_database(server, name)
    try:
        if form == "custom":
            run("pg_restore", "--exit-on-error", "--dbname", copy, str(dump))
        else:
            run("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", copy, "--file", str(dump))
        query = text("select count(*) from run_diff('run-a', 'run-b')")
        with Catalog.open(copy) as restored, restored.engine.connect() as connection:
            assert faults_of(restored.engine) == []
            assert connection.execute(query).scalar_one() == 0
            assert len(restored.images()) == 4
    finally:
        execute(server, f"drop database {name} with (force)")


@pytest.mark.postgis
@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("drop function geocorrect.run_diff", "function run_diff(text, text) is missing; run `geocorrect db upgrade`"),
        ("drop view geocorrect.rejected cascade", "view rejected is missing; run `geocorrect db upgrade`"),
        ("drop index geocorrect.ix_correction_geom", "index ix_correction_geom is missing; run `CREATE INDEX"),
        ("alter table geocorrect.pair drop constraint pk_pair", "constraint pk_pair is missing; restore the backup"),
        ("alter table geocorrect.pair drop constraint fk_pair_anchor_id", "constraint fk_pair_anchor_id is missing"),
        ("drop table geocorrect.sequence_finding cascade", "table sequence_finding is missing"),
    ],
)
def test_what_a_restore_lost_is_found(postgis_catalog: str, statement: str, fault: str) -> None:
    execute(postgis_catalog, statement)
    with Catalog.open(postgis_catalog) as catalog:
        faults = faults_of(catalog.engine)
    assert any(found.startswith(fault) for found in faults), faults


@pytest.mark.parametrize("name", ["rom?1", "rom#1", "rom%201", "rom&mode=ro"])
def test_a_scene_is_written_to_the_file_of_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        fill(catalog, 1)
    with Catalog.open(str(path)) as catalog:
        assert len(list(catalog.images())) == 1
    assert {entry.name for entry in tmp_path.iterdir()} <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
