"""The OpenAPI 3.0 document of the features: made from the collections, so that it says what is there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from geocorrect import __version__
from geocorrect.catalog.served.features import COLLECTIONS, Collection

GEOJSON = "application/geo+json"
OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", datetime: "string"}


def openapi_document(address: str) -> dict[str, Any]:
    """The document of a server whose landing page has this address."""
    paths: dict[str, Any] = {
        "": _get("The landing page", "landing", "application/json"),
        "/api": _get("This document", "api", OPENAPI),
        "/conformance": _get("What the server conforms to", "conformance", "application/json"),
        "/collections": _get("The collections", "collections", "application/json"),
    }
    for name, kind in COLLECTIONS.items():
        base = f"/collections/{name}"
        paths[base] = _get(kind.title, f"{name}_collection", "application/json")
        paths[f"{base}/items"] = _get(kind.description, f"{name}_items", GEOJSON, _parameters(kind), name)
        key = _parameter("featureId", "Integer key of the feature", {"type": "integer"}, place="path")
        paths[f"{base}/items/{{featureId}}"] = _get("A feature", f"{name}_item", GEOJSON, [key], f"{name}_feature")
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Corrected street photos", "version": __version__,
            "description": "OGC API – Features 1.0 (core, GeoJSON), read-only.",
        },
        "servers": [{"url": address}],
        "paths": {path or "/": operations for path, operations in paths.items()},
        "components": {"schemas": _schemas()},
    }  # fmt: skip


def _get(
    summary: str, name: str, media_type: str, parameters: list[dict[str, Any]] | None = None, schema: str = ""
) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}}
    refused = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/problem"}}}}
    answers: dict[str, Any] = {
        "200": {"description": summary, "content": {media_type: content}},
        "400": {"description": "A parameter is unknown or wrong", **refused},
    }
    if schema:
        answers["404"] = {"description": "There is no such collection or feature", **refused}
    return {"get": {"summary": summary, "operationId": name, "parameters": parameters or [], "responses": answers}}


def _parameters(kind: Collection) -> list[dict[str, Any]]:
    numbers = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6}
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    after = {"type": "integer", "minimum": 0}
    return [
        {**_parameter("bbox", "West, south, east, north in degrees; six numbers with heights", numbers),
         "style": "form", "explode": False},
        _parameter("datetime", "When the photo was taken: a moment, a day, or an interval; .. is open",
                   {"type": "string"}),
        _parameter("limit", "Features of a page", limit),
        _parameter("after", "Features with larger keys; as links of the kind `next` have it", after),
        *(_parameter(name, f"Only features of this {name}", {"type": "string"}) for name in kind.equals),
    ]  # fmt: skip


def _parameter(name: str, description: str, schema: Mapping[str, Any], place: str = "query") -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "required": place == "path", "schema": schema}


def _schemas() -> dict[str, Any]:
    links = {"type": "array", "items": {"type": "object", "required": ["href", "rel"]}}
    schemas: dict[str, Any] = {
        "problem": {
            "type": "object",
            "required": ["code"],
            "properties": {"code": {"type": "string"}, "description": {"type": "string"}},
        }
    }
    for name, kind in COLLECTIONS.items():
        feature = {"$ref": f"#/components/schemas/{name}_feature"}
        schemas[f"{name}_feature"] = _feature(kind, links)
        schemas[name] = {
            "type": "object",
            "required": ["type", "features", "links", "numberReturned", "timeStamp"],
            "properties": {
                "type": {"type": "string", "enum": ["FeatureCollection"]},
                "features": {"type": "array", "items": feature},
                "links": links,
                "numberReturned": {"type": "integer"},
                "timeStamp": {"type": "string", "format": "date-time"},
            },
        }
    return schemas


def _feature(kind: Collection, links: Mapping[str, Any]) -> dict[str, Any]:
    coordinates = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3}
    point = {
        "type": "object",
        "nullable": True,
        "required": ["type", "coordinates"],
        "properties": {"type": {"type": "string", "enum": ["Point"]}, "coordinates": coordinates},
    }
    properties = {
        name: {"type": _TYPES[of], "nullable": True, **({"format": "date-time"} if of is datetime else {})}
        for name, of in kind.properties.items()
    }
    return {
        "type": "object",
        "required": ["type", "id", "geometry", "properties"],
        "properties": {
            "type": {"type": "string", "enum": ["Feature"]},
            "id": {"type": "integer"},
            "geometry": point,
            "properties": {"type": "object", "properties": properties},
            "links": links,
        },
    }
