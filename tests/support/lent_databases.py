"""Databases with an empty catalog, lent to one test after the other: to copy one costs more than most tests do."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from support.postgis_fixture import execute, with_database

OTHERS = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> %s"
TABLES = "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname = any(%s)"
SCHEMAS = ["geocorrect", "public"]
DEFINITIONS = (
    "pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_db_role_setting", "pg_default_acl", "pg_extension",
    "pg_policy", "pg_proc", "pg_rewrite", "pg_trigger", "pg_type",
)  # fmt: skip
"""Whatever is created, altered, granted or dropped changes a row of these."""


class CatalogDatabases:
    """Copies of a template. One is lent again, emptied, if a test changed nothing but rows of what was empty before."""

    def __init__(self, server: str, template: str) -> None:
        self._server, self._template = server, template
        self._free: list[tuple[str, object]] = []

    @contextmanager
    def lent(self) -> Iterator[str]:
        """Address of a database of one's own."""
        name, before = self._free.pop() if self._free else self._copied()
        try:
            yield with_database(self._server, name)
        finally:
            self._take_back(name, before)

    def _take_back(self, name: str, before: object) -> None:
        try:
            with psycopg.connect(with_database(self._server, name), autocommit=True) as connection:
                connection.execute(OTHERS, [connection.info.backend_pid])
                as_before = _definitions(connection) == before and self._emptied(connection)
                after = _definitions(connection)
        except psycopg.Error:
            as_before, after = False, None  # the test took it away, or its server
        if as_before:
            self._free.append((name, after))
        else:
            execute(self._server, f"drop database if exists {name} with (force)")

    def close(self) -> None:
        for name, _ in self._free:
            execute(self._server, f"drop database if exists {name} with (force)")

    def _copied(self) -> tuple[str, object]:
        name = f"geocorrect_test_{uuid.uuid4().hex[:12]}"
        execute(self._server, f"create database {name} template {self._template}")
        with psycopg.connect(with_database(self._server, name), autocommit=True) as connection:
            self._contents = _contents(connection)
            return name, _definitions(connection)

    def _emptied(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether all rows are those of the template, after those of tables that are empty there were removed."""
        connection.execute("set lock_timeout = '5s'")
        empty = [table for table, rows in self._contents.items() if rows is None]
        connection.execute(f"truncate {', '.join(empty)} restart identity")
        return _contents(connection) == self._contents


def _definitions(connection: psycopg.Connection[Any]) -> list[Any]:
    """Count and newest transaction of the rows of every kind of definition; sequences' states are no definitions."""
    counts = ", ".join(f"(select row(count(*), max(xmin::text::bigint))::text from {name})" for name in DEFINITIONS)
    row = connection.execute(f"select {counts}").fetchone()
    return list(row or ())


def _contents(connection: psycopg.Connection[Any]) -> dict[str, str | None]:
    """A hash of the rows of every table, None where it has none."""
    tables = [row[0] for row in connection.execute(TABLES, [SCHEMAS])]
    query = " union all ".join(
        f"select '{table}', (select md5(string_agg(t::text, '|' order by t::text)) from {table} t)" for table in tables
    )
    return dict(connection.execute(query).fetchall())
