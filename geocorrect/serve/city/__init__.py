"""A map of the whole catalog, and the same as data: vector tiles, and OGC API – Features."""

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from geocorrect.serve.city import ogc, page, tiles
from geocorrect.serve.state import ServeSettings


def routes(state: ServeSettings) -> list[Route]:
    """`/city` and what it asks for; `/tiles` and `/ogc`, for other programs too."""
    shared = [Middleware(CORSMiddleware, allow_origins=list(state.web_origins))]
    published = [*tiles.routes(state), *ogc.routes(state)]
    return [*page.routes(state), *(Route(each.path, each.endpoint, middleware=shared) for each in published)]
