"""A QGIS project (.qgz) over a catalog of either kind, from the template `project.qgs.j2`."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from math import radians
from pathlib import Path

from geocorrect.catalog import Catalog
from geocorrect.catalog.schema import POSTGRES_SCHEMA
from geocorrect.catalog.views.qml import on_click, renderer, xml_template
from geocorrect.export.features import ATTRIBUTION, Licences
from geocorrect.io.atomic_file import atomic_path

_MARGIN_M = 20.0
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class _Layer:
    name: str
    title: str
    geometry: str
    wkb: str
    shown: bool

    @property
    def id(self) -> str:
        """QGIS replaces ids of ten characters or fewer, and the tree would then be empty."""
        return f"geocorrect_{self.name}"


# From top to bottom.
GROUPS = {
    "Published": (
        _Layer("current_correction", "Corrected photos (expected error)", "Point", "PointZ", True),
        _Layer("displacement", "Reported → corrected", "Line", "LineString", True),
        _Layer("error_ellipse", "95 % error ellipse", "Polygon", "Polygon", True),
        _Layer("coverage", "What the photos see", "Polygon", "Polygon", False),
    ),
    "Not published": (
        _Layer("review_queue", "Waiting for a review", "Point", "PointZ", False),
        _Layer("rejected", "Rejected photos (reason)", "Point", "Point", True),
    ),
    "Where it comes from": (
        _Layer("sequence_bias", "Bias per sequence", "Point", "PointZ", False),
        _Layer("image", "Reported positions", "Point", "Point", True),
        _Layer("anchor", "Anchors", "Point", "PointZ", True),
    ),
}
LAYERS = tuple(layer for layers in GROUPS.values() for layer in layers)


def write_qgis_project(catalog: Catalog, path: Path) -> int:
    """Write the project; returns the number of layers. A GeoPackage is referred to relative to the project's folder.

    A PostGIS project contains neither user nor password, because it is passed on: QGIS asks, or finds them in PGUSER
    and ~/.pgpass.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        # A fixed date, so that the same catalog gives the same bytes.
        entry = zipfile.ZipInfo(f"{path.stem}.qgs", date_time=(1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, _project(catalog, path))
    return len(LAYERS)


def _project(catalog: Catalog, path: Path) -> str:
    is_file = catalog.engine.dialect.name == "sqlite"
    text: str = xml_template(Path(__file__).with_name("project.qgs.j2")).render(
        layers=LAYERS,
        groups=list(GROUPS.items()),
        provider="ogr" if is_file else "postgres",
        source=lambda layer: _file_source(catalog, layer, path) if is_file else _server_source(catalog, layer),
        renderer=renderer,
        on_click=on_click,
        extent=dict(zip(("xmin", "ymin", "xmax", "ymax"), _extent(catalog), strict=True)),
        attribution=ATTRIBUTION,
        licences=Licences(set(catalog.photo_licences())).text(),
    )
    return text


def _file_source(catalog: Catalog, layer: _Layer, path: Path) -> str:
    relative = os.path.relpath(Path(str(catalog.engine.url.database)).absolute(), path.absolute().parent)
    return f"./{Path(relative).as_posix()}|layername={layer.name}"


def _server_source(catalog: Catalog, layer: _Layer) -> str:
    url = catalog.engine.url
    parts = {
        "service": url.query.get("service"),
        "dbname": url.database,
        # A socket's folder and port are in the query of the address.
        "host": url.host or url.query.get("host"),
        "port": url.port or url.query.get("port"),
        "key": "fid",
    }
    listed = " ".join(f"{name}='{_quoted(str(value))}'" for name, value in parts.items() if _is_given(value))
    secure = url.query.get("sslmode")
    # Without it QGIS would fall back to an open connection where the owner asked for an encrypted one.
    listed += f" sslmode={secure}" if secure in _SSL_MODES else ""
    kind = f"srid=4326 type={layer.wkb} checkPrimaryKeyUnicity='0'"
    return f'{listed} {kind} table="{POSTGRES_SCHEMA}"."{layer.name}" (geom)'


def _is_given(value: object) -> bool:
    return isinstance(value, str | int) and bool(value)  # not what an address names twice


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _extent(catalog: Catalog) -> tuple[float, float, float, float]:
    """West, south, east and north of the first map window, in EPSG:3857 metres: all photos and anchors."""
    from geocorrect.geometry.crs import crs_from_wgs84
    from geocorrect.geometry.frame import WGS84_A_M

    box = catalog.extent()
    if box is None:
        return -2e7, -2e7, 2e7, 2e7
    west, south, east, north = box
    x, y = crs_from_wgs84("EPSG:3857", [west, west], [max(south, -85.0), min(north, 85.0)])
    x_min, x_max = float(x[0]), float(x[0]) + WGS84_A_M * radians(east - west)  # also beyond 180 degrees
    return x_min - _MARGIN_M, float(y[0]) - _MARGIN_M, x_max + _MARGIN_M, float(y[1]) + _MARGIN_M
