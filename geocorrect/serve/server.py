"""Run the application until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from geocorrect.errors import OutputError
from geocorrect.serve.app import create_app
from geocorrect.serve.head_limit import LimitedHeads
from geocorrect.serve.state import ServeSettings

GRACE_S = 3
"""How long requests under way may take once the server is to stop."""


def host_in_url(host: str) -> str:
    """A host as addresses and the header `Host` have it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def config_of(settings: ServeSettings) -> uvicorn.Config:
    """How uvicorn runs the application; at a free port of this machine, unless it is given a socket."""
    # The access log would hold the token; our own log says what goes wrong.
    return uvicorn.Config(
        create_app(settings), port=0, http=LimitedHeads, ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip


def serve(settings: ServeSettings, host: str, port: int, on_start: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        settings: what to serve.
        host: address to listen at.
        port: 0 takes a free one.
        on_start: called with the address, which has the token in it, once the port is open.

    Raises:
        OutputError: the port is taken, or not allowed.
        KeyboardInterrupt: always in the end; SIGTERM ends the process.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OutputError(f"{host}:{port}: cannot be listened at ({error.strerror}); choose another --port") from None
    on_start(f"http://{host_in_url(host)}:{listener.getsockname()[1]}/?token={settings.token}")
    with listener:
        uvicorn.Server(config_of(settings)).run(sockets=[listener])
    # Only a signal ends it, which uvicorn then raises again. Where SIGINT is ignored, as in what a script runs in the
    # background (`geocorrect serve &`), that does nothing.
    raise KeyboardInterrupt
