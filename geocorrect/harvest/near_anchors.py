"""The surroundings of the catalog's anchors as an area: photos elsewhere cannot be corrected."""

from __future__ import annotations

import numpy as np
import shapely

from geocorrect.catalog import Catalog
from geocorrect.errors import InputError
from geocorrect.harvest.area import Area
from geocorrect.records import Float

_QUARTER_SIDES = 8
"""Sides of a quarter of a disc."""


def area_around_anchors(catalog: Catalog, radius_m: float) -> Area:
    """The union of discs around all anchors, at least `radius_m` wide; InputError when there are no anchors."""
    frame, index = catalog.frame(), catalog.anchor_index()
    if frame is None or not index.ids:
        raise InputError(f"{catalog.address}: no anchors to harvest around; add some first (geocorrect anchors add)")
    # One disc for all anchors of a cell, wider by the half of its diagonal: a drive has an anchor every metre.
    cell_m = radius_m / 10.0
    cells = np.unique(np.round(index.enu_m[:, :2] / cell_m), axis=0) * cell_m
    # A buffer is a polygon in the circle; wider by this much, the circle lies in the polygon.
    inner = np.cos(np.pi / (4 * _QUARTER_SIDES))
    discs = shapely.buffer(shapely.points(cells), (radius_m + cell_m * np.sqrt(0.5)) / inner, quad_segs=_QUARTER_SIDES)

    def to_degrees(enu: Float) -> Float:
        lon, lat, _ = frame.wgs84_from_enu(np.column_stack([enu, np.zeros(len(enu))]))
        return np.column_stack([lon, lat])

    area = shapely.transform(shapely.union_all(discs), to_degrees)
    return Area.from_geojson(shapely.geometry.mapping(area), "the surroundings of the anchors")
