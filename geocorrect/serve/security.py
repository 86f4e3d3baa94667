"""Who may do what: allowed hosts, token and cookie, CSRF, body size, and the headers of every answer.

Pure ASGI, so that answers that are streamed stay streams. A request passes these checks in order:

1. its `Host` is one that the server goes by (a foreign name that resolves to this machine is refused: DNS rebinding);
2. `?token=…` is exchanged for a cookie by a redirect, so that the address bar and the history do not keep the secret;
3. reading what is published (`PUBLIC`) is free for everyone who reaches the server; all else needs the cookie;
4. a request that changes something must come from this server's own pages: `Origin` equal to `Host`, and the CSRF
   token in a header, which another site can neither read nor send; a read-only server refuses it anyway;
5. its body is no longer than `MAX_BODY_BYTES`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geocorrect.errors import GeocorrectError

PUBLIC = ("/static/", "/ogc", "/tiles/")
"""Beginnings of paths that everybody may read: program text, and the corrected photos as data for GIS programs."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_BODY_BYTES = 64 * 1024
"""The longest body is a decision with its note, or a click."""
TOO_LONG = f"the body is longer than {MAX_BODY_BYTES} bytes"
CSRF_HEADER = "x-csrf-token"


def is_public(path: str) -> bool:
    """Whether everybody may read what a path leads to."""
    return path.startswith(PUBLIC)


def csrf_of(token: str) -> str:
    """The CSRF token of a server; it does not reveal the server's token."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def cookie_of(token: str) -> str:
    """Name of the cookie; servers on other ports of this machine, which share its cookies, have other names."""
    return "geocorrect-" + hashlib.sha256(token.encode()).hexdigest()[:12]


def content_security_policy(tile_origins: Sequence[str] = ()) -> str:
    """Only this server's own files, no inline script or style, no frame around it; map tiles of the named origins."""
    tiles = "".join(f" {origin}" for origin in tile_origins)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self'; "
        f"img-src 'self' data: blob:{tiles}; connect-src 'self'{tiles}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class BodyTooLargeError(GeocorrectError):
    """A request's body is longer than it may be."""


class Security:
    """What every request passes first; outside everything else, so that the answer to a bug has the headers, too."""

    def __init__(
        self, app: ASGIApp, token: str, hosts: Sequence[str], *, read_only: bool = False,
        tile_origins: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._read_only = read_only
        self._app, self._token, self._csrf, self._cookie = app, token, csrf_of(token), cookie_of(token)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._headers = {
            "content-security-policy": content_security_policy(tile_origins),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # websockets are closed before they open

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        await self._app(scope, _limited(receive), guarded_send)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that must go no further, None for one that may."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _host_name(host) not in self._hosts:
            return _refused(421, "this server does not go by that name; add it with --allow-host")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if given:
            return self._exchange(scope, given[0], [pair for pair in query if pair[0] != "token"])
        reads = scope["method"] in SAFE
        if reads and is_public(scope["path"]):
            return None
        if not self._has_cookie(headers):
            return _refused(401, "open the address with the token that `geocorrect serve` printed")
        return None if reads else self._foreign(headers, host)

    def _exchange(self, scope: Scope, given: str, rest: list[tuple[str, str]]) -> Response:
        if scope["method"] not in SAFE or not hmac.compare_digest(given.encode(), self._token.encode()):
            return _refused(401, "wrong token: the server was started anew? It prints a new address then")
        path = "/" + scope["path"].lstrip("/")  # "//host" would lead to another server
        answer = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        return answer

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._token.encode())

    def _foreign(self, headers: Headers, host: str) -> Response | None:
        """Refusal of a change that is not allowed, that another site's page asked for, or that is too long."""
        if self._read_only:
            return _refused(403, "this server is read-only")
        scheme, _, origin = headers.get("origin", "").lower().partition("://")
        if scheme not in ("http", "https") or origin != host.lower():
            return _refused(403, "the request comes from another site")
        if not hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), self._csrf.encode()):
            return _refused(403, "the CSRF token is missing or old: load the page again")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return _refused(413, TOO_LONG)
        return None


def _host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    name, _, port = host.lower().rpartition(":")
    return name if name and port.isdecimal() else host.lower()


def _refused(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def _limited(receive: Receive) -> Receive:
    """The body of a request that states no length is counted as it comes."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            raise BodyTooLargeError(TOO_LONG)
        return message

    return counted
