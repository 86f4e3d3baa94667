"""The GeoPackage side: a plain SQLite file that GIS software opens, without any spatial extension.

Written by the GeoPackage 1.3 standard: bootstrap tables, registered layers, R-trees maintained by triggers. These call
ST_MinX, ST_MaxX, ST_MinY, ST_MaxY and ST_IsEmpty, which are registered here on every connection (GDAL and QGIS bring
their own; the plain `sqlite3` shell can read, and change tables without geometry).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.rows.geometry_type import WGS84_SRID, blob_bound, blob_is_empty
from geocorrect.errors import DatabaseError

APPLICATION_ID = 0x47504B47  # "GPKG"
USER_VERSION = 10300
BUSY_TIMEOUT_MS = 30_000
IMMUTABLE = "immutable=1"
"""SQLite's way to open a file that does not change and beside which nothing can be written."""

_FOLDER = Path(__file__).resolve().parent
_BOX = "ST_MinX(NEW.geom), ST_MaxX(NEW.geom), ST_MinY(NEW.geom), ST_MaxY(NEW.geom)"


def geopackage_engine(path: Path) -> Engine:
    """An engine on the file (made when absent); WAL, so that readers never wait for the writer."""
    timeout_s = BUSY_TIMEOUT_MS / 1000
    # Not as text, in which a ? would end the name of the file.
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": timeout_s})
    if path.exists() and path.stat().st_size and _mode_to_read(path) == IMMUTABLE:
        # Without the right to write beside the file it cannot be shared with a writer: it is read as it is.
        uri = f"{path.absolute().as_uri()}?{IMMUTABLE}"
        engine = create_engine(
            url,
            creator=lambda: sqlite3.connect(uri, uri=True, timeout=timeout_s, check_same_thread=False),
        )
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def bootstrap(connection: Connection) -> None:
    """Turn an empty SQLite database into an empty GeoPackage."""
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {USER_VERSION}")
    for statement in _statements("bootstrap.sql"):
        run_sql(connection, statement)


@dataclass(frozen=True)
class SpatialColumn:
    """The column `geom` of a layer in EPSG:4326: "POINT", "LINESTRING" or "POLYGON", with or without heights."""

    kind: str
    has_z: bool = False


def register_table(connection: Connection, name: str, spatial: SpatialColumn | None, description: str = "") -> None:
    """Enter a table into the GeoPackage's contents; a spatial one gets its R-tree."""
    register_layer(connection, name, spatial, description)
    if spatial:
        _make_rtree(connection, name)


def register_layer(connection: Connection, name: str, spatial: SpatialColumn | None, description: str = "") -> None:
    """Enter a table or view into the contents.

    Bounds stay NULL: readers then compute them; GDAL would enter the whole world for a view.
    """
    contents = (
        "INSERT OR REPLACE INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) "
        "VALUES (?, ?, ?, ?, ?)"
    )
    kind, srs = ("features", WGS84_SRID) if spatial else ("attributes", None)
    connection.exec_driver_sql(contents, (name, kind, name, description, srs))
    if spatial:
        connection.exec_driver_sql(
            "INSERT OR REPLACE INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, ?, 0)",
            (name, spatial.kind, WGS84_SRID, int(spatial.has_z)),
        )


def unregister_layer(connection: Connection, name: str) -> None:
    """Take a view out of the contents."""
    connection.exec_driver_sql("DELETE FROM gpkg_geometry_columns WHERE table_name = ?", (name,))
    connection.exec_driver_sql("DELETE FROM gpkg_contents WHERE table_name = ?", (name,))


def rtree_statements(table: str) -> list[str]:
    """What makes the spatial index of a table and its triggers; the first statement is the index."""
    return [statement.format(t=table, box=_BOX) for statement in _statements("rtree.sql")]


def _make_rtree(connection: Connection, table: str) -> None:
    for statement in rtree_statements(table):
        run_sql(connection, statement)
    connection.exec_driver_sql(
        "INSERT OR REPLACE INTO gpkg_extensions VALUES (?, 'geom', 'gpkg_rtree_index', "
        "'http://www.geopackage.org/spec120/#extension_rtree', 'write-only')",
        (table,),
    )


def broken_rtrees(connection: Connection) -> dict[str, list[str]]:
    """By table: parts of its spatial index (the index, its triggers) that are missing or not what they should be."""
    query = "SELECT name, sql FROM sqlite_master WHERE name LIKE 'rtree!_%' ESCAPE '!'"
    present = {name: sql for name, sql in connection.exec_driver_sql(query)}
    broken: dict[str, list[str]] = {}
    for table in _indexed_tables(connection):
        wrong = []
        for statement in rtree_statements(table):
            name = statement.split('"')[1]
            if present.get(name) != statement:
                wrong.append(name)
        if wrong:
            broken[table] = wrong
    return broken


def repair_rtrees(connection: Connection) -> None:
    """Make broken spatial indices and triggers anew; the tables themselves are left alone."""
    for table, wrong in broken_rtrees(connection).items():
        index, *triggers = rtree_statements(table)
        if f"rtree_{table}_geom" in wrong:
            run_sql(connection, f'DROP TABLE IF EXISTS "rtree_{table}_geom"')
            run_sql(connection, index)
        for statement in triggers:
            name = statement.split('"')[1]
            run_sql(connection, f'DROP TRIGGER IF EXISTS "{name}"')
            run_sql(connection, statement)
        # What was stored without a trigger is not in the index.
        run_sql(connection, f'DELETE FROM "rtree_{table}_geom"')
        box = _BOX.replace("NEW.", "")
        known = "geom NOT NULL AND NOT ST_IsEmpty(geom)"
        run_sql(connection, f'INSERT INTO "rtree_{table}_geom" SELECT fid, {box} FROM "{table}" WHERE {known}')


