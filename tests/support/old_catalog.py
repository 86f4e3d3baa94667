"""Catalogs of earlier releases, with contents: made by the frozen migrations, filled from a catalog of today."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from geocorrect.catalog import migrate
from geocorrect.catalog.connect import engine_for
from geocorrect.catalog.literal_sql import driver_cursor, run_sql
from geocorrect.catalog.schema import POSTGRES_SCHEMA, metadata


def make_old(url: str, revision: str) -> None:
    """Take a catalog back to an earlier schema, made by its frozen migrations, with all its rows that had a place."""
    if "://" in url:
        _make_old_schema(url, revision)
    else:
        _make_old_file(Path(url), revision)


def _make_old_schema(url: str, revision: str) -> None:
    newer = f"{POSTGRES_SCHEMA}_newer"
    with _engine(url) as engine, engine.connect() as connection, connection.begin():
        run_sql(connection, f"ALTER SCHEMA {POSTGRES_SCHEMA} RENAME TO {newer}")
        run_sql(connection, f"CREATE SCHEMA {POSTGRES_SCHEMA}")
        _make_tables(connection, revision)
        there, here = (_columns(connection, schema) for schema in (newer, POSTGRES_SCHEMA))
        for table in _in_order(here):
            columns = ", ".join(column for column in here[table] if column in there.get(table, ()))
            run_sql(connection, f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {newer}.{table} ORDER BY fid")
            if table != "correction_shape":
                last = f"(SELECT max(fid) FROM {table})"
                run_sql(connection, f"SELECT setval(pg_get_serial_sequence('{table}', 'fid'), {last})")
        run_sql(connection, f"DROP SCHEMA {newer} CASCADE")


def _make_old_file(path: Path, revision: str) -> None:
    newer = path.with_name("newer.gpkg")
    path.replace(newer)
    with _engine(str(path)) as engine, engine.connect() as plain:
        connection = plain.execution_options(writes=True)
        with connection.begin():
            _make_tables(connection, revision)
            with closing(sqlite3.connect(newer)) as source:
                here = _columns(connection, None)
                for table in _in_order(here):
                    known = [row[1] for row in source.execute(f"pragma table_info({table})")]
                    columns = [column for column in here[table] if column in known]
                    rows = source.execute(f"select {', '.join(columns)} from {table} order by fid").fetchall()
                    marks = ", ".join("?" for _ in columns)
                    insertion = f"insert into {table} ({', '.join(columns)}) values ({marks})"
                    with driver_cursor(connection) as cursor:
                        cursor.executemany(insertion, rows)
    newer.unlink()


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    engine = engine_for(url, create=True)
    try:
        yield engine
    finally:
        engine.dispose()


def _make_tables(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.migrations_folder()))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _columns(connection: Connection, schema: str | None) -> dict[str, list[str]]:
    if schema is None:
        query = "select m.name, c.name from sqlite_master m, pragma_table_info(m.name) c where m.type = 'table'"
    else:
        query = (
            "select table_name, column_name from information_schema.columns "
            f"where table_schema = '{schema}' order by ordinal_position"
        )
    found: dict[str, list[str]] = {}
    for table, column in connection.execute(text(query)):
        if table in metadata.tables or f"{POSTGRES_SCHEMA}.{table}" in metadata.tables:
            found.setdefault(table, []).append(column)
    return found


def _in_order(tables: dict[str, list[str]]) -> list[str]:
    """What others refer to comes first."""
    return [table.name for table in metadata.sorted_tables if table.name in tables]
