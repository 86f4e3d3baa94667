"""The only file that speaks HTTP to Mapillary: authorisation, retries, deadlines, redaction, endpoints.

Graph requests carry the token in the Authorization header, tiles need it in the query, the image host never sees it
(docs/mapillary_api.md, "Token"). Every text that leaves this file is redacted. All worker threads share one client.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import tenacity

from geocorrect.errors import ConfigError, RemoteError
from geocorrect.harvest.area import Box
from geocorrect.harvest.mapillary.rate_limiter import RateLimiter, retry_after_s
from geocorrect.harvest.mapillary.responses import (
    RETRYABLE,
    STOPS_THE_RUN,
    ErrorKind,
    RequestError,
    Role,
    classify_response,
    parse_json,
)
from geocorrect.harvest.mapillary.transport import RequestGuard, guarded_client
from geocorrect.harvest.options import HarvestOptions
from geocorrect.log import RedactingFilter
from geocorrect.redaction import redact

TOKEN_VARIABLE = "MAPILLARY_TOKEN"
CHECK_IMAGE_ID = "1933525276802129"
"""The image that the official SDK asks for to try a token; whether it exists does not matter."""

Json = dict[str, Any]

_log = logging.getLogger(__name__)
_MEGABYTE = 1_000_000
_TRIES = {ErrorKind.MALFORMED: 2, ErrorKind.TOO_MUCH_DATA: 2, ErrorKind.QUERY_TIMEOUT: 4}
"""Most tries per request for failures on which insisting is pointless."""
_MOST_MISSED_PICTURES = 40
_HTTP_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy")
_REDACTING = RedactingFilter()

_trusted_authorities = functools.cache(httpx.create_ssl_context)
"""Reading the certificates takes longer than most requests; once per process is enough."""


def token_from_environment() -> str:
    """The Mapillary token; ConfigError saying what to do when MAPILLARY_TOKEN is missing or cannot be one."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise ConfigError(
            f"the environment variable {TOKEN_VARIABLE} is not set; create a client token at "
            f"https://www.mapillary.com/dashboard/developers and run: export {TOKEN_VARIABLE}='MLY|…|…'"
        )
    if not token.isascii() or any(letter.isspace() for letter in token):
        raise ConfigError(f"{TOKEN_VARIABLE} holds white space or non-ASCII characters; copy the token again")
    return token


def service_time(options: HarvestOptions) -> datetime | None:
    """The service's clock (UTC, whole seconds) by one cheap request, tried twice; None when the answer has no date.

    Raises:
        ConfigError: there is no token.
        RemoteError: the token is refused or nobody answers.
    """
    with MapillaryClient(replace(options, max_tries=2, backoff_cap_s=2.0)) as client:
        client.check_token()
        try:
            return parsedate_to_datetime(client.service_date or "").astimezone(UTC)
        except ValueError:
            return None


