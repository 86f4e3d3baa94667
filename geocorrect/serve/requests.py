"""What comes in with a request: checked values, InputError naming the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from geocorrect.errors import InputError

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


def number_in(query: Mapping[str, str], name: str) -> float | None:
    """A number of the query, None where there is none."""
    text = query.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{name}: {text[:40]!r} is no number")
    return value


def json_answer(value: Any, status: int = 200) -> Response:
    """JSON; nan becomes null."""
    import orjson

    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(text, status, media_type="application/json")
