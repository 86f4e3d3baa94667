"""Vector tiles: `/tiles/LAYER/Z/X/Y.mvt`, described by `/tiles/LAYER.json` (TileJSON 3.0)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from geocorrect.catalog.served.coverage import read_coverage
from geocorrect.catalog.served.overview import read_extent_quickly
from geocorrect.catalog.served.tiles import LAYERS, Places, TileAddress, TileReader, properties_of
from geocorrect.export.features import ATTRIBUTION
from geocorrect.export.tiles.vector_tile import Shape, encode_features
from geocorrect.serve.city.parameters import FILTERS, checked, map_filter, problem, require_known
from geocorrect.serve.state import ServeSettings

MEDIA_TYPE = "application/vnd.mapbox-vector-tile"
COVERAGE = ("n_photos", "has_anchor")
MIN_ZOOM = {"displacement": 14}
"""Below it a displacement is shorter than a pixel."""
MAX_ZOOM = 17
"""Where a unit of a tile is 7 cm; a map shows these tiles at larger zooms."""
KEPT_S = 60
"""How long a browser shows a tile that it has."""


def routes(state: ServeSettings) -> list[Route]:
    """Routes of the tiles."""
    reader = TileReader(state.catalog)

    @checked
    def tile(request: Request) -> Response:
        layer = request.path_params["layer"]
        if layer not in (*LAYERS, "coverage"):
            return problem(404, f"there is no layer {layer!r}; there are {', '.join((*LAYERS, 'coverage'))}")
        require_known(request.query_params, FILTERS)
        address = TileAddress(*(request.path_params[name] for name in "zxy"))
        if layer == "coverage":
            content = _coverage(state, address)
        else:
            content = reader.read(layer, address, map_filter(request.query_params), _encode)
        headers = {"cache-control": f"max-age={KEPT_S}"}
        return Response(content, 200 if content else 204, headers, MEDIA_TYPE if content else None)

    @checked
    def description(request: Request) -> Response:
        layer = request.path_params["layer"]
        if layer not in (*LAYERS, "coverage"):
            return problem(404, f"there is no layer {layer!r}")
        fields = dict.fromkeys(COVERAGE if layer == "coverage" else properties_of(layer), "")
        extent = read_extent_quickly(state.catalog)
        zooms = {"minzoom": MIN_ZOOM.get(layer, 0), "maxzoom": MAX_ZOOM}
        query = f"?{request.query_params}" if request.query_params else ""
        return JSONResponse(
            {
                "tilejson": "3.0.0",
                "name": layer,
                "attribution": ATTRIBUTION,
                "tiles": [f"{request.base_url}tiles/{layer}/{{z}}/{{x}}/{{y}}.mvt{query}"],
                "vector_layers": [{"id": layer, "fields": fields, **zooms}],
                **zooms,
                **({} if extent is None else {"bounds": extent}),
            }
        )

    return [Route("/tiles/{layer}/{z:int}/{x:int}/{y:int}.mvt", tile), Route("/tiles/{layer}.json", description)]


def _encode(layer: str, properties: Sequence[str], is_line: bool, places: Places) -> bytes:
    shape = Shape.LINE if is_line else Shape.POINT
    return encode_features(layer, properties, ((fid, shape, path, values) for fid, path, values in places))


def _coverage(state: ServeSettings, address: TileAddress) -> bytes:
    squares = read_coverage(state.catalog, address)
    features = [
        (k, Shape.POLYGON, square.corners, (square.n_photos, int(square.has_anchor)))
        for k, square in enumerate(squares, start=1)
    ]
    return encode_features("coverage", COVERAGE, features) if features else b""
