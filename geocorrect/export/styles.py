"""Styles beside and inside exported files."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from geocorrect.catalog.views.qml import qml
from geocorrect.catalog.views.styles import (
    GEOPACKAGE_INSERT,
    GEOPACKAGE_REGISTRATION,
    GEOPACKAGE_TABLE,
    geopackage_style,
)
from geocorrect.io.atomic_file import atomic_file


def write_qml_beside(path: Path, like: str = "current_correction") -> None:
    """The .qml of the same name, which QGIS applies when it opens the file."""
    with atomic_file(path.with_suffix(".qml")) as file:
        file.write(qml(like).encode())


def add_styles_to_geopackage(path: Path, layers: Mapping[str, str]) -> None:
    """Default styles for layers of a GeoPackage that GDAL wrote: layer name → layer of the catalog it is drawn like.

    Layers called like one of the catalog's (displacement, error_ellipse) are styled as well.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        geometry = dict(connection.execute("select table_name, column_name from gpkg_geometry_columns").fetchall())
        connection.execute(GEOPACKAGE_TABLE)
        connection.execute(GEOPACKAGE_REGISTRATION)
        for layer, column in geometry.items():
            like = layers.get(layer, layer)
            connection.execute(GEOPACKAGE_INSERT, dict(geopackage_style(layer, like, column)))
