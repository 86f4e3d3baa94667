"""SIGTERM ends a harvest within two seconds, whatever the other side does; a real process, real sockets."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.child_process import child
from support.harvest_support import SiteFactory, town

from geocorrect.demo.mapillary_server.hostile import ATTACKS
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeReply
from geocorrect.errors import ExitCode, RemoteError
from geocorrect.harvest.mapillary.client import MapillaryClient
from geocorrect.harvest.options import HarvestOptions

pytestmark = pytest.mark.long

STOP_S = 2.0
"""The promise, on a free core."""
SLOW_NAMES = """
import socket, sys, time
find = socket.getaddrinfo
def getaddrinfo(host, *rest, **named):
    if host != "names.example":
        return find(host, *rest, **named)
    open("asked", "w").close()
    time.sleep(120)
socket.getaddrinfo = getaddrinfo
from geocorrect.__main__ import main
main()
"""
"""The program on a machine whose name servers do not answer."""


def slow_down() -> float:
    """How many times longer than on a free core a process takes now."""
    began_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-S", "-c", "sum(range(10**7))"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return max((time.monotonic() - began_s) / cpu_s, 1.0)


def stopped(folder: Path, program: list[str], settings: str, is_waiting: Callable[[], bool]) -> tuple[float, float]:
    """Wall and processor seconds that a harvest takes to end after SIGTERM; it must end as on a request to stop."""
    folder.joinpath("geocorrect.toml").write_text(
        f"[harvest]\n{settings}\nprivate_image_hosts = true\n"
        "metadata_deadline_s = 600.0\ndownload_deadline_s = 600.0\nidle_timeout_s = 600.0\n"
    )
    command = [sys.executable, *program, "harvest", "--bbox", "12.499,41.899,12.52,41.92"]
    environment = os.environ | {"MAPILLARY_TOKEN": FAKE_TOKEN, "PYTHONPATH": os.pathsep.join(sys.path)}
    with child(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as running:
        while not is_waiting():
            assert running.poll() is None
            time.sleep(0.05)
        factor = slow_down()
        times = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        began_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        running.send_signal(signal.SIGTERM)
        _, message = running.communicate(timeout=60)
        wall_s, after = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cpu_s = used_s - sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    print(f"ended {wall_s:.2f} s after the signal, {cpu_s:.2f} s of them at work; machine {factor:.1f} times slower")
    assert running.returncode == ExitCode.TERMINATED, message
    assert "stopped on request" in " ".join(message.split())
    assert wall_s < STOP_S * max(factor, slow_down()), (wall_s, cpu_s, factor)
    return wall_s, cpu_s


@pytest.mark.parametrize(
    ("name", "role"),
    [
        pytest.param(name, role, marks=() if (name, role) in quick else pytest.mark.slow)
        for quick in [{("endless headers", "tiles"), ("nothing", "graph"), ("a flood of 1xx answers", "cdn")}]
        for name in ATTACKS
        for role in ("tiles", "graph", "cdn")
    ],
)
def test_a_hostile_server(site: SiteFactory, tmp_path: Path, name: str, role: str) -> None:
    reply, first = FakeReply(attack=ATTACKS[name]), 2 if role == "graph" else 1
    # The first question of all tries the token.
    here = site(town(2, 20), rule=lambda r: reply if r.role == role and len(here.script.to(role)) >= first else None)
    urls = f'graph_url = "{here.service.graph_url}"\ntiles_url = "{here.service.tiles_url}"'
    stopped(tmp_path, ["-m", "geocorrect"], urls, lambda: len(here.script.to(role)) >= first)


@contextmanager
def black_hole() -> Iterator[str]:
    """An address that swallows every attempt to connect: its queue is full and nobody accepts."""
    with socket.socket() as listening, socket.socket() as one, socket.socket() as two:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def connecting(url: str) -> bool:
    """Whether a third connection waits for the black hole (state SYN_SENT)."""
    port = f"{int(url.rpartition(':')[2]):04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(row[2].endswith(f":{port}") and row[3] == "02" for row in rows) >= 2


def test_an_address_that_swallows_everything(tmp_path: Path) -> None:
    with black_hole() as url:
        stopped(tmp_path, ["-m", "geocorrect"], f'graph_url = "{url}"\ntiles_url = "{url}"', lambda: connecting(url))


def test_name_servers_that_do_not_answer(tmp_path: Path) -> None:
    urls = 'graph_url = "http://names.example"\ntiles_url = "http://names.example"'
    _, cpu_s = stopped(tmp_path, ["-c", SLOW_NAMES], urls, lambda: (tmp_path / "asked").exists())
    # Nothing is left to do but to end, whose price is that of the interpreter's last look through its objects.
    assert cpu_s < 0.5


def test_the_wait_for_a_connection_ends_on_a_stop_and_at_the_deadline() -> None:
    with black_hole() as url:
        options = HarvestOptions(graph_url=url, tiles_url=url, max_tries=1, idle_timeout_s=60.0)
        with MapillaryClient(options, FAKE_TOKEN) as client:
            threading.Timer(0.3, client.limiter.stop, ("enough",)).start()
            began_s = time.monotonic()
            with pytest.raises(RemoteError, match="enough"):
                client.entity("1", ("id",))
            assert time.monotonic() - began_s < STOP_S
