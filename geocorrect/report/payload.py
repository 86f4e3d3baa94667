"""The photos as the page's scripts read them: one array per property, whole numbers, repeated texts listed once.

Degrees are in units of 1e-8 (1 mm) from the frame's origin, a corrected place from its reported one where there is one;
errors in millimetres, displacements and heights in centimetres, headings in tenths of a degree, times in seconds since
the first photo; null = unknown, and a column that is null throughout is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from geocorrect.catalog.views.palette import ERROR_CLASSES, STATUS_COLOURS
from geocorrect.errors import Reason, Status
from geocorrect.geometry.frame import Frame
from geocorrect.records import NAN, Float
from geocorrect.report.contents import Contents, Photo
from geocorrect.report.provenance import safe_url
from geocorrect.report.truth import LonLat
from geocorrect.report.wording import shortened

DEGREE_UNIT = 1e-8
MAX_ANCHORS = 4000
"""More are thinned out evenly on the map; the legend says so."""
DETAIL_LENGTH = 140
Column = list[int | None] | None
STATUSES = tuple(status.value for status in Status)


def payload(contents: Contents) -> dict[str, Any]:
    """Plain values for JSON."""
    origin = contents.frame
    east, north = metres_per_degree(origin)
    return {
        "origin": [origin.lon_deg, origin.lat_deg],
        "metresPerDegree": [round(east, 3), round(north, 3)],
        "statuses": STATUSES,
        "statusColours": STATUS_COLOURS,
        # Upper limits in metres; the last has none.
        "errorClasses": [[limit if math.isfinite(limit) else None, colour] for limit, colour in ERROR_CLASSES],
        "reasonTexts": {str(reason): reason.text for reason in Reason},
        "hasTruth": contents.has_truth,
        "nAnchors": len(contents.anchors),
        "anchors": _line(origin, contents.anchors),
        "routes": [_line(origin, line) for line in contents.routes],
        "outlines": [_from_origin(origin, ring).astype(int).tolist() for ring in contents.outlines],
        **_photo_columns(contents.photos, origin),
    }


def metres_per_degree(origin: Frame) -> tuple[float, float]:
    """Metres per degree of longitude and of latitude at the origin: the map's plane."""
    step = 1e-4
    here = Frame("here", origin.lon_deg, origin.lat_deg)
    lat_step = step if origin.lat_deg < 0 else -step
    east = math.hypot(*here.enu_from_wgs84(origin.lon_deg + step, origin.lat_deg, 0.0)[:2])
    north = math.hypot(*here.enu_from_wgs84(origin.lon_deg, origin.lat_deg + lat_step, 0.0)[:2])
    return east / step, north / step


def _photo_columns(photos: Sequence[Photo], origin: Frame) -> dict[str, Any]:
    def numbers(value: Callable[[Photo], float], unit: float) -> Column:
        return _column((value(photo) for photo in photos), unit)

    def texts(value: Callable[[Photo], str]) -> dict[str, Any]:
        """Distinct texts, sorted, and per photo the index of its own; an empty text is null."""
        listed = [value(photo) for photo in photos]
        names = sorted({text for text in listed if text})
        place = {name: index for index, name in enumerate(names)}
        return {"names": names, "index": [place.get(text) for text in listed]}

    taken = [None if (moment := photo.stored.captured_at) is None else int(moment.timestamp()) for photo in photos]
    first = min((seconds for seconds in taken if seconds is not None), default=0)
    return {
        "id": [photo.stored.image_id for photo in photos],
        "status": [STATUSES.index(photo.status) for photo in photos],
        "sequence": texts(lambda p: p.sequence),
        "device": texts(lambda p: p.device),
        "reason": texts(lambda p: p.stored.reason or ""),
        "detail": texts(lambda p: shortened(p.stored.detail, DETAIL_LENGTH)),
        "creator": texts(lambda p: shortened(p.stored.attribution.creator)),
        "licence": texts(lambda p: shortened(p.stored.attribution.licence)),
        # The page's address with {} for the photo's id: thousands of addresses become one.
        "page": texts(lambda p: safe_url(p.stored.attribution.page_url).replace(p.stored.image_id, "{}")),
        "firstTime": first,
        "time": [None if seconds is None else seconds - first for seconds in taken],
        **_places(photos, origin),
        "rHeading": numbers(lambda p: p.stored.reported_heading_deg, 0.1),
        "cHeading": numbers(lambda p: p.stored.heading_deg, 0.1),
        "height": numbers(lambda p: p.stored.height_m, 0.01),
        "fromComputed": numbers(lambda p: p.from_computed_m, 0.01),
        "moved": numbers(lambda p: p.stored.displacement_m, 0.01),
        "expected": numbers(lambda p: p.expected_error_m, 0.001),
        "semiMajor": numbers(lambda p: p.stored.semi_major_m, 0.001),
        "semiMinor": numbers(lambda p: p.stored.semi_minor_m, 0.001),
        "azimuth": numbers(lambda p: p.stored.ellipse_azimuth_deg, 1.0),
        "inliers": [photo.stored.n_inliers for photo in photos],
        "views": [photo.stored.n_anchors for photo in photos],
        "trueError": numbers(lambda p: p.true_error_m, 0.001),
        "tail": numbers(lambda p: p.tail, 0.001),
    }


def _places(photos: Sequence[Photo], origin: Frame) -> dict[str, Column]:
    """Reported places from the origin, corrected, the provider's computed (k) and true ones from the reported."""
    reported = _from_origin(origin, [photo.reported_place for photo in photos])
    base = np.nan_to_num(reported)
    corrected = _from_origin(origin, [photo.place for photo in photos]) - base
    true = [(NAN, NAN) if p.truth is None else (p.truth.lon_deg, p.truth.lat_deg) for p in photos]
    computed = _from_origin(origin, [photo.computed_place for photo in photos]) - base
    places = {"r": reported, "c": corrected, "k": computed, "t": _from_origin(origin, true) - base}
    return {f"{k}{axis}": _column(at[:, i]) for k, at in places.items() for i, axis in enumerate(("Lon", "Lat"))}


def _column(values: Iterable[float], unit: float = 1.0) -> Column:
    """Whole units, null where unknown; null for a column in which nothing is known."""
    column = [round(value / unit) if math.isfinite(value) else None for value in values]
    return None if all(value is None for value in column) else column


def _line(origin: Frame, places: Sequence[LonLat]) -> list[list[int]]:
    """At most MAX_ANCHORS of the places, in units from the origin."""
    thinned = places[:: -(-len(places) // MAX_ANCHORS)] if places else places
    line: list[list[int]] = _from_origin(origin, thinned).astype(int).tolist()
    return line


def _from_origin(origin: Frame, places: Sequence[LonLat]) -> Float:
    """(N, 2) whole DEGREE_UNITs east and north of the origin, the short way round; nan where unknown."""
    offset_deg = np.array(places, float).reshape(-1, 2) - [origin.lon_deg, origin.lat_deg]
    offset_deg[:, 0] = (offset_deg[:, 0] + 180.0) % 360.0 - 180.0
    return np.round(offset_deg / DEGREE_UNIT)
