"""What happens around a run: the database goes away, the disk fills, the clock is set back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from support.batch_scene import correct_all, due, in_process, photo, street
from support.child_process import child

from geocorrect.catalog import Catalog
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.lock import lock_scene
from geocorrect.config import Settings
from geocorrect.errors import ExitCode, SceneBusyError
from geocorrect.jobs.run import correct_due

pytestmark = pytest.mark.long

SETTINGS = in_process(Settings())
OUTAGE_S = 6.0
"""Several tries; that one of a minute is waited for is a matter of tests/catalog/test_outage.py."""


@pytest.fixture
def on_server(postgis_url: str, postgis_cluster: Any) -> Iterator[Catalog]:
    if postgis_cluster is None:
        pytest.skip("a given server is not ours to restart")
    with Catalog.open(postgis_cluster.tcp_url(make_url(postgis_url).database), create=True) as catalog:
        yield catalog


@pytest.mark.postgis
def test_a_run_goes_on_when_the_database_was_away(on_server: Catalog, postgis_cluster: Any) -> None:
    """Stopped in the middle of a run, back some seconds later: nothing lost, nothing twice, the scene still held."""
    street(on_server, 300, 10)
    restarts: list[threading.Timer] = []
    holders: list[str] = []

    def progress(done: int, todo: int) -> None:
        if done == 40:
            postgis_cluster.suspend()
            restarts.append(threading.Timer(OUTAGE_S, postgis_cluster.resume))
            restarts[0].start()
        if done == todo:
            holders.append(str(on_server.holder()))

    outcome = correct_due(SETTINGS, on_server, on_progress=progress)
    restarts[0].join()
    assert (outcome.exit_code, outcome.n_computed) == (ExitCode.OK, 300)
    assert on_server.counts() == {"rejected": 300}
    assert due(on_server, SETTINGS) == set()
    assert str(os.getpid()) in holders[0]


@pytest.mark.postgis
def test_a_scene_that_somebody_else_took_meanwhile_is_left(on_server: Catalog, postgis_cluster: Any) -> None:
    with lock_scene(on_server.engine) as lock:
        postgis_cluster.suspend()
        postgis_cluster.resume()
        with lock_scene(on_server.engine), pytest.raises(SceneBusyError, match=str(os.getpid())):
            lock.refresh()
        lock.refresh()
        with pytest.raises(SceneBusyError), lock_scene(on_server.engine):
            pass


FULL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[3])
from geocorrect.__main__ import run
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
sys.exit(run(["correct", "--catalog", sys.argv[1]]))
"""


def test_a_full_disk_is_named_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """No file of the process may grow beyond a limit: for a database that is a full disk."""
    path = tmp_path / "c.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        street(catalog, 600, 10)
    limit = path.stat().st_size + 200_000
    command = [sys.executable, "-c", FULL_DISK, str(path), str(limit), str(Path(__file__).parents[1])]
    environment = {**os.environ, "GEOCORRECT__BATCH__ENGINE": "in-process"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == ExitCode.DATABASE, done.stderr
    assert "make room on the disk" in done.stderr
    assert "Traceback" not in done.stderr
    with Catalog.open(str(path)) as catalog:
        assert faults_of(catalog.engine) == []
        stored = sum(catalog.counts().values())
        assert 0 < stored < 600
        assert len(due(catalog, SETTINGS)) == 600 - stored
        correct_all(catalog, SETTINGS)
        assert catalog.counts() == {"rejected": 600}
        assert len(catalog.runs()) == 1


def test_a_clock_that_was_set_back_changes_nothing(tmp_path: Path) -> None:
    """What is active and what is due follow the order of writing, never the clock."""
    now = [datetime(2026, 3, 1, tzinfo=UTC)]
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True, clock=lambda: now[0]) as catalog:
        street(catalog, 5, 5)
        first = correct_all(catalog, SETTINGS)
        now[0] -= timedelta(days=400)
        catalog.upsert_images([photo("p000002", 11.0)])
        second = correct_all(catalog, SETTINGS)
        assert second != first
        active = {found.image_id: found.run_key for found in catalog.current()}
        assert active["p000002"] == second
        assert due(catalog, SETTINGS) == set()


@contextmanager
def signalled(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`signalled_engine` in a process group of its own, when its first image is done."""
    helpers = str(Path(__file__).parents[1])
    command = [
        sys.executable,
        "-c",
        "import sys; from support.signalled_engine import main; main(sys.argv[1])",
        str(folder),
    ]
    environment = {**os.environ, "PYTHONPATH": helpers}
    with child(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        yield process


def test_a_signal_to_the_whole_group_reaches_only_the_one_who_decides(tmp_path: Path) -> None:
    """Service managers signal every process of a unit; workers leave the decision to their parent."""
    with signalled(tmp_path) as process:
        assert process.stdout is not None
        os.killpg(process.pid, signal.SIGTERM)
        rest = process.stdout.read().split()
        assert process.wait(timeout=60) == ExitCode.TERMINATED
    # Both workers finished what they had in hand, once; nothing new was begun.
    assert 1 <= len(rest) <= 4
    tries = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(tries.values()) == {"x"}
    assert len(tries) == 1 + len(rest)


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    with signalled(tmp_path) as process:
        assert len(members(process.pid)) >= 3
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert members(process.pid) == []


def members(group: int) -> list[int]:
    """Processes of a group that are alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = entry.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(of_group) == group and state != "Z":
            found.append(int(entry.parent.name))
    return found
