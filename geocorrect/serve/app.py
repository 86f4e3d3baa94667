"""The application: pages and their routes behind one set of safety rules."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from geocorrect.errors import GeocorrectError, InputError, OutdatedError, SceneBusyError, UsageError
from geocorrect.redaction import redact
from geocorrect.serve import basemap, city, photos
from geocorrect.serve.landmarks import pages as landmark_pages
from geocorrect.serve.review import pages as review_pages
from geocorrect.serve.security import Security, csrf_of
from geocorrect.serve.state import ServeSettings

STATIC = Path(__file__).with_name("static")


def create_app(settings: ServeSettings) -> Starlette:
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

    return Starlette(
        routes=[
            Route("/", first_page),
            Route("/session", session_of),
            *photos.routes(settings),
            *basemap.routes(settings.basemap),
            *(route for routes in pages.values() for route in routes),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(
                Security,
                token=settings.token,
                hosts=settings.hosts,
                read_only=settings.read_only,
                tile_origins=tile_origins,
            )
        ],
        exception_handlers={GeocorrectError: _in_words},
    )


def _in_words(_request: Request, error: Exception) -> Response:
    """What a user can fix, as the page shows it."""
    if isinstance(error, SceneBusyError | OutdatedError):
        status = 409
    else:
        status = 422 if isinstance(error, InputError | UsageError) else 500
    return JSONResponse({"error": redact(str(error))}, status)
