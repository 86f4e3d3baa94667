"""Migrations: from nothing, again, from a checkout and from an installed wheel; the frozen SQL is the model."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, inspect, text
from support import catalog_world as world
from support.old_catalog import make_old

from geocorrect.catalog import Catalog, migrate
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.migrate import comment_statements, table_statements
from geocorrect.catalog.rows.column_types import Json
from geocorrect.catalog.schema import POSTGRES_SCHEMA, REVISION, TABLES
from geocorrect.catalog.sequences import SequenceStore
from geocorrect.errors import DatabaseError

ROOT = Path(__file__).parents[2]
FIRST = {
    "postgresql": "8c60372d339e4731fb2e8db8b462f9e628e46b00ef68ede4ead8799e4a50b82a",
    "sqlite": "959544123a16a774705a9e1926d96fbbcd856c516761cfd08a2ff55483e4966b",
}

JSON_OF_ALL_KINDS = [(table.name, column.name) for table in TABLES for column in table.columns
                     if isinstance(column.type, Json) and table.name != "correction"]  # fmt: skip


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_the_first_schema_is_frozen(dialect: str) -> None:
    """A released migration never changes; `FIRST` is what it was."""
    frozen = (ROOT / "migrations" / "sql" / f"0001_initial.{dialect}.sql").read_bytes()
    assert hashlib.sha256(frozen).hexdigest() == FIRST[dialect]


def test_a_migrated_catalog_has_the_columns_of_the_model(catalog: Catalog) -> None:
    assert_like_the_model(catalog)


def assert_like_the_model(catalog: Catalog) -> None:
    """Names, order, types, keys, indices and explanations, compared with tables made from the model."""
    dialect = catalog.engine.dialect.name
    with catalog.engine.connect() as connection:
        migrated = structure(connection)
        connection.rollback()
        if dialect == "sqlite":
            fresh = create_engine("sqlite://").connect()
        else:
            fresh = connection
            fresh.exec_driver_sql("create schema model")
            fresh.exec_driver_sql("set local search_path to model, public")
        with fresh:
            for statement in table_statements(dialect) + (comment_statements() if dialect == "postgresql" else []):
                run_sql(fresh, statement)
            assert structure(fresh, "model") == migrated


def structure(connection: Connection, schema_name: str = POSTGRES_SCHEMA) -> dict[str, object]:
    """What there is to a catalog's tables, as plain values."""
    on_server = connection.dialect.name == "postgresql"
    found = inspect(connection)
    where = {"schema": schema_name} if on_server else {}
    facts: dict[str, object] = {}
    for table in TABLES:
        name = table.name
        facts[name] = (
            [(c["name"], str(c["type"]), c["nullable"], c.get("comment")) for c in columns(connection, name, where)],
            found.get_pk_constraint(name, **where)["constrained_columns"],
            sorted((f["name"] or "", f["referred_table"]) for f in found.get_foreign_keys(name, **where)),
            sorted(str(u["name"]) for u in found.get_unique_constraints(name, **where)),
            sorted(str(c["name"]) for c in found.get_check_constraints(name, **where)),
            sorted(f"{index['name']} {parts(index)} {index['unique']}" for index in found.get_indexes(name, **where)),
            found.get_table_comment(name, **where) if on_server else None,
        )
    return facts


def parts(index: Any) -> list[str | None]:
    """The columns or expressions that an index is on."""
    return index.get("expressions") or index["column_names"]


def columns(connection: Connection, table: str, where: dict[str, str]) -> list[dict[str, object]]:
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text('select name, type, "notnull" from pragma_table_info(:t)'), {"t": table})
        return [{"name": name, "type": kind, "nullable": not strict} for name, kind, strict in rows]
    query = text(
        "select attname, format_type(atttypid, atttypmod) || coalesce(' ' || collname, ''), attnotnull, "
        "col_description(attrelid, attnum) from pg_attribute left join pg_collation c on c.oid = attcollation "
        "where attrelid = to_regclass(:t) and attnum > 0 and not attisdropped order by attnum"
    )
    rows = connection.execute(query, {"t": f"{where['schema']}.{table}"})
    return [{"name": n, "type": kind, "nullable": not strict, "comment": c} for n, kind, strict, c in rows]


