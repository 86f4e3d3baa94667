"""A QGIS project (.qgz) over a catalog of either kind: all layers, styled, at the right place."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from math import radians
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from geocorrect.catalog import Catalog
from geocorrect.catalog.schema import POSTGRES_SCHEMA
from geocorrect.catalog.views.qml import STYLED, renderer
from geocorrect.export.features import ATTRIBUTION, Licences
from geocorrect.io.atomic_file import atomic_path

_WGS84 = (
    "<spatialrefsys><wkt></wkt><proj4>+proj=longlat +datum=WGS84 +no_defs</proj4><srsid>3452</srsid><srid>4326</srid>"
    "<authid>EPSG:4326</authid><description>WGS 84</description><projectionacronym>longlat</projectionacronym>"
    "<ellipsoidacronym>EPSG:7030</ellipsoidacronym><geographicflag>true</geographicflag></spatialrefsys>"
)
_MERCATOR = (
    "<spatialrefsys><wkt></wkt><proj4>+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m "
    "+nadgrids=@null +wktext +no_defs</proj4><srsid>3857</srsid><srid>3857</srid><authid>EPSG:3857</authid>"
    "<description>WGS 84 / Pseudo-Mercator</description><projectionacronym>merc</projectionacronym>"
    "<ellipsoidacronym>EPSG:7030</ellipsoidacronym><geographicflag>false</geographicflag></spatialrefsys>"
)
_MARGIN_M = 20.0
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class _Layer:
    name: str
    title: str
    geometry: str
    wkb: str
    shown: bool


# From top to bottom.
LAYERS = (
    _Layer("current_correction", "Corrected photos (expected error)", "Point", "PointZ", True),
    _Layer("rejected", "Rejected photos (reason)", "Point", "Point", True),
    _Layer("displacement", "Reported → corrected", "Line", "LineString", True),
    _Layer("error_ellipse", "95 % error ellipse", "Polygon", "Polygon", True),
    _Layer("sequence_bias", "Bias per sequence", "Point", "PointZ", False),
    _Layer("coverage", "What the photos see", "Polygon", "Polygon", False),
    _Layer("image", "Reported positions", "Point", "Point", True),
    _Layer("anchor", "Anchors", "Point", "PointZ", True),
)
assert {layer.name for layer in LAYERS} == set(STYLED)


def write_qgis_project(catalog: Catalog, path: Path) -> int:
    """Write the project; returns the number of layers. A GeoPackage is referred to relative to the project's folder.

    A PostGIS project holds neither user nor password, because it is handed on: QGIS asks, or finds them in PGUSER and
    ~/.pgpass.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        # A fixed date, so that the same catalog gives the same bytes.
        entry = zipfile.ZipInfo(f"{path.stem}.qgs", date_time=(1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, _project(catalog, path))
    return len(LAYERS)


def _project(catalog: Catalog, path: Path) -> str:
    tree = "".join(
        f'<layer-tree-layer id="{_id(layer)}" name={quoteattr(layer.title)} expanded="0" '
        f'checked="{"Qt::Checked" if layer.shown else "Qt::Unchecked"}"/>'
        for layer in LAYERS
    )
    maps = "".join(_map_layer(catalog, layer, path) for layer in LAYERS)
    order = "".join(f'<layer id="{_id(layer)}"/>' for layer in LAYERS)
    x_min, y_min, x_max, y_max = _extent(catalog)
    licences = Licences(set(catalog.photo_licences()))
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22.0" projectname="geocorrect"><title>geocorrect</title>\n'
        f"<projectCrs>{_MERCATOR}</projectCrs>\n"
        f"<layer-tree-group>{tree}</layer-tree-group>\n"
        f'<mapcanvas name="theMapCanvas"><units>meters</units><extent><xmin>{x_min}</xmin><ymin>{y_min}</ymin>'
        f"<xmax>{x_max}</xmax><ymax>{y_max}</ymax></extent><rotation>0</rotation><destinationsrs>{_MERCATOR}"
        "</destinationsrs></mapcanvas>\n"
        f"<projectlayers>{maps}</projectlayers>\n<layerorder>{order}</layerorder>\n"
        '<properties><SpatialRefSys><ProjectionsEnabled type="int">1</ProjectionsEnabled></SpatialRefSys>'
        "</properties>\n<projectMetadata><title>geocorrect</title>"
        f"<abstract>{escape(ATTRIBUTION)}</abstract><rights>{escape(ATTRIBUTION)}</rights>"
        f"<license>Licences of the photos: {escape(licences.text())}</license></projectMetadata>\n</qgis>\n"
    )


def _map_layer(catalog: Catalog, layer: _Layer, path: Path) -> str:
    provider, source = _source(catalog, layer, path)
    return (
        f'<maplayer type="vector" geometry="{layer.geometry}" wkbType="{layer.wkb}" simplifyDrawingHints="0">'
        f"<id>{_id(layer)}</id><datasource>{escape(source)}</datasource><layername>{escape(layer.title)}</layername>"
        f'<srs>{_WGS84}</srs><provider encoding="UTF-8">{provider}</provider>{renderer(layer.name)}</maplayer>\n'
    )


def _id(layer: _Layer) -> str:
    # QGIS replaces ids of ten characters or fewer, and the tree would then be empty.
    return f"geocorrect_{layer.name}"


def _source(catalog: Catalog, layer: _Layer, path: Path) -> tuple[str, str]:
    url = catalog.engine.url
    if catalog.engine.dialect.name == "sqlite":
        relative = os.path.relpath(Path(str(url.database)).absolute(), path.absolute().parent)
        return "ogr", f"./{Path(relative).as_posix()}|layername={layer.name}"
    # A socket's folder and port stand in the query of the address.
    host, port = url.host or url.query.get("host"), url.port or url.query.get("port")
    parts = {
        "service": url.query.get("service"),
        "dbname": url.database,
        "host": host,
        "port": None if port is None else str(port),
        "key": "fid",
    }
    listed = " ".join(f"{name}='{_quoted(value)}'" for name, value in parts.items() if isinstance(value, str) and value)
    secure = url.query.get("sslmode")
    # Without it QGIS would fall back to an open connection where the owner asked for a sealed one.
    listed += f" sslmode={secure}" if secure in _SSL_MODES else ""
    kind = f"srid=4326 type={layer.wkb} checkPrimaryKeyUnicity='0'"
    return "postgres", f'{listed} {kind} table="{POSTGRES_SCHEMA}"."{layer.name}" (geom)'


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _extent(catalog: Catalog) -> tuple[float, float, float, float]:
    """What the map shows first, in EPSG:3857 metres: all photos and anchors."""
    from geocorrect.geometry.frame import WGS84_A_M, crs_from_wgs84

    box = catalog.extent()
    if box is None:
        return -2e7, -2e7, 2e7, 2e7
    west, south, east, north = box
    x, y = crs_from_wgs84("EPSG:3857", [west, west], [max(south, -85.0), min(north, 85.0)])
    x_min, x_max = float(x[0]), float(x[0]) + WGS84_A_M * radians(east - west)  # also beyond 180 degrees
    return x_min - _MARGIN_M, float(y[0]) - _MARGIN_M, x_max + _MARGIN_M, float(y[1]) + _MARGIN_M
