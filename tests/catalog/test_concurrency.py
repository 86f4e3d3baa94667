"""Readers never fail while a writer is killed; a shared server takes two writers; roles limit what they allow."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from pathlib import Path

import psycopg
import pyogrio
import pytest
from sqlalchemy import text
from support import catalog_world as world
from support.catalog_users import write_results
from support.forked import forked, sent_until_its_end

from geocorrect.catalog import Catalog
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.postgis.roles import grant_roles


def run_readers(path: Path, until: threading.Event, faults: list[str], reads: list[int]) -> None:
    while not until.is_set():
        try:
            plain = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
            plain.execute("select count(*), max(fid) from current_correction").fetchone()
            plain.close()
            pyogrio.read_dataframe(path, layer="error_ellipse", max_features=20)
            reads.append(2)
        except Exception as error:
            faults.append(repr(error))


def kill_writers(path: Path, kills: int, count: int) -> None:
    with Catalog.open(str(path), create=True) as catalog:
        catalog.set_frame(world.ROME)
        catalog.add_alignment(world.alignment())
        catalog.upsert_anchors(world.anchor(i) for i in range(count + 1))
        catalog.upsert_images(world.image(i) for i in range(count))
    chance = random.Random(7)
    stop, faults, reads, acknowledged = threading.Event(), [], [], 0
    reader = threading.Thread(target=run_readers, args=(path, stop, faults, reads))
    reader.start()
    try:
        for _ in range(kills):
            with forked(write_results, path) as (writer, answers):
                # Killed while it works: after its first transactions, at any moment of a later one.
                for _ in range(chance.randrange(1, 4)):
                    acknowledged += answers.recv()
                time.sleep(chance.uniform(0.0, 0.03))
                writer.kill()
                acknowledged += sum(sent_until_its_end(answers))
    finally:
        stop.set()
        reader.join()
    assert faults == []
    assert sum(reads) > kills
    with Catalog.open(str(path)) as catalog:
        assert faults_of(catalog.engine) == []
        stored = sum(catalog.counts("run-a").values())
        assert acknowledged <= stored < count
    with forked(write_results, path) as (writer, answers):
        assert sum(sent_until_its_end(answers)) == count - stored
        writer.join()
        assert writer.exitcode == 0
    with Catalog.open(str(path)) as catalog:
        assert faults_of(catalog.engine) == []
        assert catalog.counts("run-a") == {"accepted": count}


@pytest.mark.long
def test_a_killed_writer_hurts_nobody(tmp_path: Path) -> None:
    kill_writers(tmp_path / "a.gpkg", kills=3, count=200)


@pytest.mark.slow
def test_twenty_killed_writers_hurt_nobody(tmp_path: Path) -> None:
    kill_writers(tmp_path / "a.gpkg", kills=20, count=1000)


@pytest.mark.long
def test_two_writers_of_the_same_results_store_them_once(catalog: Catalog, catalog_url: str) -> None:
    world.fill(catalog, 2)
    catalog.upsert_images(world.image(i) for i in range(2, 40))
    found = [world.correction(i) if i % 2 else world.rejection(i) for i in range(40)]
    catalog.upsert_anchors(world.anchor(i) for i in range(42))
    errors = []

    def write() -> None:
        try:
            with Catalog.open(catalog_url) as mine:
                for start in range(0, 40, 4):
                    mine.record("run-a", found[start : start + 4])
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    with catalog.engine.connect() as connection:
        assert connection.execute(text("select count(*) from correction")).scalar_one() == 40
        assert connection.execute(text("select count(distinct image_id) from correction")).scalar_one() == 40


@pytest.mark.postgis
def test_roles_can_do_their_work_and_nothing_else(postgis_url: str, postgis_cluster: object) -> None:
    if postgis_cluster is None:
        pytest.skip("a given server may not let us make users")
    with Catalog.open(postgis_url, create=True) as catalog:
        world.fill(catalog, 3)
        grant_roles(catalog.engine, 'test "writer', "test_reader")
        grant_roles(catalog.engine, 'test "writer', "test_reader")
        with catalog.engine.begin() as connection:
            for user, role in (("pen", '"test ""writer"'), ("eye", "test_reader")):
                connection.execute(text(f"drop role if exists {user}"))
                connection.execute(text(f"create role {user} login in role {role}"))
    try:
        with Catalog.open(postgis_url.replace("postgres@", "pen@")) as worker:
            worker.upsert_images([world.image(i) for i in range(5)])
            worker.begin_run(world.manifest("run-b"))
            worker.record("run-b", world.results(3))
            assert worker.rollback("run-b") == 3
        for user, statement in (
            ("pen", "drop table geocorrect.pair"),
            ("pen", "update geocorrect.correction set status = 'review'"),
            ("pen", "update geocorrect.geocorrect_version set version_num = 'x'"),
            ("pen", "create table geocorrect.mine (a int)"),
            ("eye", "update geocorrect.run set rolled_back_at = null"),
            ("eye", "delete from geocorrect.correction"),
        ):
            address = postgis_url.replace("postgres@", f"{user}@")
            with psycopg.connect(address) as mine, pytest.raises(psycopg.errors.InsufficientPrivilege):
                mine.execute(statement)
        with Catalog.open(postgis_url.replace("postgres@", "eye@")) as theirs:
            assert theirs.counts() == {"accepted": 3}
            assert len(list(theirs.current())) == 3
    finally:
        with Catalog.open(postgis_url) as catalog, catalog.engine.begin() as connection:
            for name in ("pen", "eye", '"test ""writer"', "test_reader"):
                connection.execute(text(f"drop owned by {name}"))
                connection.execute(text(f"drop role {name}"))
