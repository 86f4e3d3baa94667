"""The routes of the page."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from geocorrect.serve.state import ServeState

PAGE = Path(__file__).parents[1] / "static" / "review.html"


def routes(state: ServeState) -> list[Route]:
    """Routes of the page; none when the page has nothing to work with."""

    def page(_request: Request) -> Response:
        return FileResponse(PAGE)

    return [Route("/review", page)]
