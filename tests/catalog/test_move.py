"""A catalog moves between a file and a server whole: with versions, runs, reviews and keys, row by row the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import select
from support import catalog_world as world
from support.large_catalog import fill_large
from support.postgis_fixture import database_from
from support.world_cache import cached_demo

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.curation.move import copy_catalog, shape_of
from geocorrect.catalog.curation.review import Reviews, Verdict
from geocorrect.catalog.schema import TABLES
from geocorrect.catalog.sequences import SequenceStore
from geocorrect.errors import DatabaseError, ExitCode
from geocorrect.records import Position

pytestmark = pytest.mark.postgis


def everything(catalog: Catalog) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables as plain values: floats to the last bit, geometries as WKB, JSON in one order."""
    with catalog.engine.connect() as connection:
        return {
            table.name: [
                tuple(_plain(value) for value in row) for row in connection.execute(select(table).order_by(table.c.fid))
            ]
            for table in TABLES
        }


def _plain(value: Any) -> Any:
    if isinstance(value, BaseGeometry | bytes) or (isinstance(value, str) and value.startswith("01020000")):
        return shapely.to_wkb(shape_of(value), hex=True)
    if isinstance(value, str) and value.startswith("01030000"):
        return shapely.to_wkb(shape_of(value), hex=True)
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def fill(catalog: Catalog) -> None:
    """Something in every table."""
    world.fill(catalog)
    catalog.upsert_images([replace(world.image(3), computed=Position(12.4965, 41.9028))])
    catalog.begin_run(world.manifest("run-b"))
    catalog.record("run-b", [world.correction(0), world.rejection(2)])
    catalog.retract(["1001"], "the façade was rebuilt")
    SequenceStore(catalog).depend_on("run-b", ["run-a"])
    SequenceStore(catalog).record("run-b", world.finding())
    Reviews(catalog).decide(["1006"], Verdict.ACCEPT, "ana", "fits")
    catalog.rollback("run-b", "wrong weights")


def there_and_back(start: Path, server: str, folder: Path) -> None:
    """Assert that file → server → file gives the same rows, and that work goes on there."""
    with Catalog.open(str(start)) as source, Catalog.open(server) as target:
        before = everything(source)
        assert all(before[table.name] for table in TABLES if table.name in ("image", "correction", "run", "anchor"))
        counts = copy_catalog(source, target)
        assert counts == {name: len(rows) for name, rows in before.items()}
        assert everything(target) == before
        assert faults_of(target.engine) == []
        with Catalog.open(str(folder / "back.gpkg"), create=True) as back:
            copy_catalog(target, back)
            assert everything(back) == before
            assert faults_of(back.engine) == []


@pytest.mark.long
def test_there_and_back(empty_geopackage: Path, empty_postgis: str, postgis_server_url: str, tmp_path: Path) -> None:
    start = Path(shutil.copy(empty_geopackage, tmp_path / "start.gpkg"))
    with Catalog.open(str(start)) as catalog:
        fill(catalog)
        assert all(everything(catalog).values()), "a table without a row proves nothing"
    with database_from(postgis_server_url.split("#")[0], empty_postgis) as server:
        there_and_back(start, server, tmp_path)
        for url in (server, str(tmp_path / "back.gpkg")):
            with Catalog.open(url) as moved:
                assert moved.counts() == {"accepted": 14, "rejected": 4, "review": 1}
                moved.begin_run(world.manifest("run-n"))
                moved.record("run-n", [world.correction(5)])
                assert [stored.run_key for stored in moved.results() if stored.image_id == "1005"] == ["run-n"]


@pytest.mark.long
def test_the_demo_there_and_back(empty_postgis: str, postgis_server_url: str, tmp_path: Path) -> None:
    start = Path(shutil.copy(cached_demo() / "corrections.gpkg", tmp_path / "start.gpkg"))
    with database_from(postgis_server_url.split("#")[0], empty_postgis) as server:
        there_and_back(start, server, tmp_path)


@pytest.mark.slow
def test_a_city_there_and_back(empty_postgis: str, postgis_server_url: str, tmp_path: Path) -> None:
    """A hundred thousand photos with 115,000 results: server → file → server."""
    at = postgis_server_url.split("#")[0]
    with (
        database_from(at, empty_postgis) as first, database_from(at, empty_postgis) as second,
        Catalog.open(first) as source, Catalog.open(str(tmp_path / "city.gpkg"), create=True) as file,
        Catalog.open(second) as target,
    ):  # fmt: skip
        fill_large(source, 100_000)
        copy_catalog(source, file)
        copy_catalog(file, target)
        assert everything(target) == everything(source)


@pytest.mark.long
def test_typed_and_refused(
    empty_geopackage: Path, empty_postgis: str, postgis_server_url: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Into a catalog that holds something nothing is copied; a row that reads otherwise undoes everything."""
    start = Path(shutil.copy(empty_geopackage, tmp_path / "start.gpkg"))
    with Catalog.open(str(start)) as catalog:
        world.fill(catalog, 5)
    with database_from(postgis_server_url.split("#")[0], empty_postgis) as server:
        with Catalog.open(str(start)) as source, Catalog.open(server) as target:
            monkeypatch.setattr("geocorrect.catalog.curation.move._same", lambda old, new: old != 48.0)
            with pytest.raises(DatabaseError, match=r"copy of frame, row 1, column height_m: 48.0 became 48.0"):
                copy_catalog(source, target)
            monkeypatch.undo()
            assert target.sizes() == (0, 0)
        assert run(["db", "copy", server, "--catalog", str(start), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows"]["correction"] == 5
        assert run(["db", "copy", server, "--catalog", str(start)]) == ExitCode.DATABASE
        assert "already; copy into a new catalog" in " ".join(capsys.readouterr().err.split())
