"""Servers that mean harm, on real sockets: left at the deadline or on a stop, in bounded memory."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpcore
import pytest
from support.child_process import child
from support.harvest_support import SiteFactory, street_image, town
from support.hostile_service import HostileService

from geocorrect.demo.mapillary_server.hostile import ATTACKS
from geocorrect.demo.mapillary_server.server import FakeReply, FakeRequest
from geocorrect.errors import ExitCode, RemoteError
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError
from geocorrect.harvest.mapillary.transport import GuardedBackend, RequestGuard, is_public

HURRY = {"metadata_deadline_s": 1.0, "download_deadline_s": 1.0, "idle_timeout_s": 20.0, "max_tries": 1}
"""A deadline of 1 s, and no help from the limit on silence."""
CHILD = """
import json, sys, time, resource
from geocorrect.harvest.mapillary.client import MapillaryClient
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.harvest.options import HarvestOptions
graph, tiles, name = sys.argv[1:]
options = HarvestOptions(graph_url=graph, tiles_url=tiles, private_image_hosts=True, idle_timeout_s=60.0, max_tries=1,
    metadata_deadline_s=3.0, download_deadline_s=3.0, requests_per_s=100.0, max_consecutive_failures=100)
client = MapillaryClient(options, "a-token")
for call in (lambda: client.entity("1", ("id",)), lambda: client.tile("mly1_public", 14, 1, 2),
             lambda: client.picture(graph.replace("graph", "cdn/1/2048.jpg"))):
    start = time.monotonic()
    try:
        call()
        what = "answered"
    except RequestError as error:
        what = str(error)
    print(json.dumps([what, time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def attack(name: str, *roles: str) -> object:
    reply = FakeReply(attack=ATTACKS[name])
    return lambda request: reply if request.role in roles else None


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_server_is_left_at_the_deadline(site: SiteFactory, name: str) -> None:
    here = site(rule=attack(name, "graph"))
    with here.client(**HURRY) as client:
        start_s = time.monotonic()
        with pytest.raises(RequestError) as caught:
            client.entity("1", ("id",))
        assert time.monotonic() - start_s < 2.0
    too_many = ErrorKind.TOO_MUCH_DATA if name == "millions of values" else ErrorKind.REFUSED
    assert caught.value.kind in (ErrorKind.TEMPORARY, ErrorKind.MALFORMED, ErrorKind.REFUSED, too_many)
    assert len(caught.value.detail) <= 300
    assert caught.value.detail.isprintable()


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_every_hostile_server_in_time_and_memory(site: SiteFactory, name: str) -> None:
    """The stated bounds: within 4 s at a deadline of 3 s, and below 400 MiB, as API, as tiles, as image host."""
    here = site(rule=attack(name, "graph", "tiles", "cdn"))
    command = [sys.executable, "-c", CHILD, here.service.graph_url, here.service.tiles_url, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 3
    for what, seconds, peak_mib in answers:
        assert seconds < 4.0, what
        assert peak_mib < 400.0, what


@pytest.mark.long
@pytest.mark.parametrize("name", ["endless headers", "empty deflate stream"])
def test_sigterm_is_heeded_while_a_server_holds_on(site: SiteFactory, tmp_path: Path, name: str) -> None:
    here = site(rule=attack(name, "tiles"))
    (tmp_path / "geocorrect.toml").write_text(
        f'[harvest]\ngraph_url = "{here.service.graph_url}"\ntiles_url = "{here.service.tiles_url}"\n'
        "metadata_deadline_s = 600.0\nidle_timeout_s = 600.0\n"
    )
    command = [sys.executable, "-m", "geocorrect", "harvest", "--bbox", "12.499,41.899,12.52,41.92"]
    environment = os.environ | {"MAPILLARY_TOKEN": here.service.token}
    with child(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as running:
        while not here.script.to("tiles"):
            time.sleep(0.05)
            assert running.poll() is None
        time.sleep(0.3)
        start_s = time.monotonic()
        running.send_signal(signal.SIGTERM)
        _, message = running.communicate(timeout=60)
        # Two seconds on a free machine; the deadline and the limit on silence are 600.
        assert time.monotonic() - start_s < 15.0
    assert running.returncode == ExitCode.TERMINATED
    assert "stopped on request" in " ".join(message.split())


def test_the_night_goes_on_and_the_report_names_the_holes(site: SiteFactory) -> None:
    images = town(2, 6)
    bad = {images[i]["id"]: name for i, name in enumerate(ATTACKS) if i < 4}
    replies = {image_id: FakeReply(attack=ATTACKS[name]) for image_id, name in bad.items()}
    here = site(images, rule=lambda r: replies.get(r.path.split("/")[0]) if r.role == "cdn" else None)
    report = here.harvest(**{**HURRY, "download_deadline_s": 0.5})
    assert here.files() == here.ids - bad.keys()
    assert {hole.name for hole in report.holes} == bad.keys()
    assert report.exit_code is ExitCode.INCOMPLETE_HARVEST


@pytest.mark.long
def test_nights_with_everything_at_once_end_with_every_photo(site: SiteFactory) -> None:
    """What `make chaos` meets, without kills: attacks, odd bodies in every role, and records that are always odd."""
    images = town(2, 20)
    hostile = HostileService(images)
    here = site(images, rule=hostile)
    hostile.service = here.service
    for _ in range(3):
        report = here.harvest(**{**HURRY, "image_size": "original", "download_deadline_s": 0.5, "max_tries": 4})
    assert here.files() == here.ids
    assert report.holes == []
    assert {role for role, _ in hostile.served} == {"graph", "tiles", "cdn"}


def test_one_layer_of_gzip_is_read(site: SiteFactory) -> None:
    body = gzip.compress(json.dumps({"id": "1"}).encode())
    here = site(rule=lambda r: FakeReply(200, body, {"Content-Encoding": "gzip"}))
    with here.client() as client:
        assert client.entity("1", ("id",)) == {"id": "1"}
        assert here.script.seen[0][1].headers["Accept-Encoding"] == "gzip"
    cut = FakeReply(200, body[:-9], {"Content-Encoding": "gzip"})
    here.script.rule = lambda r: cut
    with here.client(max_tries=1) as client, pytest.raises(RequestError, match="cut short"):
        client.entity("1", ("id",))


def test_large_answers_wait_for_each_other_within_their_deadlines() -> None:
    """Sixteen megabytes each without waiting, more only one at a time."""
    guard = RequestGuard(lambda: None)
    go_on, arrived = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"x" * 17_000_000
        arrived.set()
        go_on.wait(10)

    first = threading.Thread(target=guard.body, args=(slow(), "", 10**8))
    first.start()
    arrived.wait(10)
    with guard.within(0.4), pytest.raises(RequestError, match="deadline"):
        guard.body([b"x" * 17_000_000], "", 10**8)
    assert len(guard.body([b"x" * 15_000_000], "", 10**8)) == 15_000_000
    go_on.set()
    first.join()
    assert len(guard.body([b"x" * 17_000_000], "", 10**8)) == 17_000_000


def _drip(wire: socket.socket) -> None:
    """The head of a TLS record of 16 KiB, and its bytes one by one."""
    for byte in b"\x16\x03\x03\x40" + b"\0" * 90:
        wire.sendall(bytes([byte]))
        time.sleep(0.1)


def test_a_tls_handshake_that_drips_is_left(site: SiteFactory) -> None:
    with _server(_drip) as port, site().client(**HURRY) as client:
        start_s = time.monotonic()
        with pytest.raises(RequestError) as caught:
            client._request("graph", f"https://127.0.0.1:{port}/", {}, "entity")
        assert time.monotonic() - start_s < 2.0
    assert caught.value.kind is ErrorKind.TEMPORARY


def test_a_stop_ends_a_handshake_too(site: SiteFactory) -> None:
    with _server(lambda wire: time.sleep(10)) as port, site().client(idle_timeout_s=60.0) as client:
        threading.Timer(0.3, client.limiter.stop, ("enough",)).start()
        start_s = time.monotonic()
        with pytest.raises(RemoteError, match="enough"):
            client._request("graph", f"https://127.0.0.1:{port}/", {}, "entity")
        assert time.monotonic() - start_s < 2.0


@contextmanager
def _server(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            wire, _ = listening.accept()
            with wire, suppress(OSError):
                talk(wire)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


# --- pictures from inside our own network ---


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2a03:2880::1", True), ("127.0.0.1", False), ("169.254.169.254", False), ("::1", False),
        ("10.1.2.3", False), ("192.168.0.1", False), ("172.16.0.1", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("fe80::1%eth0", False), ("fd00::1", False), ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False), ("224.0.0.1", False), ("ff0e::1", False), ("255.255.255.255", False), ("::", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1"])
def test_a_picture_in_our_own_network_is_not_asked_for(site: SiteFactory, host: str) -> None:
    here = site(town(1, 3))
    port = here.service.root_url.rsplit(":", 1)[1]
    with here.client(private_image_hosts=False) as client:
        with pytest.raises(RequestError, match="private_image_hosts|has no address|Name or service|nodename") as caught:
            client.picture(f"http://{host}:{port}/cdn/1/2048.jpg")
        assert here.script.to("cdn") == []
    if host == "127.0.0.1":
        assert caught.value.kind is ErrorKind.REFUSED
        report = here.harvest(private_image_hosts=False)
        assert len(report.holes) == 3
        assert "is no public address" in report.holes[0].why
        assert here.script.to("cdn") == []


def test_the_address_that_was_looked_at_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means something else a moment later, or one public and one private address."""
    asked: list[str] = []
    answers = iter([["93.184.216.34"], ["93.184.216.34", "127.0.0.1"]])
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(*info, (a, 80)) for a in next(answers)])
    backend = GuardedBackend(RequestGuard(lambda: None), public_only=True)

    def connect(address: str, *_: object, **__: object) -> None:
        asked.append(address)
        raise httpcore.ConnectError("not today")

    monkeypatch.setattr(backend._inner, "connect_tcp", connect)
    with pytest.raises(httpcore.ConnectError, match="not today"):
        backend.connect_tcp("changing.example", 80)
    assert asked == ["93.184.216.34"]
    with pytest.raises(RequestError, match="no public address"):
        backend.connect_tcp("changing.example", 80)
    assert asked == ["93.184.216.34"]


def test_redirects_are_not_followed(site: SiteFactory) -> None:
    def rule(request: FakeRequest) -> FakeReply | None:
        to = {"Location": f"http://127.0.0.1:{port}/secret"}
        return FakeReply(302, b"", to) if request.role == "cdn" else None

    here = site([street_image(0)], rule=rule)
    port = here.service.root_url.rsplit(":", 1)[1]
    report = here.harvest(max_tries=2)
    assert "HTTP 302" in report.holes[0].why
    assert not any(request.path == "secret" or request.role == "secret" for _, request in here.script.seen)


def test_what_a_server_says_is_printable_and_short(site: SiteFactory) -> None:
    body = json.dumps({"error": {"code": 100, "message": "\x1b]0;gotcha\x07\x1b[2J\u202e" + "x" * 3000}}).encode()
    with site(rule=lambda r: FakeReply(400, body)).client() as client, pytest.raises(RequestError) as caught:
        client.entity("1", ("id",))
    assert caught.value.detail.startswith(" ]0;gotcha  [2J ")
    assert len(caught.value.detail) == 300
