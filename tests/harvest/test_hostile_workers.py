"""Every attack at once, on all download workers in parallel: the bounds hold for each, and the honest photos arrive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.child_process import child
from support.harvest_support import Site, SiteFactory, town

from geocorrect.demo.mapillary_server.hostile import ATTACKS
from geocorrect.demo.mapillary_server.server import FakeReply, FakeRequest
from geocorrect.errors import ExitCode

pytestmark = pytest.mark.slow
WORKERS = 8
CHILD = """
import json, sys, time, resource
from pathlib import Path
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan, run_harvest
from geocorrect.harvest.mapillary.client import MapillaryClient
from geocorrect.harvest.options import HarvestOptions
from geocorrect.harvest.sink import MemorySink
graph, tiles, folder, bbox = sys.argv[1:]
options = HarvestOptions(graph_url=graph, tiles_url=tiles, private_image_hosts=True, idle_timeout_s=60.0, max_tries=1,
    metadata_deadline_s=30.0, download_deadline_s=3.0, requests_per_s=1000.0, max_consecutive_failures=100,
    download_workers=8)
honest, took = MapillaryClient.picture, []
def picture(self, url):
    start = time.monotonic()
    try:
        return honest(self, url)
    finally:
        took.append([url, time.monotonic() - start])
MapillaryClient.picture = picture
area = Area.from_box(*map(float, bbox.split(",")))
report = run_harvest(options, HarvestPlan(area, Path(folder)), MemorySink(), token="TOKEN")
print(json.dumps({"took": took, "holes": [hole.name for hole in report.holes],
                  "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def patience() -> float:
    """1 on a free machine: times are stated for one; on a busy one a process waits for its turn."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def attacked(site: SiteFactory) -> tuple[Site, dict[str, str]]:
    """A town of 40 photos, every third of which lies with a hostile host, and what it meets there by image id."""
    images = town(4, 10)
    bad = dict(zip((image["id"] for image in images[::3]), ATTACKS, strict=False))
    assert set(bad.values()) == set(ATTACKS)

    def rule(request: FakeRequest) -> FakeReply | None:
        name = bad.get(request.path.split("/")[0]) if request.role == "cdn" else None
        return None if name is None else FakeReply(attack=ATTACKS[name])

    return site(images, rule=rule), bad


def test_every_attack_on_all_workers_at_once(site: SiteFactory, tmp_path: Path) -> None:
    here, bad = attacked(site)
    box = ",".join(map(str, here.area.geometry.bounds))
    script = CHILD.replace("TOKEN", here.service.token)
    command = [sys.executable, "-c", script, here.service.graph_url, here.service.tiles_url, str(here.folder), box]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert here.files() == here.ids - bad.keys()
    assert set(found["holes"]) == bad.keys()
    slowest_url, slowest_s = max(found["took"], key=lambda entry: entry[1])
    attack = bad.get(slowest_url.split("/cdn/")[1].split("/")[0])
    assert slowest_s < 4.0 * patience(), attack
    assert found["peak_mib"] < 400
    print(f"slowest {slowest_s:.1f} s ({attack}), peak {found['peak_mib']:.0f} MiB, {len(found['took'])} requests")


def test_a_stop_is_heeded_while_every_worker_is_held(site: SiteFactory, tmp_path: Path) -> None:
    here, _ = attacked(site)
    honest = here.script.rule
    # Each worker meets an attack that lasts; the deadlines are far away.
    lasting = [ATTACKS[name] for name in ("nothing", "endless headers", "slow drip", "empty deflate stream")]
    here.script.rule = lambda r: FakeReply(attack=lasting[r.number % 4]) if r.role == "cdn" else honest(r)
    (tmp_path / "geocorrect.toml").write_text(
        f'[harvest]\ngraph_url = "{here.service.graph_url}"\ntiles_url = "{here.service.tiles_url}"\n'
        f"private_image_hosts = true\ndownload_workers = {WORKERS}\nmetadata_deadline_s = 600.0\n"
        "download_deadline_s = 600.0\nidle_timeout_s = 600.0\nrequests_per_s = 1000.0\n"
    )
    box = ",".join(map(str, here.area.geometry.bounds))
    command = [sys.executable, "-m", "geocorrect", "harvest", "--bbox", box]
    environment = os.environ | {"MAPILLARY_TOKEN": here.service.token}
    with child(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as running:
        while len(here.script.to("cdn")) < WORKERS:
            time.sleep(0.05)
            assert running.poll() is None, running.communicate()
        time.sleep(0.3)
        start_s = time.monotonic()
        running.send_signal(signal.SIGTERM)
        _, message = running.communicate(timeout=300)
        waited_s = time.monotonic() - start_s
    assert waited_s < 2.0 * patience()
    assert running.returncode == ExitCode.TERMINATED
    assert "stopped on request" in " ".join(message.split())
    print(f"stopped after {waited_s:.1f} s")