@pytest.mark.long
@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_an_older_catalog_is_brought_up_to_date_and_loses_nothing(
    catalog: Catalog, catalog_url: str, revision: str
) -> None:
    world.fill(catalog, 5)
    SequenceStore(catalog).record("run-a", world.finding())
    before = [stored.result for stored in catalog.results()]
    shapes = drawn(catalog)
    hashes = catalog.anchor_index().content_hashes
    inputs = catalog.image_positions("any").input_hash
    catalog.close()
    make_old(catalog_url, revision)
    with pytest.raises(
        DatabaseError, match=rf"has schema {revision}, this geocorrect needs {REVISION}; run `geocorrect db upgrade`"
    ):
        Catalog.open(catalog_url)
    places = spatial_storage(catalog_url)
    with Catalog.open(catalog_url, create=True) as again:
        assert repr([stored.result for stored in again.results()]) == repr(before)
        assert drawn(again) == shapes
        assert again.anchor_index().content_hashes == hashes
        assert again.upsert_anchors(world.anchor(i) for i in range(6)) == 0
        assert faults_of(again.engine) == []
        if revision == "0001":
            # It is unknown which anchors those results depend on: they are due once.
            assert again.image_positions("any").input_hash == (None,) * 5
            assert [run.config_key for run in again.runs()] == [None]
        else:
            assert again.image_positions("any").input_hash == inputs
        again.begin_run(world.manifest("run-b"))
        again.record("run-b", world.results(5))
        assert len(list(again.results())) == 5
        assert_like_the_model(again)
    # No spatial table was rebuilt: each begins at the same page of the file, with the same triggers.
    assert spatial_storage(catalog_url) == places


