"""The formats of `geocorrect export`; light, because the command line reads it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from geocorrect.errors import UsageError


class Format(StrEnum):
    """The formats of `geocorrect export --format`."""

    GEOJSON = "geojson"
    GPKG = "gpkg"
    GEOPARQUET = "geoparquet"
    FLATGEOBUF = "flatgeobuf"
    CSV = "csv"
    OPENSFM = "opensfm"
    COLMAP = "colmap"
    SIDECAR = "sidecar"
    EXIF = "exif"
    GEO_TXT = "geo-txt"
    STAC = "stac"
    STAC_GEOPARQUET = "stac-geoparquet"
    PMTILES = "pmtiles"
    QGIS_PROJECT = "qgis-project"


SUFFIXES = {
    ".geojson": Format.GEOJSON,
    ".json": Format.GEOJSON,
    ".gpkg": Format.GPKG,
    ".parquet": Format.GEOPARQUET,
    ".geoparquet": Format.GEOPARQUET,
    ".fgb": Format.FLATGEOBUF,
    ".csv": Format.CSV,
    ".pmtiles": Format.PMTILES,
    ".txt": Format.GEO_TXT,
    ".qgz": Format.QGIS_PROJECT,
}


def format_of(path: Path) -> Format:
    """The format that a file name stands for; UsageError when it stands for none."""
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = ", ".join(Format)
        raise UsageError(f"{path}: the name does not determine the format; give --format, one of {known}") from None
