"""The routes of the review page: the queue, a photo, its matches, decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from geocorrect.catalog.curation.queue import QueueFilter, read_choices, read_queue
from geocorrect.catalog.curation.review import Reviews, Verdict
from geocorrect.serve.requests import RequestBody, count_in, json_answer, number_in, read_body
from geocorrect.serve.review.describe import describe
from geocorrect.serve.review.matches import EvidenceFinder
from geocorrect.serve.state import ServeSettings

PAGE = Path(__file__).parents[1] / "static" / "review.html"
PAGE_LENGTH = 200


class _Decision(RequestBody):
    image_id: str = Field(min_length=1, max_length=1000)
    version: int
    verdict: Literal["accept", "reject"]
    note: str = Field("", max_length=2000)
    reviewer: str = Field("", max_length=200)


class _Undo(RequestBody):
    image_id: str = Field(min_length=1, max_length=1000)
    version: int
    reviewer: str = Field("", max_length=200)


def routes(state: ServeSettings) -> list[Route]:
    """Routes of the page."""
    return [*_looking(state), *_deciding(state)]


def _looking(state: ServeSettings) -> list[Route]:
    finder, turn = EvidenceFinder(state), asyncio.Lock()

    def page(_request: Request) -> Response:
        return FileResponse(PAGE)

    def queue(request: Request) -> Response:
        query = request.query_params
        wanted = QueueFilter(
            status=query.get("status") or None,
            reason=query.get("reason") or None,
            sequence_id=query.get("sequence_id") or None,
            device=query.get("device") or None,
            min_error_m=number_in(query, "min_error_m"),
            max_error_m=number_in(query, "max_error_m"),
        )
        found = read_queue(state.catalog, wanted, count_in(query, "first"), PAGE_LENGTH)
        return json_answer({"photos": [vars(photo) for photo in found.photos], "total": found.total})

    def choices(_request: Request) -> Response:
        return json_answer(read_choices(state.catalog))

    def photo(request: Request) -> Response:
        return json_answer(describe(state, request.query_params.get("id", "")))

    async def in_turn(request: Request, find: Callable[[], object]) -> Response:
        """The finder's answer, one at a time, unless whoever asked has gone on to another photo before their turn."""
        async with turn:
            if await request.is_disconnected():
                return Response(status_code=204)
            return json_answer(await run_in_threadpool(find))

    async def matches(request: Request) -> Response:
        return await in_turn(request, partial(finder.matches, request.query_params.get("id", "")))

    async def points(request: Request) -> Response:
        query = request.query_params
        return await in_turn(request, partial(finder.points, query.get("id", ""), query.get("anchor", "")))

    return [
        Route("/review", page),
        Route("/api/review/queue", queue),
        Route("/api/review/choices", choices),
        Route("/api/review/photo", photo),
        Route("/api/review/matches", matches),
        Route("/api/review/points", points),
    ]


def _deciding(state: ServeSettings) -> list[Route]:
    async def decide(request: Request) -> Response:
        asked = await read_body(request, _Decision)

        def write() -> None:
            with state.writing() as catalog:
                seen = {asked.image_id: asked.version}
                who = asked.reviewer or state.reviewer
                Reviews(catalog).decide([asked.image_id], Verdict(asked.verdict), who, asked.note, seen)

        await run_in_threadpool(write)
        return json_answer(await run_in_threadpool(describe, state, asked.image_id))

    async def undo(request: Request) -> Response:
        asked = await read_body(request, _Undo)

        def write() -> None:
            with state.writing() as catalog:
                Reviews(catalog).take_back(asked.image_id, asked.version, asked.reviewer or state.reviewer)

        await run_in_threadpool(write)
        return json_answer(await run_in_threadpool(describe, state, asked.image_id))

    return [
        Route("/api/review/decide", decide, methods=["POST"]),
        Route("/api/review/undo", undo, methods=["POST"]),
    ]
