"""The application: pages and their routes behind one set of safety rules."""

from __future__ import annotations

import logging
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from geocorrect.errors import GeocorrectError, InputError, OutdatedError, SceneBusyError, UsageError
from geocorrect.redaction import redact
from geocorrect.serve import basemap, city, photos
from geocorrect.serve.landmarks import pages as landmark_pages
from geocorrect.serve.review import pages as review_pages
from geocorrect.serve.security import BodyTooLargeError, Security, csrf_of, is_public
from geocorrect.serve.state import ServeSettings

STATUS = {BodyTooLargeError: 413, SceneBusyError: 409, OutdatedError: 409, InputError: 422, UsageError: 422}
log = logging.getLogger(__name__)
STATIC = Path(__file__).with_name("static")


def create_app(settings: ServeSettings) -> ASGIApp:
    """The web application on an open catalog."""
    tile_origins = [settings.basemap.origin] if settings.basemap is not None and settings.basemap.origin else []
    pages = {
        "landmarks": landmark_pages.routes(settings),
        "review": review_pages.routes(settings),
        "city": city.routes(settings),
    }
    shown = [name for name, routes in pages.items() if routes]
    session = {
        "csrf": csrf_of(settings.token),
        "read_only": settings.read_only,
        "reviewer": settings.reviewer,
        "catalog": settings.catalog.address,
        "pages": shown,
        "basemap": None if settings.basemap is None else settings.basemap.as_json(),
    }

    def session_of(_request: Request) -> Response:
        return JSONResponse(session)

    def first_page(_request: Request) -> Response:
        return RedirectResponse(f"/{shown[0]}")

    app = Starlette(
        routes=[
            Route("/", first_page),
            Route("/session", session_of),
            *photos.routes(settings),
            *basemap.routes(settings.basemap),
            *(route for routes in pages.values() for route in routes),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={GeocorrectError: _in_words},
    )
    return Security(app, settings.token, settings.hosts, read_only=settings.read_only, tile_origins=tile_origins)


def _in_words(request: Request, error: Exception) -> Response:
    """What a user can fix, as the page shows it; strangers are not told where the catalog lies."""
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
    words, path = redact(str(error)), request.url.path
    if status == 500:
        log.error("%s: %s", path, words)
        words = "the catalog cannot be read now; the server's log says why" if is_public(path) else words
    return JSONResponse({"error": words}, status)
