"""What a Mapillary-like service answers: image search, sequences, entities and vector tiles of a known world.

Pure functions of the data; `server` puts them on the wire. Shapes, limits and error bodies: docs/mapillary_api.md.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import mercantile

Json = dict[str, Any]

MAX_BOX_SIDE_DEG = 0.01
MAX_RESULTS = 2000
MAX_BATCH = 50
TILE_ZOOM = 14
TILE_EXTENT = 4096
THUMB_SIZES = ("256", "1024", "2048", "original")
THUMB_FIELDS = tuple(f"thumb_{size}_url" for size in THUMB_SIZES)
KNOWN_FIELDS = frozenset(
    (
        *("id", "altitude", "atomic_scale", "camera_parameters", "camera_type", "captured_at", "compass_angle"),
        *("computed_altitude", "computed_compass_angle", "computed_geometry", "computed_rotation", "creator"),
        *("detections", "exif_orientation", "geometry", "height", "is_pano", "make", "merge_cc", "mesh", "model"),
        *("organization", "quality_score", "sequence", "sfm_cluster", "width", *THUMB_FIELDS),
    )
)


class GraphRefusalError(Exception):
    """An answer that is an error envelope: HTTP status, code, optional subcode, message."""

    def __init__(self, status: int, code: int, message: str, subcode: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        error: Json = {"message": message, "type": "MLYApiException", "code": code}
        if subcode is not None:
            error["error_subcode"] = subcode
        self.body: Json = {"error": {**error, "fbtrace_id": "fake"}}


class FakeMapillaryData:
    """The images of the service, indexed as its endpoints need them; arguments as those of the server.

    Attributes:
        other_types: node type by id, for ids that are listed as images but are something else.
        failing: ids that the service fails on (HTTP 500), alone and in company.
        detections: what its networks found, by image id; see `detection`.
    """

    def __init__(self, images: Sequence[Mapping[str, Any]], bbox_share: float = 1.0) -> None:
        self.images: dict[str, Json] = {str(image["id"]): dict(image) for image in images}
        self.bbox_share = bbox_share
        self.other_types: dict[str, str] = {}
        self.failing: set[str] = set()
        self.detections: dict[str, list[Json]] = {}
        self.sequences: dict[str, list[str]] = defaultdict(list)
        for image in sorted(self.images.values(), key=lambda entry: entry.get("captured_at", 0)):
            if "sequence" in image:
                self.sequences[image["sequence"]].append(str(image["id"]))
        self._tiles: dict[str, dict[tuple[int, int], list[str]]] = {
            layer: self._ids_by_tile(key)
            for layer, key in (("mly1_public", "geometry"), ("mly1_computed_public", "computed_geometry"))
        }

    def entity(self, image_id: str, fields: Sequence[str]) -> Json:
        """One image with the fields asked for; `id` always. GraphRefusalError 100/33 when there is none."""
        if image_id in self.failing:
            raise GraphRefusalError(500, 2, "Service temporarily unavailable")
        node_type = self.other_types.get(image_id, "Image")
        unknown = [name for name in fields if name not in (KNOWN_FIELDS if node_type == "Image" else {"id"})]
        if unknown:
            message = f"Tried accessing nonexisting field ({unknown[0]}) on node type ({node_type})"
            raise GraphRefusalError(400, 100, message)
        image = self.images.get(image_id)
        if image is None:
            message = f"Unsupported get request. Object with ID '{image_id}' does not exist"
            raise GraphRefusalError(400, 100, message, subcode=33)
        return {"id": image_id, **{name: image[name] for name in fields if name in image}}

    def batch(self, image_ids: Sequence[str], fields: Sequence[str]) -> list[Json]:
        """Up to 50 images by id; one unknown id fails the whole call, as it does in reality."""
        if len(image_ids) > MAX_BATCH:
            raise GraphRefusalError(400, 100, f"Too many ids: {len(image_ids)}")
        return [self.entity(image_id, fields) for image_id in image_ids]

    def sequence(self, key: str) -> list[Json]:
        """Ids of a sequence in capture order; empty for an unknown key."""
        return [{"id": image_id} for image_id in self.sequences.get(key, [])]

    def search(self, box: Sequence[float], fields: Sequence[str], limit: int) -> list[Json]:
        """Images whose raw position lies in (west, south, east, north): a sample, without any truncation flag."""
        west, south, east, north = box
        if not (0 < east - west < MAX_BOX_SIDE_DEG and 0 < north - south < MAX_BOX_SIDE_DEG):
            raise GraphRefusalError(400, 100, "The bounding box is empty or larger than 0.01 degrees square")
        found = []
        for tile in mercantile.tiles(west, south, east, north, TILE_ZOOM):
            for image_id in self._tiles["mly1_public"].get((tile.x, tile.y), []):
                lon, lat = self.images[image_id]["geometry"]["coordinates"]
                if west <= lon <= east and south <= lat <= north and self._sampled(image_id):
                    found.append(image_id)
        return [self.entity(image_id, fields) for image_id in found[: min(limit, MAX_RESULTS)]]

    def tile(self, layer: str, x: int, y: int) -> bytes:
        """A z14 vector tile with the layers `sequence` and `image`; empty bytes where there is no image."""
        import mapbox_vector_tile

        ids = self._tiles.get(layer, {}).get((x, y), [])
        if not ids:
            return b""
        key = "geometry" if layer == "mly1_public" else "computed_geometry"
        points = {image_id: _pixel_in_tile(self.images[image_id][key]["coordinates"], x, y) for image_id in ids}
        layers = [
            {"name": "sequence", "features": self._lines(points)},
            {"name": "image", "features": [self._point(image_id, pixel) for image_id, pixel in points.items()]},
        ]
        return bytes(mapbox_vector_tile.encode(layers, default_options={"y_coord_down": True}))

    def _sampled(self, image_id: str) -> bool:
        digest = hashlib.sha256(image_id.encode()).digest()
        return int.from_bytes(digest[:4], "big") < self.bbox_share * 2**32

    def _ids_by_tile(self, key: str) -> dict[tuple[int, int], list[str]]:
        tiles: dict[tuple[int, int], list[str]] = defaultdict(list)
        for image_id, image in self.images.items():
            if coordinates := (image.get(key) or {}).get("coordinates"):
                tile = mercantile.tile(*coordinates, TILE_ZOOM)
                tiles[tile.x, tile.y].append(image_id)
        return tiles

    def _point(self, image_id: str, pixel: tuple[int, int]) -> Json:
        image = self.images[image_id]
        properties = {
            "captured_at": int(image.get("captured_at", 0)),
            "compass_angle": int(image.get("compass_angle", 0) or 0),
            "id": int(image_id),
            "is_pano": bool(image.get("is_pano", False)),
        }
        if "sequence" in image:
            properties["sequence_id"] = image["sequence"]
        return {"geometry": f"POINT ({pixel[0]} {pixel[1]})", "properties": properties}

    def _lines(self, points: Mapping[str, tuple[int, int]]) -> list[Json]:
        by_sequence: dict[str, list[str]] = defaultdict(list)
        for image_id in points:
            if "sequence" in self.images[image_id]:
                by_sequence[self.images[image_id]["sequence"]].append(image_id)
        features = []
        for key, ids in by_sequence.items():
            ids.sort(key=lambda image_id: self.images[image_id].get("captured_at", 0))
            if len({points[image_id] for image_id in ids}) < 2:
                continue
            line = ", ".join(f"{points[image_id][0]} {points[image_id][1]}" for image_id in ids)
            properties = {"id": key, "image_id": int(ids[0]), "captured_at": 0, "is_pano": False}
            features.append({"geometry": f"LINESTRING ({line})", "properties": properties})
        return features


def detection(value: str, outline: Sequence[tuple[float, float]]) -> Json:
    """A detected object; outline: in shares of the upright picture's width and height, from its upper left corner."""
    import mapbox_vector_tile

    ring = ", ".join(f"{round(x * TILE_EXTENT)} {round(y * TILE_EXTENT)}" for x, y in [*outline, outline[0]])
    layer = {"name": "mpy-or", "features": [{"geometry": f"POLYGON (({ring}))", "properties": {}}]}
    content = mapbox_vector_tile.encode([layer], default_options={"y_coord_down": True})
    return {"id": "1", "value": value, "geometry": base64.b64encode(content).decode()}


def _pixel_in_tile(coordinates: Sequence[float], x: int, y: int) -> tuple[int, int]:
    """Tile coordinates 0…4095, y down, as the real tiles have them (no buffer around the tile)."""
    bounds = mercantile.xy_bounds(x, y, TILE_ZOOM)
    east_m, north_m = mercantile.xy(*coordinates)
    column = (east_m - bounds.left) / (bounds.right - bounds.left) * TILE_EXTENT
    row = (bounds.top - north_m) / (bounds.top - bounds.bottom) * TILE_EXTENT
    return min(max(int(column), 0), TILE_EXTENT - 1), min(max(int(row), 0), TILE_EXTENT - 1)
