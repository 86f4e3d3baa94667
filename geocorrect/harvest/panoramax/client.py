"""The Panoramax API over the same line as Mapillary's: rate, pauses, retries, deadlines and size caps are shared.

One search end point, without a token; pictures lie behind plain addresses, which may redirect (docs/panoramax.md).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from geocorrect.errors import ConfigError, RemoteError
from geocorrect.harvest.area import Box
from geocorrect.harvest.mapillary.client import Json, MapillaryClient
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError, Role
from geocorrect.harvest.options import HarvestOptions

SEARCH_LIMIT = 1000
"""Pictures per answer; instances allow up to 10,000."""
_MOST_PAGES = 100
_MOST_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_TOKEN = "(no token)"


@dataclass(frozen=True)
class Found:
    """What a search box shows."""

    items: list[Json]
    """STAC items."""
    is_complete: bool
    """False when there may be more: a full answer without a next page, a page that cannot be had, too many pages."""


class PanoramaxClient(MapillaryClient):
    """Search and picture downloads of one instance, or of the federation's catalog. Use as a context manager."""

    def __init__(self, options: HarvestOptions) -> None:
        """ConfigError when the address is none."""
        parts = urlsplit(options.panoramax_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"harvest.panoramax_url: {options.panoramax_url!r} is not an http(s) address")
        super().__init__(options, _NO_TOKEN)
        self._root = options.panoramax_url.rstrip("/")

    def __repr__(self) -> str:
        return f"PanoramaxClient({self._root})"

    def search(self, box: Box, since: str | None = None) -> Found:
        """Every picture in a box, page by page.

        Args:
            box: west, south, east, north in degrees.
            since: only pictures taken from this moment on, RFC 3339.
        """
        query = {"bbox": ",".join(f"{value:.7f}" for value in box), "limit": str(SEARCH_LIMIT)}
        if since is not None:
            query["datetime"] = f"{since}/.."
        url, items, seen = f"{self._root}/search", list[Json](), set[str]()
        for _ in range(_MOST_PAGES):
            page = self._page(url, query)
            items += page["features"]
            seen.add(url)
            named = _next_page(page, url)
            if named is None:
                return Found(items, len(page["features"]) < SEARCH_LIMIT)
            if not named or named in seen:
                return Found(items, is_complete=False)
            url, query = named, {}
        return Found(items, is_complete=False)

    def check_service(self) -> None:
        """One cheap request, so that a wrong address or a dead line stops a long run before it starts (RemoteError)."""
        try:
            self._page(*self._cheap_question())
        except RequestError as failure:
            text = f"{self._root} does not answer like a Panoramax API ({failure.detail}); check harvest.panoramax_url"
            raise RemoteError(text) from None

    def _cheap_question(self) -> tuple[str, dict[str, str]]:
        return f"{self._root}/search", {"bbox": "0,0,0.001,0.001", "limit": "1"}

    def _page(self, url: str, query: Json) -> Json:
        """An answer with a list of features; one of another shape is asked for once more."""
        for _ in range(2):
            page = self._request("graph", url, query, "search")
            features = page.get("features") if isinstance(page, dict) else None
            if isinstance(features, list) and all(isinstance(item, dict) for item in features):
                return dict(page)
        raise RequestError(ErrorKind.MALFORMED, "the answer has no list of features")

    def _note(self, failure: RequestError, role: Role) -> None:
        if failure.kind is ErrorKind.UNAUTHORIZED:
            why = f"{self._root} asks for a login: {failure.detail}; only open instances can be harvested"
            self.limiter.stop(why)
            raise RemoteError(why)
        super()._note(failure, role)

    def _fetch(self, role: Role, url: str, query: Any) -> tuple[int, httpx.Headers, bytes]:
        """No credentials for anybody, and a few redirects: instances send pictures from elsewhere."""
        for _ in range(_MOST_REDIRECTS + 1):
            status, headers, body = super()._fetch("cdn" if role == "cdn" else "tiles", url, query)
            if status not in _REDIRECTS or "Location" not in headers:
                return status, headers, body
            try:
                target = urljoin(url, headers["Location"])
                scheme, host = urlsplit(target).scheme, urlsplit(target).hostname
            except ValueError:
                raise RequestError(ErrorKind.REFUSED, "redirect to what is no address") from None
            if scheme not in ("http", "https"):
                raise RequestError(ErrorKind.REFUSED, f"redirect to {scheme!r}")
            if role != "cdn" and host != urlsplit(url).hostname:
                raise RequestError(ErrorKind.REFUSED, f"the service redirects to another host, {host}")
            url, query = target, {}
        raise RequestError(ErrorKind.REFUSED, f"more than {_MOST_REDIRECTS} redirects")


def _next_page(page: Json, url: str) -> str | None:
    """The address of the next page; empty when it is not on the same host or not to be got; None: there is none."""
    links = page.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "next" and isinstance(link.get("href"), str):
            with suppress(ValueError):  # no address
                target = urljoin(url, str(link["href"]))
                if urlsplit(target)[:2] == urlsplit(url)[:2] and str(link.get("method", "GET")).upper() == "GET":
                    return target
            return ""
    return None
