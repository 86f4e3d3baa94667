"""Clicks as files: our own GeoJSON, OpenSfM's gcp_list.txt, QGIS Georeferencer's .points; each whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geocorrect.errors import InputError
from geocorrect.georeference.landmarks.click import Click
from geocorrect.georeference.landmarks.formats import QGIS_HALF_PIXEL
from geocorrect.io.atomic_file import atomic_path

WGS84_WKT = (
    'GEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563]],CS[ellipsoidal,2],'
    'AXIS["latitude",north],AXIS["longitude",east],UNIT["degree",0.0174532925199433],ID["EPSG",4326]]'
)
"""As QGIS writes it into the header of .points files."""


def write_clicks(clicks: Sequence[Click], path: Path) -> None:
    """Write clicks as .geojson, which `read_landmarks` reads as the same clicks."""
    with atomic_path(path) as unfinished:
        unfinished.write_text(clicks_geojson(clicks), encoding="utf-8")


def clicks_geojson(clicks: Sequence[Click]) -> str:
    """A collection of WGS84 points with the pixel as properties; heights are ellipsoidal."""
    features = []
    for click in clicks:
        properties: dict[str, Any] = {
            "image": click.image, "u_px": click.u_px, "v_px": click.v_px, "landmark": click.landmark,
            "height_m": click.height_m, "sigma_px": click.sigma_px, "sigma_m": click.sigma_map_m,
            "sigma_height_m": click.sigma_height_m,
        }  # fmt: skip
        known = {k: v for k, v in properties.items() if not (isinstance(v, float) and math.isnan(v))}
        point = {"type": "Point", "coordinates": [click.lon_deg, click.lat_deg]}
        features.append({"type": "Feature", "geometry": point, "properties": known})
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1) + "\n"


def clicks_gcp_list(clicks: Sequence[Click]) -> str:
    """OpenSfM's and ODM's list: `x y z u v image name`, separated by tabs; z is NaN where no height is known."""
    lines = ["WGS84"]
    for click in clicks:
        height = "NaN" if math.isnan(click.height_m) else repr(click.height_m)
        fields = [repr(click.lon_deg), repr(click.lat_deg), height, repr(click.u_px), repr(click.v_px)]
        lines.append("\t".join([*fields, _one_line(click.image), _one_line(click.landmark)]))
    return "\n".join(lines) + "\n"


def clicks_qgis(clicks: Sequence[Click], image: str) -> str:
    """The .points file of one image. InputError when it has no clicks."""
    own = [click for click in clicks if click.image == image]
    if not own:
        raise InputError(f"image {image[:60]}: no clicks to export")
    text = io.StringIO()
    text.write(f"#CRS: {WGS84_WKT}\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["mapX", "mapY", "sourceX", "sourceY", "enable"])
    for click in own:
        place = (repr(click.lon_deg), repr(click.lat_deg))
        rows.writerow([*place, repr(click.u_px + QGIS_HALF_PIXEL), repr(-click.v_px - QGIS_HALF_PIXEL), 1])
    return text.getvalue()


def _one_line(text: str) -> str:
    return " ".join(text.split())
