"""A GeoPackage of results for GIS users: points, lines and ellipses, styled for QGIS.

The catalog itself, when it is a GeoPackage, can be opened as well.
"""

from __future__ import annotations

import pickle
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import numpy as np
import shapely

from geocorrect.catalog.rows.result_table import ResultTable
from geocorrect.catalog.views.qml import xml_text
from geocorrect.catalog.views.shapes import displacement_lines, ellipse_outlines
from geocorrect.catalog.views.styles import STATEMENTS, geopackage_style
from geocorrect.export.features import ATTRIBUTION, Licences
from geocorrect.export.tables import gdal_faults, joined_batches, write_points
from geocorrect.io.atomic_file import atomic_path

_SHAPE_NUMBERS = (
    "lon_deg", "lat_deg", "semi_major_m", "semi_minor_m", "ellipse_azimuth_deg", "reported_lon_deg",
    "reported_lat_deg", "displacement_m", "heading_change_deg",
)  # fmt: skip
# The version that GIS software of 2022 reads; GDAL's newest one makes QGIS 3.22 warn.
_OPTIONS: dict[str, Any] = {"description": ATTRIBUTION, "dataset_options": {"VERSION": "1.3"}}
_TEXTS = ("image_id", "status")
_FIELDS = ("displacement_m", "heading_change_deg", "semi_major_m", "semi_minor_m")


def write_geopackage(tables: Iterable[ResultTable], path: Path) -> int:
    """The layers corrections, displacement and error_ellipse; returns the number of results.

    GDAL writes one layer of a file after the other: what lines and ellipses need is kept in a temporary file, so that
    memory does not grow with the number of results.
    """
    licences = Licences()
    with (
        atomic_path(path, suffix=".gpkg") as temporary,
        gdal_faults(),
        tempfile.TemporaryFile(dir=temporary.parent) as spool,
    ):
        temporary.unlink()
        points = _spooled(tables, licences, spool)
        count = write_points(points, temporary, "GPKG", _OPTIONS)
        _write_shapes(spool, temporary, "displacement", "LineString")
        _write_shapes(spool, temporary, "error_ellipse", "Polygon")
        with closing(sqlite3.connect(temporary)) as connection, connection:
            _add_styles(connection)
            _describe(connection, {"ATTRIBUTION": ATTRIBUTION, "LICENCE": licences.text()})
    return count


def _spooled(tables: Iterable[ResultTable], licences: Licences, spool: IO[bytes]) -> Iterator[ResultTable]:
    for table in tables:
        licences.add(table["licence"])
        placed = np.isfinite(table["lon_deg"])
        values = {name: table[name][placed] for name in _SHAPE_NUMBERS}
        rows = np.flatnonzero(placed).tolist()
        pickle.dump(values | {name: [table[name][row] for row in rows] for name in _TEXTS}, spool)
        yield table


def _unspooled(spool: IO[bytes]) -> Iterator[dict[str, Any]]:
    spool.seek(0)
    while True:
        try:
            yield pickle.load(spool)
        except EOFError:
            return


