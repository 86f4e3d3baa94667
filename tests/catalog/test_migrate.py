"""Migrations: from nothing, again, from a checkout and from an installed wheel; the frozen SQL is the model."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import catalog_world as world
import pytest
from sqlalchemy import text

from geocorrect.catalog import Catalog, migrate
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.ddl import table_statements
from geocorrect.catalog.schema import REVISION, tables_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_the_frozen_sql_is_the_present_model(dialect: str) -> None:
    # Once revision 0002 exists, this compares the model with a migrated database instead.
    assert REVISION == "0001"
    frozen = (ROOT / "migrations" / "sql" / f"0001_initial.{dialect}.sql").read_text()
    assert frozen == ";\n\n".join(table_statements(dialect)) + ";\n"


def test_upgrading_again_changes_nothing_and_loses_nothing(catalog: Catalog, catalog_url: str) -> None:
    world.fill(catalog, 3)
    before = schema_text(catalog)
    catalog.close()
    with Catalog.open(catalog_url, create=True) as again:
        assert schema_text(again) == before
        assert again.counts() == {"accepted": 3}
        assert faults_of(again.engine) == []
    assert migrate.revision_at(catalog_url) == REVISION


def schema_text(catalog: Catalog) -> list[tuple[object, ...]]:
    if catalog.engine.dialect.name == "sqlite":
        query = "select type, name, sql from sqlite_master order by 1, 2"
    else:
        query = "select table_name, column_name, data_type from information_schema.columns order by 1, 2, 3"
    with catalog.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_failed_upgrade_leaves_the_catalog_as_it_was(
    catalog: Catalog, catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(catalog, 3)
    before = schema_text(catalog)
    catalog.close()

    def breaks(_connection: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(migrate, "write_styles", breaks)
    with pytest.raises(RuntimeError):
        Catalog.open(catalog_url, create=True)
    monkeypatch.undo()
    with Catalog.open(catalog_url) as again:
        assert schema_text(again) == before
        assert again.counts() == {"accepted": 3}


def test_every_table_and_column_is_explained() -> None:
    for dialect in ("postgresql", "sqlite"):
        for table in tables_of(dialect):
            assert table.comment, table.name
            assert all(column.comment for column in table.columns), table.name


@pytest.mark.postgis
def test_the_server_knows_the_explanations(postgis_url: str) -> None:
    with Catalog.open(postgis_url, create=True) as catalog, catalog.engine.connect() as connection:
        query = text(
            "select c.relname, a.attname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 where n.nspname = 'geocorrect' "
            "and c.relkind = 'r' and c.relname <> 'geocorrect_version' and col_description(c.oid, a.attnum) is null"
        )
        assert connection.execute(query).all() == []
        query = text("select count(*) from geometry_columns where f_table_schema = 'geocorrect' and srid = 4326")
        assert connection.execute(query).scalar_one() == 12


def test_check_finds_what_is_broken(tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path / "a.gpkg"), create=True) as catalog:
        world.fill(catalog, 3)
        assert faults_of(catalog.engine) == []
        with catalog.engine.begin() as connection:
            connection.exec_driver_sql("delete from rtree_image_geom where id = 1")
            connection.exec_driver_sql("pragma foreign_keys = off")
        assert faults_of(catalog.engine) == ["spatial index of image: 2 entries for 3 geometries"]
        with catalog.engine.begin() as connection:
            connection.exec_driver_sql("drop view coverage")
        assert faults_of(catalog.engine) == ["view coverage is missing; run `geocorrect db upgrade`"]


@pytest.mark.slow
def test_an_installed_wheel_finds_its_migrations(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import geocorrect; "
        "from geocorrect.catalog import Catalog, migrate; "
        "assert geocorrect.__file__.startswith(sys.argv[1]); print(migrate.migrations_folder()); "
        "Catalog.open(sys.argv[2], create=True).close()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path / "site"), str(tmp_path / "w.gpkg")],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert Path(done.stdout.strip()) == tmp_path / "site" / "geocorrect" / "migrations"
