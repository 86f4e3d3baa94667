"""The photos as the page's scripts read them: one array per property, whole numbers, repeated texts listed once.

Degrees are in units of 1e-8 (1 mm) from the frame's origin, a corrected place from its reported one where there is one;
errors in millimetres, displacements and heights in centimetres, headings in tenths of a degree, times in seconds since
the first photo; null = unknown, and a column that is null throughout is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from geocorrect.errors import Reason, Status
from geocorrect.geometry.frame import Frame
from geocorrect.report.contents import Contents, Photo
from geocorrect.report.provenance import safe_url
from geocorrect.report.truth import LonLat
from geocorrect.report.wording import shortened

DEGREE_UNIT = 1e-8
MAX_ANCHORS = 4000
"""More are thinned out evenly on the map; the legend says so."""
DETAIL_LENGTH = 140
STATUSES = tuple(status.value for status in Status)


def payload(contents: Contents) -> dict[str, Any]:
    """Plain values for JSON."""
    origin = contents.frame
    east, north = metres_per_degree(origin)
    anchors = _thinned(contents.anchors)
    return {
        "origin": [origin.lon_deg, origin.lat_deg],
        "metresPerDegree": [round(east, 3), round(north, 3)],
        "statuses": STATUSES,
        "reasonTexts": {str(reason): reason.text for reason in Reason},
        "hasTruth": contents.has_truth,
        "nAnchors": len(contents.anchors),
        "anchors": [_from_origin(origin, *place) for place in anchors],
        "routes": [[_from_origin(origin, *place) for place in line] for line in map(_thinned, contents.routes)],
        "outlines": [[_from_origin(origin, *place) for place in ring] for ring in contents.outlines],
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
    return {
        "id": [photo.stored.image_id for photo in photos],
        "status": [STATUSES.index(photo.status) for photo in photos],
        "sequence": _indexed(photos, lambda photo: photo.sequence),
        "device": _indexed(photos, lambda photo: photo.device),
        "reason": _indexed(photos, lambda photo: photo.stored.reason or ""),
        "detail": _indexed(photos, lambda photo: shortened(photo.stored.detail, DETAIL_LENGTH)),
        "creator": _indexed(photos, lambda photo: shortened(photo.stored.attribution.creator)),
        "licence": _indexed(photos, lambda photo: shortened(photo.stored.attribution.licence)),
        "page": _indexed(photos, _page_pattern),
        **_times(photos),
        **_places(photos, origin),
        **_measures(photos),
    }


def _times(photos: Sequence[Photo]) -> dict[str, Any]:
    """Whole seconds since the first photo."""
    taken = [None if (moment := photo.stored.captured_at) is None else int(moment.timestamp()) for photo in photos]
    first = min((seconds for seconds in taken if seconds is not None), default=0)
    return {"firstTime": first, "time": [None if seconds is None else seconds - first for seconds in taken]}


def _places(photos: Sequence[Photo], origin: Frame) -> dict[str, Any]:
    columns: dict[str, list[int | None]] = {name: [] for name in ("rLon", "rLat", "cLon", "cLat", "tLon", "tLat")}
    for photo in photos:
        reported = _from_origin(origin, photo.stored.reported_lon_deg, photo.stored.reported_lat_deg)
        corrected = _from_origin(origin, photo.stored.lon_deg, photo.stored.lat_deg)
        truth = photo.truth
        true = [None, None] if truth is None else _from_origin(origin, truth.lon_deg, truth.lat_deg)
        for prefix, pair in (("r", reported), ("c", _minus(corrected, reported)), ("t", _minus(true, reported))):
            columns[f"{prefix}Lon"].append(pair[0])
            columns[f"{prefix}Lat"].append(pair[1])
    return {name: _or_none(column) for name, column in columns.items()}


def _measures(photos: Sequence[Photo]) -> dict[str, Any]:
    def column(value: Callable[[Photo], float], unit: float) -> list[int | None] | None:
        return _or_none([_whole(value(photo), unit) for photo in photos])

    return {
        "rHeading": column(lambda p: p.stored.reported_heading_deg, 0.1),
        "cHeading": column(lambda p: p.stored.heading_deg, 0.1),
        "height": column(lambda p: p.stored.height_m, 0.01),
        "moved": column(lambda p: p.stored.displacement_m, 0.01),
        "expected": column(lambda p: p.expected_error_m, 0.001),
        "semiMajor": column(lambda p: p.stored.semi_major_m, 0.001),
        "semiMinor": column(lambda p: p.stored.semi_minor_m, 0.001),
        "azimuth": column(lambda p: p.stored.ellipse_azimuth_deg, 1.0),
        "inliers": [photo.stored.n_inliers for photo in photos],
        "views": [photo.stored.n_anchors for photo in photos],
        "trueError": column(lambda p: p.true_error_m, 0.001),
        "tail": column(lambda p: p.tail, 0.001),
    }


def _or_none(column: list[int | None]) -> list[int | None] | None:
    """None for a column in which nothing is known."""
    return None if all(value is None for value in column) else column


def _indexed(photos: Sequence[Photo], value: Callable[[Photo], str]) -> dict[str, Any]:
    """Distinct texts, sorted, and per photo the index of its own; an empty text is null."""
    texts = [value(photo) for photo in photos]
    names = sorted({text for text in texts if text})
    place = {name: index for index, name in enumerate(names)}
    return {"names": names, "index": [place.get(text) for text in texts]}


def _page_pattern(photo: Photo) -> str:
    """The page's address with {} for the photo's id: thousands of addresses become one."""
    return safe_url(photo.stored.attribution.page_url).replace(photo.stored.image_id, "{}")


def _from_origin(origin: Frame, lon_deg: float, lat_deg: float) -> list[int | None]:
    around = (lon_deg - origin.lon_deg + 180.0) % 360.0 - 180.0
    return [_whole(around, DEGREE_UNIT), _whole(lat_deg - origin.lat_deg, DEGREE_UNIT)]


def _minus(place: Iterable[int | None], base: Iterable[int | None]) -> list[int | None]:
    return [None if a is None else a - (b or 0) for a, b in zip(place, base, strict=True)]


def _whole(value: float, unit: float) -> int | None:
    return round(value / unit) if math.isfinite(value) else None


def _thinned(places: Sequence[LonLat]) -> Sequence[LonLat]:
    return places[:: -(-len(places) // MAX_ANCHORS)] if places else places
