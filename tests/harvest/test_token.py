"""The token stays in memory: not in logs, exceptions, files, the catalog, or at the image host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from support.harvest_support import SiteFactory, first, town

from geocorrect.demo.mapillary_server.server import (
    FAKE_TOKEN,
    FakeMapillaryServer,
    FakeReply,
    FakeRequest,
)
from geocorrect.errors import ConfigError, ExitCode, RemoteError
from geocorrect.harvest.mapillary.client import MapillaryClient, token_from_environment

# Everything logs at DEBUG to stderr, the HTTP library included, before the ordinary main runs.
LOUD = (
    "import logging, sys; logging.basicConfig(level=logging.DEBUG, stream=sys.stderr); "
    "logging.getLogger('httpcore').setLevel(logging.DEBUG); "
    "from geocorrect.__main__ import main; sys.exit(main())"
)
FORMS = [FAKE_TOKEN, quote(FAKE_TOKEN), FAKE_TOKEN.split("|")[2], FAKE_TOKEN.split("|")[1]]


def run_command(service: FakeMapillaryServer, folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    folder.mkdir(exist_ok=True)
    (folder / "geocorrect.toml").write_text(
        f'[harvest]\ngraph_url = "{service.graph_url}"\ntiles_url = "{service.tiles_url}"\nprivate_image_hosts = true\n'
        "requests_per_s = 1000.0\nbackoff_base_s = 0.01\nmax_tries = 2\nidle_timeout_s = 2.0\n"
        "[area]\nbbox = [12.499, 41.899, 12.52, 41.92]\n"
    )
    command = [sys.executable, "-c", LOUD, "--log-level", "debug", "harvest", *arguments]
    environment = {**os.environ, "MAPILLARY_TOKEN": service.token, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=120)


def assert_nowhere(folder: Path, *texts: bytes) -> None:
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert len(contents) > 3
    for form in FORMS:
        assert not any(form.encode() in content for content in (*contents, *texts)), form


@pytest.mark.long
def test_a_whole_noisy_run_leaks_nothing(site: SiteFactory, tmp_path: Path) -> None:
    broken = FakeReply(500, b"broken")

    def rule(request: FakeRequest) -> FakeReply | None:
        # ErrorKind of every kind, so that every message is written: tiles, batches, a picture, a cut connection.
        if request.role == "tiles" and request.path.endswith("6"):
            return broken
        if request.role == "cdn" and request.path.startswith(f"{town(1, 4)[-1]['id']}"):
            return broken  # always, so that something is missing in the end
        if request.number % 11 == 0:
            return FakeReply(200, b"x" * 50, cut_after=3)
        return broken if request.number % 7 == 0 else None

    here = site(town(3, 10), rule=rule)
    folder = tmp_path / "scene"
    done = run_command(here.service, folder, "--json")
    assert done.returncode == ExitCode.INCOMPLETE_HARVEST, done.stderr[-2000:]
    assert b"httpx" in done.stderr or b"httpcore" in done.stderr, "the HTTP library did log"
    assert b"access_token=***" in done.stderr
    assert_nowhere(folder, done.stdout, done.stderr)
    assert here.service.tokens_sent_to_cdn == 0


@pytest.mark.long
def test_a_refused_token_is_not_repeated_in_the_message(site: SiteFactory, tmp_path: Path) -> None:
    body = f'{{"error":{{"code":190,"message":"Invalid token {FAKE_TOKEN}"}}}}'.encode()
    here = site(rule=lambda r: FakeReply(500, body) if r.role == "graph" else None)
    done = run_command(here.service, tmp_path / "scene")
    assert done.returncode == 8
    assert b"MAPILLARY_TOKEN" in done.stderr
    assert b"Traceback" not in done.stderr
    for form in FORMS[:3]:
        assert form.encode() not in done.stderr + done.stdout


def test_connection_errors_do_not_carry_the_url(site: SiteFactory) -> None:
    here = site(rule=first(50, FakeReply(200, b"", cut_after=0, content_length=9), lambda r: True))
    with here.client(max_tries=1) as client, pytest.raises(Exception) as caught:
        client.tile("mly1_public", 14, 1, 2)
    error: BaseException | None = caught.value
    while error is not None:
        assert not any(form in f"{error} {error!r}" for form in FORMS)
        assert error.__suppress_context__ or error.__context__ is None
        error = error.__cause__


def test_token_is_not_in_the_client_repr(site: SiteFactory) -> None:
    here = site()
    with here.client() as client:
        assert here.service.token not in repr(client)


@pytest.mark.parametrize("value", ["", "  ", "MLY|1 2|3", "MLY|ä|3"])
def test_unusable_token_is_a_config_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MAPILLARY_TOKEN", value)
    with pytest.raises(ConfigError, match="MAPILLARY_TOKEN") as caught:
        token_from_environment()
    assert len(value.strip()) < 3 or value not in str(caught.value)


def test_bad_addresses_are_config_errors(site: SiteFactory) -> None:
    here = site()
    with pytest.raises(ConfigError, match="http"):
        MapillaryClient(type(here.options())(graph_url="ftp://x"), "t" * 20)


def test_closed_client_says_so(site: SiteFactory) -> None:
    here = site()
    with here.client() as client:
        pass
    with pytest.raises(RemoteError, match="closed"):
        client.image_ids("x")
