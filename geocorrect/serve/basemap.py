"""The map under the pages: the user's orthophoto, a PMTiles file, or a tile service that the user names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from geocorrect.errors import InputError, UsageError

RASTER_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "AVIF": "image/avif"}
MAX_ZOOM = 24
OWN_TILES = "/basemap/{z}/{x}/{y}"


@dataclass(frozen=True)
class Basemap:
    """Where map tiles come from."""

    template: str
    """Address with {z} {x} {y}, or {bbox-epsg-3857} of a WMS."""
    attribution: str
    max_zoom: int = MAX_ZOOM
    bounds_deg: tuple[float, float, float, float] | None = None
    """West, south, east, north; None: the whole earth."""
    origin: str | None = None
    """Of another server that the browser must be allowed to ask; None for tiles of our own."""
    tile: Callable[[int, int, int], tuple[bytes, str] | None] | None = field(default=None, repr=False)
    """(zoom, column, row) → picture and its media type, for tiles of our own."""

    def as_json(self) -> Mapping[str, Any]:
        """What the page needs."""
        return {
            "tiles": self.template, "attribution": self.attribution, "max_zoom": self.max_zoom,
            "bounds": self.bounds_deg,
        }  # fmt: skip


def open_basemap(
    orthophoto: Path | None = None, pmtiles: Path | None = None, tiles: str | None = None, attribution: str = ""
) -> Basemap | None:
    """The one map that is named, None when there is none.

    Raises:
        UsageError: more than one is named, or a service without attribution.
        InputError: the file or the address cannot be used.
    """
    named = [
        name for name, value in {"--orthophoto": orthophoto, "--pmtiles": pmtiles, "--tiles": tiles}.items() if value
    ]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)}: name one map")
    if orthophoto is not None:
        return _of_orthophoto(orthophoto, attribution)
    if pmtiles is not None:
        return _of_pmtiles(pmtiles, attribution)
    return None if tiles is None else _of_service(tiles, attribution)


def _of_orthophoto(path: Path, attribution: str) -> Basemap:
    from geocorrect.georeference.orthophoto import open_orthophoto

    picture = open_orthophoto(path)

    def tile(zoom: int, column: int, row: int) -> tuple[bytes, str] | None:
        png = picture.tile(zoom, column, row)
        return None if png is None else (png, "image/png")

    return Basemap(OWN_TILES, attribution or path.name, MAX_ZOOM, picture.bounds_deg, tile=tile)


def _of_pmtiles(path: Path, attribution: str) -> Basemap:
    from pmtiles.reader import MmapSource, Reader

    try:
        with path.open("rb") as file:
            reader = Reader(MmapSource(file))
            header = reader.header()
    except Exception as error:  # its reader raises what it happens to meet
        raise InputError(f"{path}: cannot be read as PMTiles ({error})") from None
    kind = RASTER_TYPES.get(header["tile_type"].name)
    if kind is None:
        raise InputError(
            f"{path}: holds {header['tile_type'].name} tiles; a map to click on has pictures (PNG, JPEG, WebP)"
        )
    corners = ("min_lon_e7", "min_lat_e7", "max_lon_e7", "max_lat_e7")
    west, south, east, north = (header[name] / 1e7 for name in corners)

    def tile(zoom: int, column: int, row: int) -> tuple[bytes, str] | None:
        picture = reader.get(zoom, column, row)
        return None if picture is None else (picture, kind)

    said = attribution or _plain_text(str(reader.metadata().get("attribution", ""))) or path.name
    return Basemap(OWN_TILES, said, header["max_zoom"], (west, south, east, north), tile=tile)


def _of_service(template: str, attribution: str) -> Basemap:
    parts = urlsplit(template)
    if parts.scheme not in ("https", "http") or not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", parts.netloc):
        raise InputError(f"--tiles {template[:60]!r}: not an http address")
    xyz = all(part in template for part in ("{z}", "{x}", "{y}"))
    if not (xyz or "{bbox-epsg-3857}" in template):
        raise InputError("--tiles: the address needs {z}, {x} and {y}, or {bbox-epsg-3857} for a WMS")
    if not attribution:
        raise UsageError("--tiles needs --attribution TEXT: what the licence of the map asks you to show")
    return Basemap(template, attribution, origin=f"{parts.scheme}://{parts.netloc}")


def _plain_text(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html).strip()


def routes(basemap: Basemap | None) -> list[Route]:
    """`/basemap/{z}/{x}/{y}`, when the tiles are our own."""
    if basemap is None or basemap.tile is None:
        return []
    read = basemap.tile

    def tile(request: Request) -> Response:
        zoom, column, row = (int(request.path_params[name]) for name in "zxy")
        inside = zoom <= MAX_ZOOM and column < 2**zoom and row < 2**zoom
        found = read(zoom, column, row) if inside else None
        if found is None:
            return Response(status_code=204)
        return Response(found[0], media_type=found[1], headers={"cache-control": "private, max-age=3600"})

    return [Route("/basemap/{z:int}/{x:int}/{y:int}", tile)]
