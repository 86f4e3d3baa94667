"""What can be wrong with an answer, and which kind of trouble it is.

The service's HTTP status and `type` field do not say what happened (a timeout comes as 400 OAuthException, a bad token
as 500, a rate limit as 403), so an answer is judged by code, subcode and message, and authorisation comes first.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from geocorrect.log import redact

Role = Literal["graph", "tiles", "cdn"]

_BOM = b"\xef\xbb\xbf"
_FIELD = re.compile(r"nonexisting field \(([A-Za-z0-9_]+)\)")


class ErrorKind(StrEnum):
    """Kinds of failure, by what the caller should do."""

    UNAUTHORIZED = "unauthorized"  # stop the run: the token is bad
    BLOCKED = "blocked"  # stop the run: the account is blocked
    RATE_LIMITED = "rate_limited"  # all workers pause
    TOO_MUCH_DATA = "too_much_data"  # ask again once or twice, then ask for less
    QUERY_TIMEOUT = "query_timeout"  # ask again, then ask for less
    UNKNOWN_FIELD = "unknown_field"  # ask without that field
    NOT_FOUND = "not_found"  # tombstone
    FORBIDDEN = "forbidden"  # skip this entity
    EXPIRED_URL = "expired_url"  # ask for a fresh URL
    REFUSED = "refused"  # the request itself is wrong; asking again changes nothing
    TEMPORARY = "temporary"  # ask again
    MALFORMED = "malformed"  # not what was asked for: cut, wrong type, too large


STOPS_THE_RUN = frozenset({ErrorKind.UNAUTHORIZED, ErrorKind.BLOCKED})
RETRYABLE = frozenset(
    {ErrorKind.RATE_LIMITED, ErrorKind.TEMPORARY, ErrorKind.MALFORMED, ErrorKind.QUERY_TIMEOUT, ErrorKind.TOO_MUCH_DATA}
)


@dataclass(eq=False)
class RequestError(Exception):
    """A request that did not bring what was asked for. `detail` is redacted; retry_after_s is nan when not told."""

    kind: ErrorKind
    detail: str
    retry_after_s: float = float("nan")
    field_name: str | None = None

    def __post_init__(self) -> None:
        self.detail = redact(self.detail)
        super().__init__(f"{self.kind}: {self.detail}")


def parse_json(body: bytes) -> Any:
    """The content of a JSON body; RequestError MALFORMED when it is cut, not JSON at all, or ambiguous.

    A byte order mark is tolerated; NaN, Infinity and repeated keys are refused: the next answer is usually sound.
    """
    try:
        return json.loads(body.removeprefix(_BOM), parse_constant=_no_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        start = body[:60].decode("utf-8", "replace")
        raise RequestError(ErrorKind.MALFORMED, f"not sound JSON ({error}): {start!r}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError(f"repeated key among {sorted(content)[:8]}")
    return content


def classify_response(role: Role, status: int, body: bytes) -> RequestError | None:
    """What is wrong with an answer, or None. An `error` key counts whatever the status says."""
    envelope = _error_envelope(body) if role != "cdn" else None
    if envelope is not None:
        return _classify_error(envelope, status)
    if status in (200, 204) or (status == 404 and role == "tiles"):
        return None
    text = f"HTTP {status} from {role}: {body[:200].decode('utf-8', 'replace').strip()!r}"
    if status == 429:
        return RequestError(ErrorKind.RATE_LIMITED, text)
    if role == "cdn" and status in (403, 404, 410):
        return RequestError(ErrorKind.EXPIRED_URL, text)
    if status in (401, 407):
        return RequestError(ErrorKind.UNAUTHORIZED if status == 401 else ErrorKind.TEMPORARY, text)
    if status == 403:
        return RequestError(ErrorKind.FORBIDDEN, text)
    if status >= 500 or status in (408, 425) or 300 <= status < 400:
        return RequestError(ErrorKind.TEMPORARY, text)
    return RequestError(ErrorKind.REFUSED, text)


def _error_envelope(body: bytes) -> dict[str, Any] | None:
    if b'"error"' not in body[:4096]:
        return None
    try:
        content = json.loads(body.removeprefix(_BOM))
    except (ValueError, RecursionError):
        return None
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, dict) else None


def _classify_error(error: dict[str, Any], status: int) -> RequestError:
    code, subcode = error.get("code"), error.get("error_subcode")
    message = str(error.get("message", ""))
    text = f"{message or 'no message'} (code {code}, subcode {subcode}, HTTP {status})"
    lower = message.lower()
    if code == 190:
        return RequestError(ErrorKind.UNAUTHORIZED, text)
    if code == 368 or subcode == 1348007:
        return RequestError(ErrorKind.BLOCKED, text)
    if code == 4 or status == 429 or "request limit reached" in lower:
        return RequestError(ErrorKind.RATE_LIMITED, text)
    if subcode == 3404014 or code == -2:
        return RequestError(ErrorKind.QUERY_TIMEOUT, text)
    if code == 1 and "reduce the amount" in lower:
        return RequestError(ErrorKind.TOO_MUCH_DATA, text)
    if match := _FIELD.search(message):
        return RequestError(ErrorKind.UNKNOWN_FIELD, text, field_name=match.group(1))
    if code == 100 and (subcode == 33 or "does not exist" in lower):
        return RequestError(ErrorKind.NOT_FOUND, text)
    if code in (10, 200):
        return RequestError(ErrorKind.FORBIDDEN, text)
    if code in (1, 2) or status >= 500 or status == 200:
        return RequestError(ErrorKind.TEMPORARY, text)
    return RequestError(ErrorKind.REFUSED, text)
