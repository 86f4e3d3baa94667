"""Default styles where QGIS looks for them: the table `layer_styles` of a GeoPackage or a PostGIS database."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.qml import STYLED, qml
from geocorrect.catalog.schema import POSTGRES_SCHEMA

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


def geopackage_style(layer: str, like: str, column: str = "geom") -> Mapping[str, str]:
    """Values of GEOPACKAGE_INSERT for a layer that is drawn like one of the catalog's."""
    return {"layer": layer, "column": column, "style": STYLE_NAME, "qml": qml(like), "description": "default style"}


def write_styles(connection: Connection) -> None:
    """Write our default styles; a user's own styles of other names stay, and stay the default if they were."""
    if connection.dialect.name == "sqlite":
        run_sql(connection, GEOPACKAGE_TABLE)
        run_sql(connection, GEOPACKAGE_REGISTRATION)
        connection.execute(text("delete from layer_styles where styleName = :style"), {"style": STYLE_NAME})
        for layer in STYLED:
            connection.execute(text(GEOPACKAGE_INSERT), geopackage_style(layer, layer))
        return
    if not connection.execute(text("select has_schema_privilege('public', 'create')")).scalar_one():
        return  # without the right to write there, users load the .qml files instead
    run_sql(connection, _POSTGRES_TABLE)
    ours = {"style": STYLE_NAME, "schema": POSTGRES_SCHEMA}
    connection.execute(
        text("delete from public.layer_styles where stylename = :style and f_table_schema = :schema"), ours
    )
    for layer in STYLED:
        values = ours | {
            "layer": layer,
            "column": "geom",
            "qml": _without_doctype(qml(layer)),
            "description": "default",
        }
        connection.execute(text(_POSTGRES_INSERT), values)


def _without_doctype(document: str) -> str:
    return document.split("\n", 1)[1]
