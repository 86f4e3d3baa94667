"""One entry for every format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from geocorrect.catalog import Catalog, ResultFilter, StoredResult
from geocorrect.catalog.rows.result_table import ResultTable
from geocorrect.errors import Status
from geocorrect.export.formats import Format, format_of

CORRECTED = (Status.ACCEPTED, Status.REVIEW)


STYLED_BESIDE = (Format.GEOJSON, Format.FLATGEOBUF)


def export_catalog(
    catalog: Catalog, path: Path, kind: Format | str | None = None, wanted: ResultFilter | None = None
) -> int:
    """Write results of a catalog to a file, or to a folder for opensfm, colmap and sidecar; returns how many.

    A QGIS project shows the whole catalog: the filter does not matter, and the number of layers is returned.

    Without a filter: the corrections in force (accepted and review). Rejections appear only when the filter asks for
    the status. What a person took back (retracted, rolled back) never leaves the catalog: a file would not show it,
    and a run that was rolled back is a DatabaseError. Files appear complete or not at all. Raises OutputError,
    UsageError, DatabaseError.
    """
    chosen = format_of(path) if kind is None else Format(kind)
    asked = replace(wanted or ResultFilter(status=CORRECTED), withdrawn=False)
    if asked.run_key is not None and chosen is not Format.QGIS_PROJECT:
        catalog.require_active_run(asked.run_key)
    count = _write(catalog, path, chosen, asked)
    if chosen in STYLED_BESIDE:
        from geocorrect.export.styles import write_qml_beside

        write_qml_beside(path)
    return count


def _write(catalog: Catalog, path: Path, kind: Format, wanted: ResultFilter) -> int:
    from geocorrect.export import colmap, geojson, geopackage, opensfm, qgis, sidecar, tables

    plain: dict[Format, Callable[[Iterable[ResultTable], Path], int]] = {
        Format.GEOJSON: geojson.write_geojson,
        Format.GPKG: geopackage.write_geopackage,
        Format.GEOPARQUET: tables.write_geoparquet,
        Format.FLATGEOBUF: lambda rows, file: tables.write_flatgeobuf(rows, file, catalog.licences(wanted)),
        Format.CSV: tables.write_csv,
    }
    bundles: dict[Format, Callable[[Catalog, Iterable[StoredResult], Path], int]] = {
        Format.OPENSFM: opensfm.write_opensfm,
        Format.COLMAP: colmap.write_colmap,
        Format.SIDECAR: sidecar.write_sidecar,
    }
    if kind is Format.QGIS_PROJECT:
        return qgis.write_qgis_project(catalog, path)
    if kind in plain:
        return plain[kind](catalog.tables(wanted), path)
    return bundles[kind](catalog, catalog.results(wanted), path)
