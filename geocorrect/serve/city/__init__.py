"""A map of the whole catalog, and the same as data: vector tiles, and OGC API – Features."""

from starlette.routing import Route

from geocorrect.serve.city import ogc, page, tiles
from geocorrect.serve.state import ServeState


def routes(state: ServeState) -> list[Route]:
    """`/city` and what it asks for; `/tiles` and `/ogc`, for other programs too."""
    return [*page.routes(state), *tiles.routes(state), *ogc.routes(state)]
