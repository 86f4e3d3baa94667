"""The application in a process or thread of its own, on a free port of this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import uvicorn

from geocorrect.serve.security import CSRF_HEADER, cookie_of, csrf_of
from geocorrect.serve.server import config_of
from geocorrect.serve.state import ServeSettings

TOKEN = "a-token-that-only-tests-know"


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A running server."""

    port: int
    token: str = TOKEN
    host: str = "127.0.0.1"

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    def own_headers(self) -> dict[str, str]:
        """What the server's own pages send."""
        return {
            "Cookie": f"{cookie_of(self.token)}={self.token}",
            "Origin": self.origin,
            CSRF_HEADER: csrf_of(self.token),
            "Content-Type": "application/json",
        }

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A request with exactly these headers (and Host, unless they name one)."""
        connection = HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path, headers=self.own_headers())

    def post(self, path: str, value: Any) -> Answer:
        return self.ask("POST", path, json.dumps(value).encode(), self.own_headers())


@contextmanager
def served(settings: ServeSettings) -> Iterator[Served]:
    """The application in a thread, until the end of the block."""
    server = uvicorn.Server(config_of(settings))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        if time.monotonic() > end or not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    try:
        yield Served(server.servers[0].sockets[0].getsockname()[1], settings.token)
    finally:
        server.should_exit = True
        thread.join(30)