def _write_shapes(spool: IO[bytes], path: Path, layer: str, kind: str) -> None:
    import pyarrow as pa
    import pyogrio

    texts = [pa.field(name, pa.string()) for name in _TEXTS]
    fields = [*texts, *[pa.field(name, pa.float64()) for name in _FIELDS]]
    geometry = pa.field("geom", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    schema = pa.schema([*fields, geometry])

    def batches() -> Iterator[Any]:
        for values in _unspooled(spool):
            drawn, shapes = _lines(values) if kind == "LineString" else _ellipses(values)
            rows = np.flatnonzero(drawn).tolist()
            words = [pa.array([values[name][row] for row in rows], pa.string()) for name in _TEXTS]
            numbers = [pa.array(values[name][drawn], from_pandas=True) for name in _FIELDS]
            columns = [*words, *numbers, pa.array(shapely.to_wkb(shapes), pa.binary())]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    reader = pa.RecordBatchReader.from_batches(schema, joined_batches(batches()))
    pyogrio.write_arrow(
        reader, path, layer=layer, driver="GPKG", append=True,
        geometry_name="geom", geometry_type=kind, crs="EPSG:4326", description=ATTRIBUTION,
    )  # fmt: skip


def _lines(values: dict[str, Any]) -> tuple[Any, Any]:
    """Which results have a line, and the lines."""
    drawn = np.isfinite(values["displacement_m"])
    ends = [values[name][drawn] for name in ("reported_lon_deg", "reported_lat_deg", "lon_deg", "lat_deg")]
    return drawn, shapely.linestrings(displacement_lines(*ends))


def _ellipses(values: dict[str, Any]) -> tuple[Any, Any]:
    axes = [values[name] for name in ("semi_major_m", "semi_minor_m", "ellipse_azimuth_deg")]
    outlines = ellipse_outlines(values["lon_deg"], values["lat_deg"], *axes)
    return np.ones(len(outlines), bool), shapely.polygons(outlines)


def _add_styles(connection: sqlite3.Connection) -> None:
    """Default styles for the layers, each drawn like the one of the catalog of the same name."""
    geometry = dict(connection.execute("select table_name, column_name from gpkg_geometry_columns").fetchall())
    connection.execute(STATEMENTS["geopackage_table"])
    connection.execute(STATEMENTS["geopackage_registration"])
    for layer, column in geometry.items():
        like = "current_correction" if layer == "corrections" else layer
        connection.execute(STATEMENTS["geopackage_insert"], geopackage_style(layer, like, column))


# GeoPackage 1.3, annex F.8 (metadata). GDAL and QGIS show the entry of GDAL's own address.
_METADATA = (
    "CREATE TABLE gpkg_metadata (id INTEGER CONSTRAINT m_pk PRIMARY KEY ASC NOT NULL, "
    "md_scope TEXT NOT NULL DEFAULT 'dataset', md_standard_uri TEXT NOT NULL, "
    "mime_type TEXT NOT NULL DEFAULT 'text/xml', metadata TEXT NOT NULL DEFAULT '')",
    "CREATE TABLE gpkg_metadata_reference (reference_scope TEXT NOT NULL, table_name TEXT, column_name TEXT, "
    "row_id_value INTEGER, timestamp DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')), "
    "md_file_id INTEGER NOT NULL, md_parent_id INTEGER, "
    "CONSTRAINT crmr_mfi_fk FOREIGN KEY (md_file_id) REFERENCES gpkg_metadata(id), "
    "CONSTRAINT crmr_mpi_fk FOREIGN KEY (md_parent_id) REFERENCES gpkg_metadata(id))",
    "INSERT INTO gpkg_extensions VALUES "
    "('gpkg_metadata', NULL, 'gpkg_metadata', 'http://www.geopackage.org/spec120/#extension_metadata', 'read-write'), "
    "('gpkg_metadata_reference', NULL, 'gpkg_metadata', 'http://www.geopackage.org/spec120/#extension_metadata', "
    "'read-write')",
    "INSERT INTO gpkg_metadata_reference (reference_scope, md_file_id) VALUES ('geopackage', 1)",
)


def _describe(connection: sqlite3.Connection, values: dict[str, str]) -> None:
    items = "".join(f'<MDI key="{name}">{xml_text(value)}</MDI>' for name, value in values.items())
    document = f"<GDALMultiDomainMetadata><Metadata>{items}</Metadata></GDALMultiDomainMetadata>"
    for statement in _METADATA[:3]:
        connection.execute(statement)
    insert = "INSERT INTO gpkg_metadata VALUES (1, 'dataset', 'http://gdal.org', 'text/xml', ?)"
    connection.execute(insert, (document,))
    connection.execute(_METADATA[3])
