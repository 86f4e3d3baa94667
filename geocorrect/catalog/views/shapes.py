"""Lines and polygons of results, computed once, when stored: SQLite cannot, PostGIS would for every map window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.rows.result_columns import ImageFacts
from geocorrect.geometry.frame import WGS84_A_M, WGS84_E2, WGS84_F, ecef_from_wgs84

Float = NDArray[np.float64]
ELLIPSE_VERTICES = 36
WEDGE_VERTICES = 24
WEDGE_DEPTH_M = 30.0


def shape_columns(columns: Mapping[str, Any], facts: ImageFacts) -> dict[str, Any]:
    """Columns of `correction_shape` for columns of `correction`, only of the results that have a pose."""
    placed = np.flatnonzero(np.isfinite(columns["lon_deg"]))
    value = {name: np.asarray(columns[name])[placed] for name in NEEDED}
    lon, lat, known = value["lon_deg"], value["lat_deg"], facts.part(placed)
    ellipses = ellipse_outlines(lon, lat, value["semi_major_m"], value["semi_minor_m"], value["ellipse_azimuth_deg"])
    wedges = _projected(lon, lat, *_wedge_offsets(value["heading_deg"], known.horizontal_fov_deg))
    lines = displacement_lines(known.lon_deg, known.lat_deg, lon, lat)
    return {"fid": value["fid"], "displacement": lines, "ellipse": ellipses, "wedge": wedges}


NEEDED = ("fid", "lon_deg", "lat_deg", "semi_major_m", "semi_minor_m", "ellipse_azimuth_deg", "heading_deg")
"""The columns of `correction` that shapes are made of."""


def ellipse_outlines(
    lon_deg: Float, lat_deg: Float, semi_major_m: Float, semi_minor_m: Float, azimuth_deg: Float
) -> Float:
    """(N, V + 1, 2) closed outlines, longitude and latitude, of ellipses around (N,) places."""
    return _projected(lon_deg, lat_deg, *_ellipse_offsets(semi_major_m, semi_minor_m, azimuth_deg))


def displacement_lines(reported_lon_deg: Float, reported_lat_deg: Float, lon_deg: Float, lat_deg: Float) -> Float:
    """(N, 2, 2) lines from the reported to the corrected places; the end is on the start's side of ±180."""
    start = np.stack([reported_lon_deg, reported_lat_deg], axis=1)
    return np.stack([start, np.stack([_beside(lon_deg, reported_lon_deg), lat_deg], axis=1)], axis=1)


def _ellipse_offsets(semi_major_m: Float, semi_minor_m: Float, azimuth_deg: Float) -> tuple[Float, Float]:
    """(N, V + 1) metres east and north of the closed outline."""
    t = np.radians(np.arange(ELLIPSE_VERTICES + 1) % ELLIPSE_VERTICES * 360.0 / ELLIPSE_VERTICES)
    along, across = semi_major_m[:, None] * np.cos(t), semi_minor_m[:, None] * np.sin(t)
    turn = np.radians(azimuth_deg)[:, None]
    return along * np.sin(turn) + across * np.cos(turn), along * np.cos(turn) - across * np.sin(turn)


def _wedge_offsets(heading_deg: Float, fov_deg: Float) -> tuple[Float, Float]:
    """(N, V + 2) metres east and north: centre, arc, centre; a full circle has no centre."""
    k = np.arange(WEDGE_VERTICES + 2)
    arc = fov_deg[:, None] * ((k - 1) / (WEDGE_VERTICES - 1) - 0.5)
    circle = np.broadcast_to(360.0 * (k % (WEDGE_VERTICES + 1)) / (WEDGE_VERTICES + 1), arc.shape)
    is_circle = (fov_deg >= 360.0)[:, None]
    azimuth = np.radians(heading_deg[:, None] + np.where(is_circle, circle, arc))
    is_centre = ~is_circle & ((k == 0) | (k == WEDGE_VERTICES + 1))[None, :]
    depth = np.where(is_centre, 0.0, WEDGE_DEPTH_M)
    return depth * np.sin(azimuth), depth * np.cos(azimuth)


def _projected(lon_deg: Float, lat_deg: Float, east_m: Float, north_m: Float) -> Float:
    """(N, V, 2) longitude and latitude of places given in metres around (N,) centres.

    Through the tangent plane of the centre: exact to 0.1 mm at 100 m, right at any latitude, poles included.
    """
    lon, lat = np.radians(lon_deg)[:, None], np.radians(lat_deg)[:, None]
    sin_lon, cos_lon, sin_lat, cos_lat = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
    x_m, y_m = -sin_lon * east_m - sin_lat * cos_lon * north_m, cos_lon * east_m - sin_lat * sin_lon * north_m
    offset = np.stack([x_m, y_m, cos_lat * north_m], axis=-1)
    centre = ecef_from_wgs84(lon_deg, lat_deg, np.zeros_like(lon_deg))
    lons, lats = _near_the_ellipsoid(centre[:, None, :] + offset)
    return _cut_open_at_poles(np.stack([_beside(lons, lon_deg[:, None]), lats], axis=-1))


def _cut_open_at_poles(outlines: Float) -> Float:
    """On a map of longitude and latitude, a shape around a pole is the strip between its outline and the map's edge."""
    steps = (np.diff(outlines[:, :, 0], axis=1) + 180.0) % 360.0 - 180.0
    for row in np.flatnonzero(np.abs(steps.sum(axis=1)) > 180.0):
        lon, lat = outlines[row].T
        along = np.linspace(-180.0, 180.0, len(lon) - 3)
        edge = np.copysign(90.0, lat[0])
        border = np.stack([along, np.interp(along, lon, lat, period=360.0)], axis=1)
        outlines[row] = np.concatenate([border, [(180.0, edge), (-180.0, edge)], border[:1]])
    return outlines


def _near_the_ellipsoid(ecef_m: Float) -> tuple[Float, Float]:
    """Longitude and latitude, degrees; Bowring (1976), one step: exact to 1e-11 rad near the ellipsoid."""
    x, y, z = ecef_m[..., 0], ecef_m[..., 1], ecef_m[..., 2]
    rho, b = np.hypot(x, y), WGS84_A_M * (1 - WGS84_F)
    tangent = z * WGS84_A_M / np.maximum(rho * b, 1e-9)
    cosine = 1 / np.sqrt(1 + tangent * tangent)
    sine = tangent * cosine
    lat = np.arctan2(z + WGS84_E2 / (1 - WGS84_E2) * b * sine**3, rho - WGS84_E2 * WGS84_A_M * cosine**3)
    return np.degrees(np.arctan2(y, x)), np.degrees(lat)


def _beside(lon_deg: Float, reference_deg: Float) -> Float:
    """Longitudes on the same side of the antimeridian as their reference, beyond ±180 where need be."""
    difference = lon_deg - reference_deg
    beside: Float = lon_deg - 360.0 * (difference > 180.0) + 360.0 * (difference < -180.0)
    return beside
