"""Default styles where QGIS looks for them: the table `layer_styles` of a GeoPackage or a PostGIS database."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.schema import POSTGRES_SCHEMA
from geocorrect.catalog.views.qml import STYLED, qml

STYLE_NAME = "geocorrect"

GEOPACKAGE_TABLE = """
CREATE TABLE IF NOT EXISTS layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT,
  f_table_schema TEXT, f_table_name TEXT, f_geometry_column TEXT, styleName TEXT, styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT, ui TEXT,
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))
"""
# QGIS ignores the table unless it is registered.
GEOPACKAGE_REGISTRATION = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes',
'layer_styles')
"""
GEOPACKAGE_INSERT = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,
  styleSLD, useAsDefault, description, owner) VALUES ('', '', :layer, :column, :style, :qml, '', 1, :description, '')
"""
_POSTGRES_TABLE = """
create table if not exists public.layer_styles (id serial primary key, f_table_catalog varchar(256),
  f_table_schema varchar(256), f_table_name varchar(256), f_geometry_column varchar(256), stylename varchar(30),
  styleqml xml, stylesld xml, useasdefault boolean, description text, owner varchar(30), ui xml,
  update_time timestamp default current_timestamp, type varchar)
"""
_POSTGRES_INSERT = """
insert into public.layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, stylename, styleqml,
  useasdefault, description, owner) values (current_database(), :schema, :layer, :column, :style,
  xmlparse(document :qml), true, :description, left(current_user, 30))
"""
_POSTGRES_UPDATE = """
update public.layer_styles set styleqml = xmlparse(document :qml)
where f_table_schema = :schema and f_table_name = :layer and stylename = :style
"""
_GEOPACKAGE_UPDATE = "update layer_styles set styleQML = :qml where f_table_name = :layer and styleName = :style"
# QGIS keeps no order among several defaults: a person's comes before ours.
_YIELD = """
update {table} as ours set useasdefault = {no} where stylename = :style and f_table_schema = :schema and exists (
  select 1 from {table} as other
  where other.f_table_schema = :schema and other.f_table_name = ours.f_table_name and other.stylename <> :style
    and other.useasdefault = {yes}
)
"""


def geopackage_style(layer: str, like: str, column: str = "geom") -> Mapping[str, str]:
    """Values of GEOPACKAGE_INSERT for a layer that is drawn like one of the catalog's."""
    return {"layer": layer, "column": column, "style": STYLE_NAME, "qml": qml(like), "description": "default style"}


def write_styles(connection: Connection) -> None:
    """Write our styles; a user's own styles of other names stay, and stay the default if they were."""
    if connection.dialect.name == "sqlite":
        run_sql(connection, GEOPACKAGE_TABLE)
        run_sql(connection, GEOPACKAGE_REGISTRATION)
        for layer in STYLED:
            _write(connection, _GEOPACKAGE_UPDATE, GEOPACKAGE_INSERT, geopackage_style(layer, layer))
        _yield(connection, "layer_styles", "", ("1", "0"))
        return
    if not connection.execute(text("select has_schema_privilege('public', 'create')")).scalar_one():
        return  # without the right to write there, users load the .qml files instead
    run_sql(connection, _POSTGRES_TABLE)
    for layer in STYLED:
        values = geopackage_style(layer, layer)
        own = {"schema": POSTGRES_SCHEMA, "qml": _without_doctype(values["qml"])}
        _write(connection, _POSTGRES_UPDATE, _POSTGRES_INSERT, {**values, **own})
    _yield(connection, "public.layer_styles", POSTGRES_SCHEMA, ("true", "false"))


def _write(connection: Connection, update: str, insert: str, values: Mapping[str, str]) -> None:
    """In place: a user who has chosen not to see our style by default need not choose again."""
    if not connection.execute(text(update), values).rowcount:
        connection.execute(text(insert), values)


def _yield(connection: Connection, table: str, schema: str, truth: tuple[str, str]) -> None:
    """Leave the default of a layer to the style that a person has made the default."""
    statement = _YIELD.format(table=table, yes=truth[0], no=truth[1])
    connection.execute(text(statement), {"style": STYLE_NAME, "schema": schema})


def _without_doctype(document: str) -> str:
    return document.split("\n", 1)[1]