class MapillaryClient:
    """Graph API v4, coverage tiles and picture downloads, politely. Use as a context manager.

    Attributes:
        limiter: what all workers share; stop it to end the run.
        n_requests: requests sent so far, by kind.
        n_picture_bytes: bytes received from the image host.
        service_date: Date header of the last answer.
        dropped_fields: metadata fields that the service turned out not to have any more; they are not asked for.
    """

    def __init__(self, options: HarvestOptions, token: str | None = None) -> None:
        """Prepare a client; the token is taken from MAPILLARY_TOKEN when None. ConfigError for unusable settings."""
        self.options = options
        self.limiter = RateLimiter(options)
        self.n_requests: Counter[str] = Counter()
        self.n_picture_bytes = 0
        self.service_date: str | None = None
        self._token = token_from_environment() if token is None else token
        self.dropped_fields: frozenset[str] = frozenset()
        self._drop_lock = threading.Lock()
        self._pictures_missed = 0
        for url in (options.graph_url, options.tiles_url):
            if not _is_http(url) or not urlsplit(url).hostname:
                raise ConfigError(f"harvest: {url!r} is not an http(s) address")
        for name in _HTTP_LOGGERS:
            # The HTTP library logs URLs at INFO; the filter cleans them before any handler sees them.
            logging.getLogger(name).addFilter(_REDACTING)
        workers = options.graph_workers + options.download_workers
        shared: dict[str, Any] = {
            "verify": _trusted_authorities(),
            "timeout": httpx.Timeout(options.idle_timeout_s),
            "limits": httpx.Limits(max_connections=workers, max_keepalive_connections=workers),
        }
        self._guard = RequestGuard(self.limiter.check)
        self._api = guarded_client(self._guard, public_only=False, **shared)
        # Who answers for a photo says where its picture is, and must not make us ask our own network.
        self._image_hosts = guarded_client(self._guard, public_only=not options.private_image_hosts, **shared)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.limiter.stop("the client was closed")
        self._api.close()
        self._image_hosts.close()

    def __repr__(self) -> str:
        return f"MapillaryClient({self.options.graph_url})"

    # --- endpoints ---

    def check_token(self) -> None:
        """One cheap request, so that a bad token or a dead line stops a long run before it starts (RemoteError)."""
        try:
            self._graph(CHECK_IMAGE_ID, {}, "check", ("id",))
        except RequestError as failure:
            if failure.kind in (ErrorKind.TEMPORARY, ErrorKind.MALFORMED):
                text = f"{self.options.graph_url} does not answer like Mapillary ({failure.detail}); check the network"
                raise RemoteError(text) from None

    def entity(self, image_id: str, fields: Sequence[str]) -> Json:
        """One image; RequestError NOT_FOUND when it does not exist."""
        answer = self._graph(image_id, {}, "entity", fields)
        if not isinstance(answer, dict):
            raise RequestError(ErrorKind.MALFORMED, f"image {image_id}: the answer is no object")
        return answer

    def images_by_id(self, image_ids: Sequence[str], fields: Sequence[str]) -> list[Json]:
        """Metadata of up to 50 images; the service may leave some out, or refuse the call for one bad id."""
        return _entries(self._graph("images", {"image_ids": ",".join(image_ids)}, "batch", fields))

    def images_in_box(self, box: Box, fields: Sequence[str], limit: int = 2000) -> list[Json]:
        """A *sample* of the images in a box of less than 0.01° per side (docs/mapillary_api.md, "Search boxes")."""
        query = {"bbox": ",".join(f"{value:.7f}" for value in box), "limit": str(limit)}
        return _entries(self._graph("images", query, "bbox", fields))

    def image_ids(self, sequence_id: str) -> list[str]:
        """Every image id of a sequence in capture order."""
        entries = _entries(self._graph("image_ids", {"sequence_id": sequence_id}, "sequence"))
        return [str(entry["id"]) for entry in entries if "id" in entry]

    def detections(self, image_id: str) -> list[Json]:
        """What the service's networks have found in one image: class and outline of each object."""
        return _entries(self._graph(f"{image_id}/detections", {}, "detections", ("geometry", "value")))

    def tile(self, layer: str, zoom: int, x: int, y: int) -> bytes:
        """A vector tile's bytes; empty where there is no coverage."""
        url = f"{self.options.tiles_url}/maps/vtp/{layer}/2/{zoom}/{x}/{y}"
        return bytes(self._request("tiles", url, {"access_token": self._token}, "tile"))

    def picture(self, url: str) -> bytes:
        """The bytes of a picture behind a signed URL; RequestError EXPIRED_URL when it is no longer valid."""
        if not _is_http(url):
            raise RequestError(ErrorKind.REFUSED, "the picture's address is no http(s) URL")
        data = bytes(self._request("cdn", url, {}, "picture"))
        self.n_picture_bytes += len(data)
        return data

    def picture_arrived(self) -> None:
        """A sound picture came from the image host."""
        self._pictures_missed = 0

    def picture_missed(self) -> None:
        """A picture could not be had at a fresh address: a host that gives many times in a row nothing ends the run."""
        self._pictures_missed += 1
        if self._pictures_missed >= _MOST_MISSED_PICTURES:
            self.limiter.stop(
                f"the image host refused {_MOST_MISSED_PICTURES} fresh addresses in a row; it may have blocked this "
                "machine. Wait some hours, then run the same command again to continue"
            )

    def drop_field(self, name: str) -> None:
        """The service no longer has this field: do without it for the rest of the run, with one warning."""
        with self._drop_lock:
            if name not in self.dropped_fields:
                self.dropped_fields |= {name}
                _log.warning("the service no longer knows the field %r; harvesting without it", name)

    # --- one request, with everything that can happen to it ---

    def _graph(self, path: str, query: Mapping[str, str], kind: str, fields: Sequence[str] = ()) -> Any:
        """A graph request, without the fields that the service no longer has."""
        wanted = [name for name in fields if name not in self.dropped_fields]
        asked = {**query, "fields": ",".join(wanted)} if fields else query
        return self._request("graph", f"{self.options.graph_url}/{path}", asked, kind)

    def _request(self, role: Role, url: str, query: Mapping[str, str], kind: str) -> Any:
        """Ask until it works, is hopeless, or the budget of tries is spent. JSON for graph, bytes for the others."""
        options = self.options
        jitter = tenacity.wait_random_exponential(multiplier=options.backoff_base_s, max=options.backoff_cap_s)

        def keep_trying(state: tenacity.RetryCallState) -> bool:
            error = _failure(state)
            if error is None or error.kind not in RETRYABLE:
                return False
            if error.kind is ErrorKind.RATE_LIMITED:
                # The common pause is the wait, and the limiter ends a run that hears nothing else.
                self.limiter.pause_all(jitter(state) if math.isnan(error.retry_after_s) else error.retry_after_s)
                # Tiles have a daily quota: after some tries the caller takes the other route.
                return role != "tiles" or state.attempt_number < options.max_tries
            return state.attempt_number < min(options.max_tries, _TRIES.get(error.kind, options.max_tries))

        def wait_s(state: tenacity.RetryCallState) -> float:
            error = _failure(state)
            return 0.0 if error is not None and error.kind is ErrorKind.RATE_LIMITED else jitter(state)

        retrying = tenacity.Retrying(retry=keep_trying, wait=wait_s, sleep=self.limiter.sleep, reraise=True)
        try:
            return retrying(self._one_try, role, url, query, kind)
        except RequestError as failure:
            # One dead picture is no dead service, so its tries count once; every try at the API counts.
            if role == "cdn" and failure.kind is ErrorKind.TEMPORARY:
                self._count_failure(failure.kind, counts=True)
                self.picture_missed()
            raise

    def _one_try(self, role: Role, url: str, query: Mapping[str, str], kind: str) -> Any:
        self.limiter.wait_turn(rated=role != "cdn")
        self.n_requests[kind] += 1
        try:
            status, headers, body = self._fetch(role, url, query)
            self.service_date = headers.get("Date")
            failure = classify_response(role, status, body)
            if failure is None:
                content = parse_json(body) if role == "graph" else body * (status == 200)
                self.limiter.succeeded()
                return content
            failure.retry_after_s = retry_after_s(headers.get("Retry-After"), self.options.backoff_cap_s)
        except RequestError as malformed:
            failure = malformed
        self._note(failure, role)
        raise failure

    def _note(self, failure: RequestError, role: Role) -> None:
        """Report the failure to the limiter; a refused token or a block ends the run at once."""
        if failure.kind in STOPS_THE_RUN:
            what = "the token was refused" if failure.kind is ErrorKind.UNAUTHORIZED else "the account is blocked"
            why = f"{what}: {failure.detail}; renew {TOKEN_VARIABLE} and run the same command again to continue"
            self.limiter.stop(why)
            raise RemoteError(why)
        if failure.kind in (ErrorKind.RATE_LIMITED, ErrorKind.TEMPORARY):
            self._count_failure(failure.kind, counts=failure.kind is ErrorKind.TEMPORARY and role != "cdn")
        else:
            self.limiter.succeeded()

    def _count_failure(self, kind: ErrorKind, *, counts: bool) -> None:
        """End the run after too many; one image that always fails, asked for again and again, is no dead service."""
        if self.limiter.failed(counts=counts):
            if kind is ErrorKind.TEMPORARY and self._answers():
                self.limiter.succeeded()
            else:
                self.limiter.give_up()

    def _answers(self) -> bool:
        """Whether the API answers one cheap question."""
        self.limiter.wait_turn(rated=True)
        self.n_requests["check"] += 1
        try:
            status, _, body = self._fetch("graph", *self._cheap_question())
            failure = classify_response("graph", status, body)
            if failure is None:
                parse_json(body)
        except RequestError:
            return False
        return failure is None or failure.kind in (ErrorKind.NOT_FOUND, ErrorKind.FORBIDDEN)

    def _cheap_question(self) -> tuple[str, dict[str, str]]:
        """Address and query of a request that a healthy service answers at once."""
        return f"{self.options.graph_url}/{CHECK_IMAGE_ID}", {"fields": "id"}

    def _fetch(self, role: Role, url: str, query: Mapping[str, str]) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and whole body within the deadline and the size cap."""
        options = self.options
        picture = role == "cdn"
        deadline_s = options.download_deadline_s if picture else options.metadata_deadline_s
        cap = int((options.max_image_mb if picture else options.max_answer_mb) * _MEGABYTE)
        headers = {"Authorization": f"OAuth {self._token}"} if role == "graph" else {}
        http = self._image_hosts if picture else self._api
        try:
            with (
                self._guard.within(deadline_s),
                http.stream("GET", url, params=query or None, headers=headers) as response,
            ):
                encoding = response.headers.get("Content-Encoding", "")
                body = self._guard.body(response.iter_raw(), encoding, cap)
                return response.status_code, response.headers, body
        except httpx.InvalidURL as error:
            raise RequestError(ErrorKind.REFUSED, f"{role}: {redact(str(error))}") from None
        except httpx.HTTPError as error:
            # The exception carries the request with its URL; only a redacted text goes on.
            text = redact(f"{type(error).__name__}: {error}").replace(self._token, "***")
            raise RequestError(ErrorKind.TEMPORARY, f"{role}: {text}") from None


def _is_http(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


def _failure(state: tenacity.RetryCallState) -> RequestError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, RequestError) else None


def _entries(answer: Any) -> list[Json]:
    """The entries of a collection; RequestError MALFORMED when the answer is not one."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        raise RequestError(ErrorKind.MALFORMED, "the answer has no `data` list")
    return [entry for entry in data if isinstance(entry, dict)]
