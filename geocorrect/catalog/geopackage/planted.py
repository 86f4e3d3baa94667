"""What a stranger may have planted in a GeoPackage: triggers, views in place of tables, and expressions in our tables.

They are looked for on every new connection, before its first statement that could run them. Triggers and views of
others that ours never touch are none of our business.
"""

from __future__ import annotations

import re
import sqlite3
import time
from functools import cache

from sqlalchemy import CheckConstraint

from geocorrect.catalog.geopackage.database import rtree_statements
from geocorrect.catalog.rows.geometry_type import Geometry
from geocorrect.catalog.schema import TABLES, VERSION_TABLE
from geocorrect.errors import DatabaseError

LOOK_S = 10.0
"""A schema is read in milliseconds; one that takes longer is an attack on the reader."""
_STEPS = 10_000
_ADVICE = "it would run when geocorrect works on the file; get the catalog from its owner again, or drop it with care"
_ALSO_WRITTEN = ("gpkg_contents", "gpkg_geometry_columns", "gpkg_extensions", "gpkg_spatial_ref_sys", "layer_styles")
"""Not the other tables of the standard: GDAL makes triggers there, for example when QGIS saves metadata."""
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|$)|\s+|('(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^]]*\]|\w+|.)""", re.DOTALL
)
_QUOTES = "'\"`["
_COMPUTES = re.compile(r" (check|as|where|collate|default \() ")


@cache
def _tables() -> frozenset[str]:
    return frozenset({table.name for table in TABLES} | {VERSION_TABLE, *_ALSO_WRITTEN})


@cache
def _made_by_us() -> frozenset[str]:
    return _tables() - {*_ALSO_WRITTEN}


@cache
def expected_triggers() -> dict[str, str]:
    """Our triggers by name: those that keep the spatial indices."""
    spatial = [table.name for table in TABLES if "geom" in table.c and isinstance(table.c.geom.type, Geometry)]
    return {sql.split('"')[1]: sql for table in spatial for sql in rtree_statements(table)[1:]}


def _words(sql: str) -> str:
    """The words and signs of a statement between single blanks, without comments; what is quoted is one word.

    SQL's own words are in small letters, quoted ones in capitals, so that none passes for the other.
    """
    found = (match[1] for match in _TOKEN.finditer(sql) if match[1])
    return f" {' '.join(word.upper() if word[0] in _QUOTES else word.lower() for word in found)} "


@cache
def _own_checks() -> tuple[str, ...]:
    checks = [check for table in TABLES for check in table.constraints if isinstance(check, CheckConstraint)]
    return tuple(_words(f"check ({check.sqltext})") for check in checks)


def _computes(kind: str, sql: str) -> bool:
    """Whether a definition of a table or an index holds an expression that is not ours: a check, a computed column."""
    words = _words(sql)
    for own in _own_checks():
        words = words.replace(own, " ")
    # Our indices list columns only; the bracket of a call is the second one.
    return bool(_COMPUTES.search(words)) or (kind == "index" and words.count(" ( ") > 1)


def refuse_planted(connection: sqlite3.Connection, file: str, *, repairs: bool) -> None:
    """DatabaseError naming the first trigger, view or expression that is not ours and that our work would run.

    Args:
        connection: no statement has run on it.
        file: named in the message.
        repairs: a changed trigger of ours is let through, because an upgrade makes it anew before anything else.
    """
    end_s = time.monotonic() + LOOK_S
    connection.set_progress_handler(lambda: time.monotonic() > end_s, _STEPS)
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC"
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        _harden(connection)
        found = connection.execute(query).fetchall()
    except sqlite3.Error as error:
        raise DatabaseError(f"{file}: its schema cannot be read ({error})") from None
    for kind, name, table, sql in found:
        if kind == "view" and _is_own_table(name):
            raise DatabaseError(f"{file}: {name!r} is a view where a table belongs; {_ADVICE}")
        if kind == "trigger" and _is_own_table(table):
            _refuse_trigger(file, name, table, sql, repairs=repairs)
        if kind in ("table", "index") and table.lower() in _made_by_us() and _computes(kind, sql):
            raise DatabaseError(f"{file}: the {kind} {name!r} holds an expression that is not geocorrect's; {_ADVICE}")
    connection.set_progress_handler(None, 0)
    # From here on only our triggers run; they call our functions, which the driver cannot mark as harmless.
    connection.execute("PRAGMA trusted_schema = ON")


def _refuse_trigger(file: str, name: str, table: str, sql: str, *, repairs: bool) -> None:
    wanted = expected_triggers().get(name)
    if wanted is None:
        raise DatabaseError(f"{file}: the trigger {name!r} on {table!r} is not geocorrect's; {_ADVICE}")
    if sql != wanted and not repairs:
        raise DatabaseError(f"{file}: the trigger {name!r} is changed; run `geocorrect db upgrade`")


def _harden(connection: sqlite3.Connection) -> None:
    """SQLite's defensive mode: SQL cannot damage the file. Python can switch it on since 3.12."""
    setconfig = getattr(connection, "setconfig", None)
    if setconfig is not None:
        setconfig(getattr(sqlite3, "SQLITE_DBCONFIG_DEFENSIVE"), True)  # noqa: B009
    connection.execute("PRAGMA cell_size_check = ON")


def _is_own_table(name: str) -> bool:
    """Also the hidden tables of our spatial indices; SQLite does not tell capitals from small letters."""
    name = name.lower()
    return name in _tables() or any(name.startswith(f"rtree_{table}_geom") for table in _tables())
