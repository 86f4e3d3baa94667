"""A fake Panoramax instance on a real socket: search by box and time, with or without pages, pictures behind redirects.

Shapes of answers: docs/panoramax.md. A limit without a next page is what instances do, pages what a federation does.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from geocorrect.demo.mapillary_server.server import FakeMapillaryServer, FakeReply, FakeRequest, Fault, json_reply

WEST, SOUTH = 12.5, 41.9
STEP_DEG = 0.0002
VIA = "https://panoramax.example.org"


def picture_id(index: int) -> str:
    """A UUID."""
    return str(uuid.UUID(int=0xABC0 << 112 | index))


def item(index: int, **changes: Any) -> dict[str, Any]:
    """One picture, every one 17 m further east; sequences of ten. `changes` go into the properties."""
    properties = {
        "datetime": f"2024-05-{1 + index // 60:02d}T10:{index % 60:02d}:00+00:00",
        "updated": "2024-06-01T00:00:00+00:00",
        "license": "etalab-2.0" if index % 2 else "CC-BY-SA-4.0",
        "view:azimuth": 90,
        "pers:interior_orientation": {
            "camera_manufacturer": "Acme", "camera_model": "Cam", "field_of_view": 90,
            "sensor_array_dimensions": [64, 48],
        },
        "quality:horizontal_accuracy": 2.5,
        "geovisio:producer": f"user {index % 3}",
    }  # fmt: skip
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": picture_id(index),
        "geometry": {"type": "Point", "coordinates": [WEST + STEP_DEG * index, SOUTH]},
        "collection": str(uuid.UUID(int=index // 10)),
        "providers": [{"name": f"user {index % 3}", "roles": ["producer"], "id": "x"}],
        "properties": {name: value for name, value in (properties | changes).items() if value is not ...},
        "links": [{"rel": "via", "href": f"{VIA}/api/collections/c/items/{picture_id(index)}"}],
    }


class FakePanoramax(FakeMapillaryServer):
    """The service as a context manager; `asked` are its requests in order."""

    def __init__(
        self, items: list[dict[str, Any]], picture: bytes, *, pages: bool = False, fault: Fault | None = None
    ) -> None:
        super().__init__([], {})
        self.items, self.picture, self.pages, self.panoramax_fault = items, picture, pages, fault
        self.asked: list[FakeRequest] = []

    @property
    def url(self) -> str:
        """Root of the API."""
        return f"{self.root_url}/api"

    def count(self, role: str) -> int:
        """Requests so far: "api", "pictures" or "store"."""
        return sum(request.role == role for request in self.asked)

    def answer(self, role: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> FakeReply:
        """The reply to a request, faults first."""
        request = FakeRequest(role, path, query, headers, len(self.asked) + 1)
        with self._lock:
            self.asked.append(request)
        if self.panoramax_fault is not None and (reply := self.panoramax_fault(request)) is not None:
            return reply
        if role == "api" and path == "search":
            return self._search(query)
        if role == "pictures":
            return FakeReply(302, b"", {"Location": f"/store/{path}"})
        return FakeReply(200, self.picture, {"Content-Type": "image/jpeg"}) if role == "store" else FakeReply(404)

    def _search(self, query: Mapping[str, str]) -> FakeReply:
        west, south, east, north = (float(value) for value in query["bbox"].split(","))
        limit, first = int(query["limit"]), int(query.get("offset", 0))
        since = query.get("datetime", "").split("/")[0]
        found = [one for one in self.items if _inside(one, west, south, east, north)]
        found = [one for one in found if not since or one["properties"]["datetime"] >= since]
        some = [self._with_assets(one) for one in found[first : first + limit]]
        links = []
        if self.pages and first + limit < len(found):
            rest = f"bbox={query['bbox']}&limit={limit}&offset={first + limit}"
            links.append({"rel": "next", "href": f"{self.url}/search?{rest}"})
        return json_reply({"type": "FeatureCollection", "features": some, "links": links})

    def _with_assets(self, one: dict[str, Any]) -> dict[str, Any]:
        names = ("hd", "sd", "thumb")
        return {"assets": {n: {"href": f"{self.root_url}/pictures/{one['id']}/{n}.jpg"} for n in names}} | one


def _inside(one: dict[str, Any], west: float, south: float, east: float, north: float) -> bool:
    lon, lat = one["geometry"]["coordinates"][:2]
    return bool(west <= lon <= east and south <= lat <= north)