def _indexed_tables(connection: Connection) -> list[str]:
    query = "SELECT table_name FROM gpkg_extensions WHERE extension_name = 'gpkg_rtree_index' ORDER BY table_name"
    return list(connection.exec_driver_sql(query).scalars())


def _statements(file_name: str) -> list[str]:
    script = (_FOLDER / file_name).read_text(encoding="utf-8")
    return script.split("\n\n", 1)[1].strip().split(";\n\n")


def check_file(connection: Connection) -> list[str]:
    """Faults of the file: SQLite's own check, dangling references, R-trees that differ from their table."""
    faults = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check") if row[0] != "ok"]
    faults += [
        f"{r[0]}: row {r[1]} points to a missing {r[2]}" for r in connection.exec_driver_sql("PRAGMA foreign_key_check")
    ]
    broken = broken_rtrees(connection)
    faults += [
        f"spatial index of {table}: {name} is missing or changed; run `geocorrect db upgrade`"
        for table, names in broken.items()
        for name in names
    ]
    for table in _indexed_tables(connection):
        if f"rtree_{table}_geom" in broken.get(table, ()):
            continue
        verdict = connection.exec_driver_sql(f"SELECT rtreecheck('rtree_{table}_geom')").scalar_one()
        indexed = connection.exec_driver_sql(f'SELECT count(*) FROM "rtree_{table}_geom"').scalar_one()
        present = connection.exec_driver_sql(f'SELECT count(*) FROM "{table}" WHERE geom IS NOT NULL').scalar_one()
        if verdict != "ok":
            faults.append(f"spatial index of {table}: {verdict}")
        if indexed != present:
            faults.append(f"spatial index of {table}: {indexed} entries for {present} geometries")
    return faults


def _prepare_connection(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own transaction handling would commit before DDL; SQLAlchemy's begin event does it instead.
    connection.isolation_level = None
    for name in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
        connection.create_function(name, 1, blob_bound(name), deterministic=True)
    connection.create_function("ST_IsEmpty", 1, blob_is_empty, deterministic=True)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise


def _begin(connection: Connection) -> None:
    # A writer takes its lock at once: a read transaction that turns into a write one cannot wait and fails.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def refuse_foreign_file(path: Path, version_table: str) -> None:
    """Raise DatabaseError when an existing file that is not empty is no GeoPackage with this table."""
    if path.is_dir():
        raise DatabaseError(f"{path} is a folder, not a catalog; name a .gpkg file in it")
    if path.stat().st_size == 0:
        return
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror}; check that you may read the file") from None
    if head != b"SQLite format 3\0":
        raise DatabaseError(f"{path} exists but is not a GeoPackage; name another file or remove it")
    tables = _table_names(path, _mode_to_read(path))
    # A database without any table is what a kill leaves of a catalog that was just being made.
    if tables and version_table not in tables:
        raise DatabaseError(
            f"{path} is not a geocorrect catalog; name another file, `geocorrect init` makes a catalog there"
        )


def _mode_to_read(path: Path) -> str:
    """How SQLite can open the file here; DatabaseError with the remedy when it cannot.

    Read-only and before anything else: a foreign file must not even change its journal mode.
    """
    try:
        return _tried(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if not any(word in str(error) for word in ("readonly", "unable to open")):
            raise DatabaseError(f"{path}: {error}; {_remedy(error)}") from None
    try:
        # A kill in the middle of a write left a journal, which only a connection that may write can undo.
        return _tried(path, "mode=rw")
    except sqlite3.OperationalError:
        pass
    left = [p for p in (Path(f"{path}-wal"), Path(f"{path}-journal")) if p.exists() and p.stat().st_size]
    if left:
        raise DatabaseError(
            f"{path}: its latest changes are in {left[0].name}, and you may not write in {path.parent}; copy both "
            "files to a folder of your own and open the copy, or let a user who may write there open it once"
        )
    try:
        return _tried(path, IMMUTABLE)
    except sqlite3.OperationalError as error:
        raise DatabaseError(f"{path}: {error}; check that you may read the file") from None


def _tried(path: Path, mode: str) -> str:
    _table_names(path, mode)
    return mode


def _table_names(path: Path, mode: str) -> set[str]:
    uri = f"{path.absolute().as_uri()}?{mode}"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
            return {name for (name,) in connection.execute("select name from sqlite_master")}
    except sqlite3.OperationalError:
        raise
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: {error}; {_remedy(error)}") from None


def _remedy(error: sqlite3.Error) -> str:
    """A full disk says nothing about the file on it."""
    if any(word in str(error).lower() for word in ("full", "disk i/o error")):
        return "make room on its disk and run again; nothing says that the catalog is damaged"
    return "restore it from a copy"


def settle(connection: Connection) -> None:
    """Move the write-ahead log into the file: GDAL recognises a GeoPackage by the first bytes of the file."""
    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, sqlite3.Connection)
    driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # not possible inside a transaction
