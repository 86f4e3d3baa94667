"""Clicks, residuals and the drive as map layers: GeoJSON (one file) or GeoPackage (three layers), WGS84 lon/lat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError
from geocorrect.georeference.problem import Float
from geocorrect.georeference.result import Georeference
from geocorrect.io.atomic_file import atomic_path

TRACK_POINTS = 400


def write_layer(result: Georeference, path: Path) -> None:
    """Write .geojson or .gpkg (whole or not at all); InputError for another suffix."""
    suffix = path.suffix.lower()
    if suffix not in {".geojson", ".gpkg"}:
        raise InputError(f"{path}: the layer can be .geojson or .gpkg")
    features = layer_features(result)
    with atomic_path(path) as unfinished:
        if suffix == ".geojson":
            collection = {"type": "FeatureCollection", "features": features}
            unfinished.write_text(json.dumps(collection), encoding="utf-8")
            return
        import geopandas

        for kind, layer in (("click", "clicks"), ("residual", "residuals"), ("drive", "drive")):
            rows = [feature for feature in features if feature["properties"]["kind"] == kind]
            if rows:
                frame = geopandas.GeoDataFrame.from_features(rows, crs="EPSG:4326")
                frame.to_file(unfinished, layer=layer, driver="GPKG")


def layer_features(result: Georeference) -> list[dict[str, Any]]:
    """GeoJSON features of kind click (points), residual (lines mark → reached) and drive (points with sigma_m)."""
    features = []
    for click in result.clicks:
        properties = {
            "image": click.image,
            "click": click.index,
            "u_px": click.u_px,
            "v_px": click.v_px,
            "residual_px": _rounded(click.residual_px),
            "residual_m": _rounded(click.residual_m),
            "outlier": click.outlier,
        }
        mark = _lon_lat(result, click.mark_m)
        features.append(_feature("Point", mark, {"kind": "click", **properties}))
        if np.isfinite(click.reached_m).all():
            line = [mark, _lon_lat(result, click.reached_m)]
            features.append(_feature("LineString", line, {"kind": "residual", **properties}))
    for place, sigma_m in zip(*result.track(TRACK_POINTS), strict=True):
        properties = {"kind": "drive", "sigma_m": round(float(sigma_m), 3)}
        features.append(_feature("Point", _lon_lat(result, place), properties))
    return features


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None


def _lon_lat(result: Georeference, place: Float) -> list[float]:
    lon, lat, _ = result.alignment.frame.wgs84_from_enu([place[0], place[1], 0.0])
    return [round(float(lon), 9), round(float(lat), 9)]


def _feature(kind: str, coordinates: Any, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}