def test_addresses_are_removed_from_stored_runs(catalog: Catalog, catalog_url: str) -> None:
    """With the bytes that SQLite would leave in the file."""
    config = {"catalog": {"url": "postgresql://me:Pl4nted@host/db"}, "pnp": {"seed": 3}}
    for name in ("run-a", "run-b"):
        catalog.begin_run(replace(world.manifest(name), config=config if name == "run-a" else {"pnp": {"seed": 4}}))
    catalog.close()
    make_old(catalog_url, "0004")
    file = None if "://" in catalog_url else Path(catalog_url)
    assert file is None or any(b"Pl4nted" in path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    with Catalog.open(catalog_url, create=True) as again:
        assert [run.config for run in again.runs()] == [{"pnp": {"seed": 3}}, {"pnp": {"seed": 4}}]
    left = (
        [] if file is None else [path for path in file.parent.glob(f"{file.name}*") if b"Pl4nted" in path.read_bytes()]
    )
    assert left == []


def test_json_that_was_encoded_twice_becomes_what_it_holds(catalog: Catalog, catalog_url: str) -> None:
    """As earlier releases left it on a server; a GeoPackage has one text and stays as it is."""
    world.fill(catalog, 2)
    anchors, images = catalog.anchors(["anchor-1"]), catalog.images(["1001"])
    with catalog.engine.connect() as connection, connection.begin():
        on_server = connection.dialect.name == "postgresql"
        for table, column in JSON_OF_ALL_KINDS if on_server else ():
            run_sql(connection, f'UPDATE "{table}" SET {column} = to_jsonb({column}::text)')
    catalog.close()
    make_old(catalog_url, "0005")
    with Catalog.open(catalog_url, create=True) as again:
        assert again.anchors(["anchor-1"]) == anchors
        assert again.images(["1001"]) == images
        with again.engine.connect() as connection:
            for table, column in JSON_OF_ALL_KINDS:
                kind = f"jsonb_typeof({column})" if on_server else f"json_type({column})"
                kinds = set(connection.execute(text(f'SELECT {kind} FROM "{table}"')).scalars()) - {None}
                assert kinds <= {"object"}, (table, column, kinds)
            assert connection.execute(text("SELECT config -> 'pnp' ->> 'seed' FROM run")).scalar() in (0, "0")


def drawn(catalog: Catalog) -> list[list[tuple[object, ...]]]:
    """What the views that show shapes have for their users."""
    on_server = catalog.engine.dialect.name == "postgresql"
    geom = "round(ST_XMin(geom)::numeric, 9), round(ST_YMax(geom)::numeric, 9)" if on_server else "geom"
    with catalog.engine.connect() as connection:
        return [
            [tuple(row) for row in connection.execute(text(f"select image_id, {geom} from {view} order by fid"))]
            for view in ("displacement", "error_ellipse", "coverage")
        ]


def spatial_storage(url: str) -> list[tuple[object, ...]]:
    """Where a GeoPackage keeps its spatial tables and what their triggers are; nothing of a server."""
    if "://" in url:
        return []
    query = (
        "select type, name, rootpage, sql from sqlite_master where "
        "(type = 'table' and tbl_name in (select table_name from gpkg_geometry_columns)) "
        "or type = 'trigger' order by name"
    )
    with closing(sqlite3.connect(url)) as plain:
        found = plain.execute(query).fetchall()
    # ALTER TABLE ADD COLUMN writes into the text of a table and moves nothing.
    return [(kind, name, page, text if kind == "trigger" else None) for kind, name, page, text in found]


def test_upgrading_again_changes_nothing_and_loses_nothing(catalog: Catalog, catalog_url: str) -> None:
    world.fill(catalog, 3)
    before = schema_text(catalog)
    catalog.close()
    with Catalog.open(catalog_url, create=True) as again:
        assert schema_text(again) == before
        assert again.counts() == {"accepted": 3}
        assert faults_of(again.engine) == []
    assert migrate.revision_at(catalog_url) == REVISION


def test_a_catalog_that_lacks_a_reason_says_so_before_a_run_needs_it(catalog: Catalog, catalog_url: str) -> None:
    """The list of reasons grows without a change of tables."""
    with catalog.engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(text("delete from reason where reason = 'internal_error'"))
    catalog.close()
    with pytest.raises(DatabaseError, match="the reason internal_error yet; run `geocorrect db upgrade`"):
        Catalog.open(catalog_url)
    with Catalog.open(catalog_url, create=True) as again:
        assert faults_of(again.engine) == []
    Catalog.open(catalog_url).close()


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
    with catalog.engine.begin() as connection:
        connection.execute(text("update geocorrect_version set made_from = 'older views'"))
    before = schema_text(catalog)
    catalog.close()

    def breaks(_connection: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(migrate, "write_styles", breaks)
    with pytest.raises(RuntimeError):
        Catalog.open(catalog_url, create=True)
    monkeypatch.undo()
    with Catalog.open(catalog_url) as again:
        assert migrate.upgrade_is_due(again.engine)
        assert schema_text(again) == before
        assert again.counts() == {"accepted": 3}


@pytest.mark.postgis
def test_an_upgrade_names_the_views_of_others_that_rest_on_ours(postgis_url: str) -> None:
    """PostgreSQL would not drop ours, and nobody but their owner may drop theirs."""
    with Catalog.open(postgis_url, create=True) as catalog, catalog.engine.begin() as connection:
        connection.execute(text("create view public.worst as select * from geocorrect.displacement"))
        connection.execute(text("create materialized view public.kept as select image_id from public.worst"))
        connection.execute(text("update geocorrect.geocorrect_version set made_from = 'older views'"))
    expected = r"others depend .*: public.worst; save their text \(select pg_get_viewdef\('public.worst'\)\), drop them"
    with pytest.raises(DatabaseError, match=expected):
        Catalog.open(postgis_url, create=True)
    with create_engine(postgis_url.replace("postgresql:", "postgresql+psycopg:")).begin() as connection:
        assert connection.execute(text("select count(*) from public.kept")).scalar_one() == 0
        connection.execute(text("drop view public.worst cascade"))
    with Catalog.open(postgis_url, create=True) as again:
        assert faults_of(again.engine) == []


def test_every_table_and_column_is_explained() -> None:
    for table in TABLES:
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
        assert connection.execute(query).scalar_one() == 18


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


@pytest.mark.parametrize(
    "harm",
    [
        "drop trigger rtree_image_geom_insert",
        "drop table rtree_image_geom",
        "drop trigger rtree_image_geom_delete; create trigger rtree_image_geom_delete after delete on image "
        "begin select 1; end",
    ],
)
def test_an_upgrade_repairs_a_spatial_index(tmp_path: Path, harm: str) -> None:
    """Whoever opened the file with other software may have taken its triggers away."""
    path = tmp_path / "a.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        world.fill(catalog, 3)
        whole = spatial_storage(str(path))
    with closing(sqlite3.connect(path)) as plain:
        plain.executescript(harm)
    if "create trigger" in harm:
        with pytest.raises(DatabaseError, match=r"rtree_image_geom_delete' is changed; run `geocorrect db upgrade`"):
            Catalog.open(str(path))
    else:
        with Catalog.open(str(path)) as catalog:
            if "drop table" not in harm:
                catalog.upsert_images([world.image(8)])
            (fault, *_) = faults_of(catalog.engine)
            assert "spatial index of image: rtree_image_geom" in fault
            assert "run `geocorrect db upgrade`" in fault
    with Catalog.open(str(path), create=True) as catalog:
        assert faults_of(catalog.engine) == []
        catalog.upsert_images([world.image(9)])
        assert faults_of(catalog.engine) == []
    assert [row[1] for row in spatial_storage(str(path))] == [row[1] for row in whole]


@pytest.mark.postgis
def test_check_names_a_missing_index(postgis_url: str) -> None:
    with Catalog.open(postgis_url, create=True) as catalog:
        assert faults_of(catalog.engine) == []
        with catalog.engine.begin() as connection:
            connection.exec_driver_sql("drop index ix_correction_geom, ix_correction_run_id_status")
        faults = faults_of(catalog.engine)
        assert [fault.split(";")[0] for fault in faults] == [
            "index ix_correction_run_id_status is missing",
            "index ix_correction_geom is missing",
        ]
        with catalog.engine.begin() as connection:
            for fault in faults:
                connection.exec_driver_sql(fault.split("`")[1])
        assert faults_of(catalog.engine) == []


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
