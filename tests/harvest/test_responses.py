"""What an answer of the API means, without a server: its error, its JSON, how long to wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from geocorrect.harvest.mapillary.rate_limiter import retry_after_s
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError, classify_response, parse_json


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (500, {"code": 190, "message": "please reduce the amount"}, ErrorKind.UNAUTHORIZED),
        (500, {"code": 1, "message": "Please reduce the amount of data"}, ErrorKind.TOO_MUCH_DATA),
        (500, {"code": 1, "message": "An unknown error occurred"}, ErrorKind.TEMPORARY),
        (500, {"code": 2, "message": "Service temporarily unavailable"}, ErrorKind.TEMPORARY),
        (403, {"code": 4, "message": "Application request limit reached"}, ErrorKind.RATE_LIMITED),
        (400, {"code": -2, "error_subcode": 3404014, "message": "Timeout"}, ErrorKind.QUERY_TIMEOUT),
        (400, {"code": 100, "error_subcode": 33, "message": "Unsupported get request"}, ErrorKind.NOT_FOUND),
        (403, {"code": 10, "message": "permission"}, ErrorKind.FORBIDDEN),
        (403, {"code": 200, "message": "permission"}, ErrorKind.FORBIDDEN),
        (400, {"code": 368, "message": "登录"}, ErrorKind.BLOCKED),
        (200, {"code": 4, "message": ""}, ErrorKind.RATE_LIMITED),
        (200, {"code": None, "message": None}, ErrorKind.TEMPORARY),
        (400, {"code": 100, "message": "Invalid parameter"}, ErrorKind.REFUSED),
    ],
)
def test_errors_are_told_apart_by_code(status: int, error: dict[str, object], kind: ErrorKind) -> None:
    failure = classify_response("graph", status, json.dumps({"error": error}).encode())
    assert failure is not None
    assert failure.kind is kind


def test_recorded_error_bodies(shared_data: Path) -> None:
    folder = shared_data / "mapillary" / "api" / "graph"
    limit = classify_response("graph", 403, (folder / "application_request_limit_reached.json").read_bytes())
    token = classify_response("graph", 500, (folder / "internal_server_error.json").read_bytes())
    assert limit is not None
    assert token is not None
    assert (limit.kind, token.kind) == (ErrorKind.RATE_LIMITED, ErrorKind.UNAUTHORIZED)


def test_failures_carry_no_token() -> None:
    secret = "MLY|1234567890123456|0123456789abcdef"
    failure = RequestError(ErrorKind.TEMPORARY, f"GET https://tiles/x?access_token={secret} and OAuth {secret}")
    assert secret not in str(failure)
    assert "0123456789abcdef" not in repr(failure)


def test_byte_order_mark_is_tolerated() -> None:
    assert parse_json(b'\xef\xbb\xbf{"data":[]}') == {"data": []}


def test_retry_after_is_read_in_every_form() -> None:
    assert retry_after_s("30", 120) == 30
    assert retry_after_s(" 7 ", 120) == 7
    assert retry_after_s("100000", 120) == 120
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 15 < retry_after_s(soon, 120) <= 20
    assert retry_after_s("Fri, 01 Jan 2010 00:00:00 GMT", 120) == 0
    for useless in (None, "", "soon", "-3", "1e3", "NaN", "Fri, 99 Foo"):
        assert retry_after_s(useless, 120) != retry_after_s(useless, 120)
