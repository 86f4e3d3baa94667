"""Default styles where QGIS looks for them: the table `layer_styles` of a GeoPackage or a PostGIS database."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Connection, text

from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.schema import POSTGRES_SCHEMA
from geocorrect.catalog.views.qml import STYLED, qml

STYLE_NAME = "geocorrect"
_FILE = Path(__file__).with_name("layer_styles.sql")
STATEMENTS: dict[str, str] = dict(
    re.findall(r"^-- statement: (\w+)\n(.+?)(?=\n\n|\Z)", _FILE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)
"""The statements of `layer_styles.sql` by name."""


def geopackage_style(layer: str, like: str, column: str = "geom") -> dict[str, str]:
    """Values of `geopackage_insert` for a layer that is drawn like the layer `like` of the catalog."""
    return {"layer": layer, "column": column, "style": STYLE_NAME, "qml": qml(like), "description": "default style"}


def write_styles(connection: Connection) -> None:
    """Write our styles; a user's own styles of other names stay, and stay the default if they were."""
    if connection.dialect.name == "sqlite":
        run_sql(connection, STATEMENTS["geopackage_table"])
        run_sql(connection, STATEMENTS["geopackage_registration"])
        names, own = {"table": "layer_styles", "yes": "1", "no": "0"}, {"schema": ""}
    else:
        if not connection.execute(text("select has_schema_privilege('public', 'create')")).scalar_one():
            return  # without the right to write there, users load the .qml files instead
        run_sql(connection, STATEMENTS["postgres_table"])
        names, own = {"table": "public.layer_styles", "yes": "true", "no": "false"}, {"schema": POSTGRES_SCHEMA}
    back_end = "geopackage" if connection.dialect.name == "sqlite" else "postgres"
    for layer in STYLED:
        values = geopackage_style(layer, layer) | own
        if back_end == "postgres":
            values["qml"] = values["qml"].split("\n", 1)[1]  # PostgreSQL's xml takes no doctype
        # In place: a user who has chosen not to see our style by default need not choose again.
        if not connection.execute(text(STATEMENTS[f"{back_end}_update"]), values).rowcount:
            connection.execute(text(STATEMENTS[f"{back_end}_insert"]), values)
    prefer_other = STATEMENTS["prefer_other_default"].format(**names)
    connection.execute(text(prefer_other), {"style": STYLE_NAME} | own)
