"""The page of the map, and what it asks for beside tiles and pictures."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from geocorrect.catalog.rows.column_types import instant_text
from geocorrect.catalog.served.counts import ResultCounter
from geocorrect.catalog.served.overview import (
    read_devices,
    read_extent_quickly,
    read_photo,
    read_runs_in_force,
)
from geocorrect.catalog.views.palette import ERROR_CLASSES
from geocorrect.errors import Reason
from geocorrect.serve.city.parameters import checked, map_filter, problem, require_known
from geocorrect.serve.city.tiles import MAX_ZOOM, MIN_ZOOM
from geocorrect.serve.requests import json_answer
from geocorrect.serve.state import ServeSettings

PAGE = Path(__file__).parents[1] / "static" / "city.html"


def routes(state: ServeSettings) -> list[Route]:
    """Routes of the page."""
    counter = ResultCounter(state.catalog)

    def page(_request: Request) -> Response:
        return FileResponse(PAGE)

    def start(_request: Request) -> Response:
        runs = read_runs_in_force(state.catalog)
        return json_answer(
            {
                "extent": read_extent_quickly(state.catalog),
                "runs": [{**vars(run), "started_at": instant_text(run.started_at)} for run in runs],
                "reasons": {reason.value: reason.text for reason in Reason},
                "error_classes": ERROR_CLASSES,  # upper limits in metres; the last, infinity, is null in JSON
                "min_zoom": MIN_ZOOM,
                "max_zoom": MAX_ZOOM,
            }
        )

    @checked
    def counts(request: Request) -> Response:
        query = request.query_params
        require_known(query, ("run", "exact"))
        found = counter.read(map_filter(query).as_of_run, exact=bool(query.get("exact")))
        rows = [{"status": status, "reason": reason, "count": count} for status, reason, count in found.counts]
        return json_answer({"counts": rows, "is_exact": found.is_exact})

    def devices(_request: Request) -> Response:
        return json_answer(read_devices(state.catalog))

    @checked
    def photo(request: Request) -> Response:
        require_known(request.query_params, ("id", "run"))
        image_id = request.query_params.get("id", "")
        found = read_photo(state.catalog, image_id, map_filter(request.query_params).as_of_run)
        return problem(404, f"there is no photo {image_id!r}") if found is None else json_answer(found)

    return [
        Route("/city", page),
        Route("/api/city/start", start),
        Route("/api/city/counts", counts),
        Route("/api/city/devices", devices),
        Route("/api/city/photo", photo),
    ]
