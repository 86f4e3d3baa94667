"""OGC API – Features 1.0, core and GeoJSON, under `/ogc`: collections of the catalog, read-only.

Links carry the address that the client used. Pages follow each other by the key of their last feature, so that rows
which are added meanwhile neither repeat nor hide a feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from geocorrect.catalog.rows.column_types import instant_text
from geocorrect.catalog.run import Box
from geocorrect.catalog.served.features import (
    COLLECTIONS,
    Collection,
    PageRequest,
    ServedFeature,
    read_feature,
    read_page,
)
from geocorrect.catalog.served.overview import read_extent_quickly
from geocorrect.export.features import ATTRIBUTION, PLACE_DIGITS, PROPERTIES
from geocorrect.serve.city.openapi import DEFAULT_LIMIT, GEOJSON, MAX_LIMIT, OPENAPI, openapi_document
from geocorrect.serve.city.parameters import Handler, bounding_box, checked, interval, problem, require_known
from geocorrect.serve.requests import count_in, json_answer, whole
from geocorrect.serve.state import ServeSettings

_CONFORMANCE = "http://www.opengis.net/spec/ogcapi-{}/1.0/conf/{}"
CONFORMS_TO = [
    _CONFORMANCE.format("common-1", "core"),
    *(_CONFORMANCE.format("features-1", name) for name in ("core", "oas30", "geojson")),
]
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
CRS84H = "http://www.opengis.net/def/crs/OGC/0/CRS84h"


def routes(state: ServeSettings) -> list[Route]:
    """Routes below `/ogc`."""
    handlers: dict[str, Handler] = {
        "": _landing,
        "/api": _api,
        "/conformance": _conformance,
        "/collections": partial(_collections, state),
        "/collections/{name}": partial(_collection, state),
        "/collections/{name}/items": partial(_items, state),
        "/collections/{name}/items/{fid}": partial(_item, state),
    }
    return [Route(f"/ogc{path}", checked(handler)) for path, handler in handlers.items()]


def _landing(request: Request) -> Response:
    require_known(request.query_params, ())
    links = [
        _link(request, "", "self", "application/json", "This document"),
        _link(request, "/api", "service-desc", OPENAPI, "The API"),
        _link(request, "/conformance", "conformance", "application/json", "What it conforms to"),
        _link(request, "/collections", "data", "application/json", "The collections"),
    ]
    return json_answer({"title": "Corrected street photos", "description": ATTRIBUTION, "links": links})


def _api(request: Request) -> Response:
    require_known(request.query_params, ())
    return json_answer(openapi_document(f"{request.base_url}ogc"), OPENAPI)


def _conformance(request: Request) -> Response:
    require_known(request.query_params, ())
    return json_answer({"conformsTo": CONFORMS_TO})


def _collections(state: ServeSettings, request: Request) -> Response:
    require_known(request.query_params, ())
    extent = read_extent_quickly(state.catalog)
    listed = [_described(request, name, extent) for name in COLLECTIONS]
    links = [_link(request, "/collections", "self", "application/json", "This document")]
    return json_answer({"links": links, "collections": listed})


def _collection(state: ServeSettings, request: Request) -> Response:
    name = request.path_params["name"]
    if name not in COLLECTIONS:
        return _no_collection(name)
    require_known(request.query_params, ())
    return json_answer(_described(request, name, read_extent_quickly(state.catalog)))


def _items(state: ServeSettings, request: Request) -> Response:
    name = request.path_params["name"]
    if name not in COLLECTIONS:
        return _no_collection(name)
    kind, query = COLLECTIONS[name], request.query_params
    require_known(query, ("bbox", "datetime", "limit", "after", *kind.equals))
    wanted = _page_request(query, kind)
    features, more = read_page(state.catalog, kind, wanted)
    path = f"/collections/{name}/items"
    links = [
        _link(request, path, "self", GEOJSON, "This page", query),
        _link(request, f"/collections/{name}", "collection", "application/json", kind.title),
    ]
    if more:
        following = {**query, "after": features[-1].fid}
        links.append(_link(request, path, "next", GEOJSON, "The next page", following))
    answer = {
        "type": "FeatureCollection",
        "timeStamp": instant_text(datetime.now(UTC)),
        "numberReturned": len(features),
        "links": links,
        "features": [_geojson(feature) for feature in features],
    }
    return json_answer(answer, GEOJSON)


def _item(state: ServeSettings, request: Request) -> Response:
    name, fid = request.path_params["name"], request.path_params["fid"]
    if name not in COLLECTIONS:
        return _no_collection(name)
    kind = COLLECTIONS[name]
    require_known(request.query_params, ())
    found = read_feature(state.catalog, kind, int(fid)) if fid.isascii() and fid.isdigit() and len(fid) < 19 else None
    if found is None:
        return problem(404, f"{name}: there is no feature {fid!r}")
    links = [
        _link(request, f"/collections/{name}/items/{fid}", "self", GEOJSON, "This feature"),
        _link(request, f"/collections/{name}", "collection", "application/json", kind.title),
    ]
    return json_answer({**_geojson(found), "links": links}, GEOJSON)


def _page_request(query: Mapping[str, str], kind: Collection) -> PageRequest:
    box, heights = bounding_box(query["bbox"]) if "bbox" in query else (None, None)
    start, end = interval(query["datetime"]) if "datetime" in query else (None, None)
    # A larger limit than the server's is no error (OGC API – Features, requirement 22).
    limit = min(whole("limit", query.get("limit", str(DEFAULT_LIMIT)), 1, 10**15), MAX_LIMIT)
    after = count_in(query, "after")
    equals = {name: query[name] for name in kind.equals if name in query}
    return PageRequest(limit, after, box, heights, start, end, equals)


def _described(request: Request, name: str, extent: Box | None) -> dict[str, Any]:
    kind = COLLECTIONS[name]
    if extent is not None:
        west, south, east, north = extent
        extent = (west, south, east - 360 if east > 180 else east, north)
    return {
        "id": name,
        "title": kind.title,
        "description": kind.description,
        "attribution": ATTRIBUTION,
        "itemType": "feature",
        "crs": [CRS84H if kind.has_height else CRS84],
        **({} if extent is None else {"extent": {"spatial": {"bbox": [extent], "crs": CRS84}}}),
        "links": [
            _link(request, f"/collections/{name}", "self", "application/json", kind.title),
            _link(request, f"/collections/{name}/items", "items", GEOJSON, "The features"),
        ],
    }


def _geojson(feature: ServedFeature) -> dict[str, Any]:
    """With as many decimals as exports have."""
    position = feature.position
    digits = PLACE_DIGITS.values()
    known = [round(x, d) for x, d in zip(position, digits, strict=False) if x is not None] if position else None
    return {
        "type": "Feature",
        "id": feature.fid,
        "geometry": {"type": "Point", "coordinates": known} if known else None,
        "properties": {
            name: round(value, PROPERTIES.get(name) or 3) if isinstance(value, float) else value
            for name, value in feature.properties.items()
        },
    }


def _no_collection(name: str) -> Response:
    return problem(404, f"there is no collection {name!r}; there are {', '.join(COLLECTIONS)}")


def _link(
    request: Request, path: str, rel: str, media_type: str, title: str, query: Mapping[str, Any] | None = None
) -> dict[str, str]:
    asked = f"?{urlencode(dict(query))}" if query else ""
    return {"href": f"{request.base_url}ogc{path}{asked}", "rel": rel, "type": media_type, "title": title}
