"""One entry for every format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from geocorrect.catalog import Catalog, ResultFilter, StoredResult
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
    the status. Files appear complete or not at all. Raises OutputError, UsageError, DatabaseError.
    """
    chosen = format_of(path) if kind is None else Format(kind)
    stored = catalog.results(wanted or ResultFilter(status=CORRECTED))
    count = _writer(chosen, catalog)(stored, path)
    if chosen in STYLED_BESIDE:
        from geocorrect.export.styles import write_qml_beside

        write_qml_beside(path)
    return count


def _writer(kind: Format, catalog: Catalog) -> Callable[[Iterable[StoredResult], Path], int]:
    from geocorrect.export import colmap, geojson, opensfm, qgis, sidecar, tables

    writers: dict[Format, Callable[[Iterable[StoredResult], Path], int]] = {
        Format.GEOJSON: geojson.write_geojson,
        Format.GPKG: tables.write_geopackage,
        Format.GEOPARQUET: tables.write_geoparquet,
        Format.FLATGEOBUF: tables.write_flatgeobuf,
        Format.CSV: tables.write_csv,
        Format.OPENSFM: lambda stored, path: opensfm.write_opensfm(catalog, stored, path),
        Format.COLMAP: lambda stored, path: colmap.write_colmap(catalog, stored, path),
        Format.SIDECAR: lambda stored, path: sidecar.write_sidecar(catalog, stored, path),
        Format.QGIS_PROJECT: lambda _, path: qgis.write_qgis_project(catalog, path),
    }
    return writers[kind]
