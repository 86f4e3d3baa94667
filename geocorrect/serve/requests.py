"""What comes in with a request, checked (UsageError or InputError naming the field), and JSON that goes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from geocorrect.errors import InputError, UsageError

MAX_KEY = 2**31 - 1
"""The largest integer key of a catalog's rows."""
Body = TypeVar("Body", bound="RequestBody")


class RequestBody(BaseModel):
    """Base of what pages send as JSON: frozen, exact types, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


async def read_body(request: Request, kind: type[Body]) -> Body:
    """The body of a request as a record; InputError naming the first field that is wrong."""
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise InputError(f"{where}: {first['msg']}") from None


def number(name: str, text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{name}: {text[:40]!r} is not a number")
    return value


def number_in(query: Mapping[str, str], name: str) -> float | None:
    """A number of the query, None where there is none."""
    text = query.get(name)
    return number(name, text) if text else None


def whole(name: str, text: str, least: int, most: int) -> int:
    """A whole number between limits."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or not least <= int(text) <= most:
        raise UsageError(f"{name}: {text[:40]!r} is not a whole number from {least} to {most}")
    return int(text)


def count_in(query: Mapping[str, str], name: str) -> int:
    """A whole number of the query from 0 on, 0 where there is none."""
    return whole(name, query.get(name) or "0", 0, MAX_KEY)


def json_answer(value: Any, media_type: str = "application/json") -> Response:
    """JSON; nan and infinity become null."""
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), media_type=media_type)
