"""One entry for every format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from geocorrect.catalog import Catalog, ResultFilter, StoredResult
from geocorrect.catalog.rows.result_table import ResultTable
from geocorrect.errors import Status
from geocorrect.export.formats import Format, format_of
from geocorrect.io.atomic_file import atomic_file, is_stream

PUBLISHED = (Status.ACCEPTED,)
"""What an export holds unless it is asked for more: a pose that waits for a review may be hundreds of metres off."""
STYLED_BESIDE = (Format.GEOJSON, Format.FLATGEOBUF)
"""Formats without a place for a style: a .qml file of the same name, which QGIS applies, is written beside."""


def export_catalog(
    catalog: Catalog, path: Path, kind: Format | str | None = None, wanted: ResultFilter | None = None
) -> int:
    """Write results of a catalog to a file, or to a folder for opensfm, colmap, sidecar, exif and stac.

    Files appear complete or not at all. What a user withdrew (retracted, rolled back) is never exported: a file would
    not show that it is withdrawn.

    Args:
        catalog: where the results are.
        path: the file or folder to write.
        kind: the format; None: by the suffix of `path`.
        wanted: which results; None: the active results that are accepted. Poses that wait for a review and
            rejections are exported only when the filter asks for their status. Does not matter for a QGIS project,
            which shows the whole catalog.

    Returns:
        Number of results, for a QGIS project the number of layers.

    Raises:
        OutputError: the file cannot be written.
        UsageError: the suffix stands for no format.
        DatabaseError: the catalog cannot be read, or the run that the filter asks for was rolled back.
    """
    chosen = format_of(path) if kind is None else Format(kind)
    selected = replace(wanted or ResultFilter(status=PUBLISHED), withdrawn=False)
    if selected.run_key is not None and chosen is not Format.QGIS_PROJECT:
        catalog.require_active_run(selected.run_key)
    count = _write(catalog, path, chosen, selected)
    if chosen in STYLED_BESIDE and not is_stream(path):
        from geocorrect.catalog.views.qml import qml

        with atomic_file(path.with_suffix(".qml")) as file:
            file.write(qml("current_correction").encode())
    return count


def _write(catalog: Catalog, path: Path, kind: Format, wanted: ResultFilter) -> int:
    from geocorrect.export import colmap, geojson, geopackage, opensfm, qgis, sidecar, tables
    from geocorrect.export.parquet import geoparquet
    from geocorrect.export.photos import copies, geo_txt
    from geocorrect.export.stac import collection
    from geocorrect.export.stac.geoparquet import write_stac_geoparquet
    from geocorrect.export.tiles.pmtiles import write_pmtiles

    plain: dict[Format, Callable[[Iterable[ResultTable], Path], int]] = {
        Format.GEOJSON: geojson.write_geojson,
        Format.GPKG: geopackage.write_geopackage,
        Format.GEOPARQUET: geoparquet.write_geoparquet,
        Format.FLATGEOBUF: lambda rows, file: tables.write_flatgeobuf(rows, file, catalog.licences(wanted)),
        Format.CSV: tables.write_csv,
        Format.PMTILES: write_pmtiles,
    }
    bundles: dict[Format, Callable[[Catalog, Iterable[StoredResult], Path], int]] = {
        Format.OPENSFM: opensfm.write_opensfm,
        Format.COLMAP: colmap.write_colmap,
        Format.SIDECAR: sidecar.write_sidecar,
        Format.EXIF: copies.write_photos,
        Format.GEO_TXT: geo_txt.write_geo_txt,
        Format.STAC: collection.write_stac,
        Format.STAC_GEOPARQUET: write_stac_geoparquet,
    }
    if kind is Format.QGIS_PROJECT:
        return qgis.write_qgis_project(catalog, path)
    if kind in plain:
        return plain[kind](catalog.tables(wanted), path)
    return bundles[kind](catalog, catalog.results(wanted), path)
