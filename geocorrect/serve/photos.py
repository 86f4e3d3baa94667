"""Pictures of photos and anchors, by their id in the catalog: no path comes from a request."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from geocorrect.serve.state import ServeSettings

SHOWN = {
    re.compile(rb"\xff\xd8\xff"): "image/jpeg",
    re.compile(rb"\x89PNG\r\n\x1a\n"): "image/png",
    re.compile(rb"RIFF....WEBP", re.DOTALL): "image/webp",
}
"""Beginnings of files that are sent as they are; a file whose beginning says something else is not sent."""

KEPT = "private, max-age=3600"
"""By the browser."""


def routes(state: ServeSettings) -> list[Route]:
    """`/photo/{id}` and `/anchor/{id}`."""

    def photo(request: Request) -> Response:
        image_id = request.path_params["image_id"]
        image = state.catalog.images([image_id]).get(image_id)
        return picture(None if image is None else state.on_disk(image.path))

    def anchor(request: Request) -> Response:
        anchor_id = request.path_params["anchor_id"]
        found = state.catalog.anchors([anchor_id]).get(anchor_id)
        return picture(None if found is None else state.on_disk(found.path))

    return [Route("/photo/{image_id:path}", photo), Route("/anchor/{anchor_id:path}", anchor)]


def picture(path: Path | None) -> Response:
    """The picture file, if it is one that a browser shows."""
    if path is None:
        return JSONResponse({"error": "there is no picture of this id"}, 404)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        return JSONResponse({"error": f"the picture cannot be read ({error.strerror})"}, 404)
    kind = next((kind for beginning, kind in SHOWN.items() if beginning.match(start)), None)
    if kind is None:
        return JSONResponse({"error": "the file is no JPEG, PNG or WebP picture"}, 415)
    return FileResponse(path, media_type=kind, headers={"cache-control": KEPT})
