"""`geocorrect demo --serve`: the demo's Mapillary server in a process of its own, and the environment that leads to it.

Like ssh-agent: the process stays behind, what is printed is for `eval`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeMapillaryServer
from geocorrect.demo.world.build import open_world
from geocorrect.errors import InputError, RemoteError

IDLE_S = 3600.0
"""A server that nobody asked for so long ends by itself."""
PROCESS = "GEOCORRECT_DEMO_SERVER"
"""The environment variable with the number of the server's process: `kill $GEOCORRECT_DEMO_SERVER` ends it."""


def start_server(world: Path) -> dict[str, str]:
    """Start a server of a built world in the background; returns the environment to set once it answers.

    Raises:
        InputError: there is no world in the folder.
        RemoteError: the server did not start.
    """
    if not (world / "mapillary.json").is_file():
        raise InputError(f"{world}: no demo street there; build it with `geocorrect demo` first")
    command = [sys.executable, "-m", "geocorrect.demo.serve", str(world.absolute())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True)
    assert process.stdout is not None
    addresses = process.stdout.readline().split()
    if len(addresses) != 2:
        raise RemoteError(f"the demo's server did not start (exit code {process.wait()})")
    return {
        "MAPILLARY_TOKEN": FAKE_TOKEN,
        "GEOCORRECT__HARVEST__GRAPH_URL": addresses[0],
        "GEOCORRECT__HARVEST__TILES_URL": addresses[1],
        "GEOCORRECT__HARVEST__PRIVATE_IMAGE_HOSTS": "true",
        PROCESS: str(process.pid),
    }


def shell_lines(environment: Mapping[str, str]) -> list[str]:
    """What a shell evaluates to have the environment."""
    return [f"export {name}='{value}'" for name, value in environment.items()]


def serve(world: Path, idle_s: float = IDLE_S) -> None:
    """Serve until SIGTERM, or until nobody asked for so many seconds; prints the two addresses first."""
    built = open_world(world)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with FakeMapillaryServer(built.metadata, built.photos) as service:
        sys.stdout.write(f"{service.graph_url} {service.tiles_url}\n")
        sys.stdout.flush()
        # Whoever started it goes on: its pipe, and the shell's, must not stay open.
        with open(os.devnull, "w") as nowhere:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere.fileno(), stream.fileno())
        seen, since_s = 0, time.monotonic()
        while time.monotonic() - since_s < idle_s:
            time.sleep(1.0)
            if (now := service.requests.total()) != seen:
                seen, since_s = now, time.monotonic()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
