"""A server moves to a new cluster by pg_upgrade, which restores every function and view on an empty search path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import Row, text
from support.catalog_world import fill
from support.postgis_fixture import Cluster, execute, installed_programs

from geocorrect.__main__ import run as run_command
from geocorrect.catalog import Catalog
from geocorrect.catalog.check import faults_of

VIEWS = ("current_correction", "displacement", "error_ellipse", "rejected", "sequence_bias", "placed_photo")


@pytest.fixture
def clusters() -> Iterator[tuple[Cluster, Cluster]]:
    """The old cluster, which runs, and the new one, which is empty."""
    programs = installed_programs()
    if programs is None or not (programs / "pg_upgrade").exists():
        pytest.skip("no PostgreSQL server with PostGIS is installed here")
    made = Cluster(programs), Cluster(programs)
    made[1].port = made[0].port + 1
    try:
        made[0].start()
        made[1].initialise()
        yield made
    finally:
        for cluster in made:
            with suppress(RuntimeError):
                cluster.remove()


@pytest.mark.slow
@pytest.mark.postgis
def test_a_catalog_survives_pg_upgrade(
    clusters: tuple[Cluster, Cluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = clusters
    execute(old.url("postgres"), "create database city encoding 'UTF8' template template0")
    execute(old.url("city"), "create extension postgis")
    with Catalog.open(old.url("city"), create=True) as catalog:
        fill(catalog, 4, "run-a")
        fill(catalog, 3, "run-b")
        before = _seen(catalog)
    assert sum(len(rows) for rows in before.values()) > 10

    old.suspend("fast")
    new.upgrade_from(old)
    new.resume()

    monkeypatch.setenv("GEOCORRECT__CATALOG__URL", new.url("city"))
    assert run_command(["db", "check"]) == 0, capsys.readouterr()
    with Catalog.open(new.url("city")) as catalog:
        assert faults_of(catalog.engine) == []
        assert _seen(catalog) == before
        current = {row[0] for row in before["current_run"]}
        assert current == {"run-b", "run-a"}
        assert catalog.rollback("run-b", "after the upgrade") > 0
        assert {row[0] for row in _seen(catalog)["current_run"]} == {"run-a"}
        fill(catalog, 5, "run-c")
        assert "run-c" in {row[0] for row in _seen(catalog)["current_run"]}
    assert run_command(["db", "check"]) == 0, capsys.readouterr()


def _seen(catalog: Catalog) -> dict[str, list[Row[tuple[object, ...]]]]:
    """What views and functions answer, by name."""
    queries = {view: f"select * from {view} order by fid" for view in VIEWS}
    queries["run_diff"] = "select * from run_diff('run-a', 'run-b') order by image_id"
    queries["current_run"] = "select distinct run_key from current_correction"
    with catalog.engine.connect() as connection:
        return {name: list(connection.execute(text(query))) for name, query in queries.items()}
