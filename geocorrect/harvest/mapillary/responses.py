"""What an answer of the service means: its content, or one kind of failure.

HTTP status and the `type` field do not say what happened (a timeout comes as 400 OAuthException, a bad token as 500, a
rate limit as 403), so answers are classified by code, subcode and message, and authorisation comes first
(docs/mapillary_api.md, "Errors").
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from geocorrect.redaction import redact

Role = Literal["graph", "tiles", "cdn"]
"""Which host is asked: metadata API, vector tiles, image host."""

MOST_CHARACTERS = 300
"""Of what a server says, in messages and reports."""
_MOST_VALUES = 500_000
"""A thousand times what an honest answer holds; each costs some 100 bytes when it is read."""
_BOM = b"\xef\xbb\xbf"
_FIELD = re.compile(r"nonexisting field \(([A-Za-z0-9_]+)\)")


class ErrorKind(StrEnum):
    """Kinds of failure, by what the caller should do."""

    UNAUTHORIZED = "unauthorized"  # stop the run: the token is bad
    BLOCKED = "blocked"  # stop the run: the account is blocked
    RATE_LIMITED = "rate_limited"  # all workers pause
    TOO_MUCH_DATA = "too_much_data"  # ask again once or twice, then ask for less
    QUERY_TIMEOUT = "query_timeout"  # ask again, then ask for less
    UNKNOWN_FIELD = "unknown_field"  # one object has no such field: it is no image, or the service has changed
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
    """A request that did not bring what was asked for."""

    kind: ErrorKind
    """What to do about it."""
    detail: str
    """What the service said: printable, at most 300 characters, secrets are redacted."""
    retry_after_s: float = float("nan")
    """The wait that the service asks for; nan when it does not say."""
    field_name: str | None = None
    """UNKNOWN_FIELD: the field."""

    def __post_init__(self) -> None:
        self.detail = printable(redact(self.detail[: 4 * MOST_CHARACTERS]))
        super().__init__(f"{self.kind}: {self.detail}")


def printable(text: str) -> str:
    """What a server said, safe for a terminal: without control characters, at most 300 characters."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean if len(clean) <= MOST_CHARACTERS else f"{clean[: MOST_CHARACTERS - 1]}…"


def parse_json(body: bytes) -> Any:
    """The content of a JSON body; RequestError MALFORMED when it is cut, not JSON at all, or ambiguous.

    A byte order mark is tolerated; NaN, Infinity and repeated keys are refused: the next answer is usually sound.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise RequestError(ErrorKind.TOO_MUCH_DATA, f"an answer of more than {_MOST_VALUES} values")
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
    error = _error_object(body) if role != "cdn" else None
    if error is not None:
        code, subcode, message = error.get("code"), error.get("error_subcode"), str(error.get("message", ""))
        text = f"{message or 'no message'} (code {code}, subcode {subcode}, HTTP {status})"
        unknown = _FIELD.search(message)
        kind = _kind_of_error(code, subcode, message.lower(), status, unknown is not None)
        return RequestError(kind, text, field_name=unknown[1] if unknown and kind is ErrorKind.UNKNOWN_FIELD else None)
    if status in (200, 204) or (status == 404 and role == "tiles"):
        return None
    text = f"HTTP {status} from {role}: {body[:200].decode('utf-8', 'replace').strip()!r}"
    return RequestError(_kind_of_status(role, status), text)


def _error_object(body: bytes) -> dict[str, Any] | None:
    if b'"error"' not in body[:4096]:
        return None
    try:
        content = parse_json(body)
    except RequestError:
        return None
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, dict) else None


def _kind_of_error(code: Any, subcode: Any, message: str, status: int, unknown_field: bool) -> ErrorKind:
    """The first rule that holds; their order matters."""
    rules = (
        (code == 190, ErrorKind.UNAUTHORIZED),
        (code == 368 or subcode == 1348007, ErrorKind.BLOCKED),
        (code == 4 or status == 429 or "request limit reached" in message, ErrorKind.RATE_LIMITED),
        (subcode == 3404014 or code == -2, ErrorKind.QUERY_TIMEOUT),
        (code == 1 and "reduce the amount" in message, ErrorKind.TOO_MUCH_DATA),
        (unknown_field, ErrorKind.UNKNOWN_FIELD),
        (code == 100 and (subcode == 33 or "does not exist" in message), ErrorKind.NOT_FOUND),
        (code in (10, 200), ErrorKind.FORBIDDEN),
        (code in (1, 2) or status >= 500 or status == 200, ErrorKind.TEMPORARY),
    )
    return next((kind for holds, kind in rules if holds), ErrorKind.REFUSED)


def _kind_of_status(role: Role, status: int) -> ErrorKind:
    """The first rule that holds, for answers without an error object."""
    rules = (
        (status == 429, ErrorKind.RATE_LIMITED),
        (role == "cdn" and status in (401, 403, 404, 410), ErrorKind.EXPIRED_URL),
        (status == 401, ErrorKind.UNAUTHORIZED),
        (status == 403, ErrorKind.FORBIDDEN),
        (status >= 500 or status in (407, 408, 425) or 300 <= status < 400, ErrorKind.TEMPORARY),
    )
    return next((kind for holds, kind in rules if holds), ErrorKind.REFUSED)
