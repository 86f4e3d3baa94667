"""Reading the query of an address: every parameter known, every value checked, else an answer in words."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from geocorrect.catalog.run import Box
from geocorrect.catalog.served.filter import MapFilter
from geocorrect.errors import Reason, Status, UsageError
from geocorrect.serve.requests import MAX_KEY, number, number_in, whole

Handler = Callable[[Request], Response]
_LONGEST = 1000
_STATUS = tuple(status.value for status in Status)
_REASON = tuple(reason.value for reason in Reason)
FILTERS = ("status", "reason", "sequence_id", "device", "max_expected_error_m", "datetime", "run")


def checked(handler: Handler) -> Handler:
    """The handler; a UsageError becomes 400, as OGC API – Common has it."""

    def answer(request: Request) -> Response:
        try:
            return handler(request)
        except UsageError as error:
            return problem(400, str(error))

    return answer


def problem(status: int, description: str) -> Response:
    """An answer that says what is wrong."""
    return JSONResponse({"code": str(status), "description": description}, status)


def require_known(query: QueryParams, known: Collection[str]) -> None:
    """UsageError when the address has a parameter that is not known, or one twice, or too long a value."""
    for name, value in query.multi_items():
        if name not in known:
            raise UsageError(f"unknown parameter {name!r}; known are {', '.join(sorted(known))}")
        if len(query.getlist(name)) > 1 or len(value) > _LONGEST or "\0" in value:
            raise UsageError(f"{name}: give it once, with at most {_LONGEST} characters")


def map_filter(query: QueryParams) -> MapFilter:
    """The filter that an address asks for by FILTERS; UsageError when a value is none."""
    start, end = interval(query.get("datetime") or "../..")
    return MapFilter(
        status=_one_of("status", query.get("status"), _STATUS),
        reason=_one_of("reason", query.get("reason"), _REASON),
        sequence_id=query.get("sequence_id") or None,
        device=query.get("device") or None,
        max_expected_error_m=number_in(query, "max_expected_error_m"),
        captured_from=start,
        captured_to=end,
        as_of_run=whole("run", query["run"], 1, MAX_KEY) if query.get("run") else None,
    )


def _one_of(name: str, value: str | None, known: Collection[str]) -> str | None:
    if value and value not in known:
        raise UsageError(f"{name}: {value!r} is none of {', '.join(known)}")
    return value or None


def bounding_box(text: str) -> tuple[Box, tuple[float, float] | None]:
    """West, south, east, north of `bbox`, and lowest and highest where it has six numbers."""
    sides = [number("bbox", part) for part in text.split(",")]
    if len(sides) not in (4, 6):
        raise UsageError("bbox: give four numbers west,south,east,north, or six with heights")
    (west, south, *low), (east, north, *high) = sides[: len(sides) // 2], sides[len(sides) // 2 :]
    if south > north or low > high or not (-180 <= west <= 180 and -180 <= east <= 180):
        raise UsageError("bbox: south must not be above north, longitudes are from -180 to 180 degrees")
    return (west, south, east, north), ((low[0], high[0]) if low else None)


def interval(text: str) -> tuple[datetime | None, datetime | None]:
    """First and last moment of `datetime`: an instant, a day, or an interval, open where it has `..` or nothing."""
    parts = text.split("/")
    if len(parts) > 2:
        raise UsageError(f"datetime: {text!r} has more than one /")
    start = None if parts[0] in ("", "..") and len(parts) == 2 else _moments(parts[0])[0]
    end = None if parts[-1] in ("", "..") and len(parts) == 2 else _moments(parts[-1])[1]
    if start and end and start > end:
        raise UsageError(f"datetime: {text!r} ends before it begins")
    return start, end


def _moments(text: str) -> tuple[datetime, datetime]:
    """The first and the last moment of an instant or a day."""
    try:
        if len(text) == len("2026-03-01"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day, day + timedelta(days=1) - timedelta(milliseconds=1)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return (moment.astimezone(UTC),) * 2
    except (ValueError, OverflowError):
        raise UsageError(
            f"datetime: {text!r} is no moment such as 2026-03-01T10:00:00Z, day, or interval of them"
        ) from None
