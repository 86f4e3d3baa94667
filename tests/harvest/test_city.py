"""A city of 20,000 images is found completely, with hardly more requests than the recipe needs, in bounded memory."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.harvest_support import Script, Site, SiteFactory, jpeg

from geocorrect.catalog.store import Catalog
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeMapillaryServer
from geocorrect.errors import ExitCode
from geocorrect.harvest.area import Area
from geocorrect.harvest.report import HarvestReport
from simulation.city import CITY_BOX, city_images, share_images

SMALL_PICTURE = jpeg(64, 48)
MEMORY_SCRIPT = """
import json, resource, sys
from pathlib import Path
from geocorrect.catalog.store import Catalog
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan, run_harvest
from geocorrect.harvest.options import HarvestOptions
order = json.loads(sys.argv[1])
urls = {"graph_url": order["graph"], "tiles_url": order["tiles"], "private_image_hosts": True}
options = HarvestOptions(**urls, requests_per_s=1000.0)
plan = HarvestPlan(Area.from_box(*order["box"]), Path(order["folder"]) / "images")
with Catalog.open(order["folder"] + "/city.gpkg", create=True) as catalog:
    report = run_harvest(options, plan, catalog)
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peak_mb": peak_mb, **report.as_dict()}))
"""


def city(site: SiteFactory, count: int, **service: Any) -> Site:
    images = city_images(count)
    here = site(images, files={image["id"]: SMALL_PICTURE for image in images}, **service)
    share_images(here.service.data)
    # The whole world of the service, so that every image counts.
    west, south, east, north = CITY_BOX
    here.area = Area.from_box(west - 0.001, south - 0.001, east + 0.001, north + 0.001)
    return here


def least_requests(here: Site) -> int:
    """What the recipe needs: two layers per tile, one list per sequence, full batches, one request per picture."""
    data = here.service.data
    tiles = len(here.area.widened(50.0).tiles(1000))
    return 2 * tiles + len(data.sequences) + math.ceil(len(data.images) / 50) + len(data.images)


def check(here: Site, report: HarvestReport) -> None:
    assert report.exit_code is ExitCode.OK
    assert report.n_new == len(here.ids)
    assert sum(report.requests.values()) <= 1.3 * least_requests(here)
    api = {kind: count for kind, count in report.requests.items() if kind != "picture"}
    least_api = least_requests(here) - len(here.ids)
    assert sum(api.values()) <= 1.3 * least_api, api


@pytest.mark.long
def test_town_of_1200_is_complete(site: SiteFactory) -> None:
    here = city(site, 1200, bbox_share=0.3)
    check(here, here.harvest())
    assert set(here.sink.by_id) == here.ids == here.files()


@pytest.mark.long
def test_town_without_tiles_is_complete_by_sampled_searches(site: SiteFactory) -> None:
    here = city(site, 600, bbox_share=0.5, rule=None)
    here.script.rule = lambda r: here_forbidden() if r.role == "tiles" else None
    report = here.harvest(max_tries=1, graph_workers=2, image_size="256")
    # A sample may miss a whole sequence of one image: that is why tiles come first. What was seen is complete.
    seen = {here.service.data.images[image_id]["sequence"] for image_id in here.sink.by_id}
    expected = {image_id for key in seen for image_id in here.service.data.sequences[key]}
    assert expected <= set(here.sink.by_id)
    assert len(here.sink.by_id) > 0.97 * len(here.ids)
    assert not report.holes


def here_forbidden() -> Any:
    from geocorrect.demo.mapillary_server.server import FakeReply

    return FakeReply(403, b"Forbidden")


@pytest.mark.slow
def test_city_of_20000_is_complete_in_bounded_memory(tmp_path: Path) -> None:
    peaks = {}
    for count in (2_000, 20_000):
        images = city_images(count)
        pictures: dict[str, Path | bytes] = {image["id"]: SMALL_PICTURE for image in images}
        with FakeMapillaryServer(images, pictures, fault=None, bbox_share=0.3) as service:
            share_images(service.data)
            folder = tmp_path / str(count)
            folder.mkdir()
            here = Site(service, Script(), folder / "images")
            west, south, east, north = CITY_BOX
            here.area = Area.from_box(west - 0.001, south - 0.001, east + 0.001, north + 0.001)
            answer = harvest_in_a_process(here, folder)
        with Catalog.open(str(folder / "city.gpkg")) as catalog:
            assert set(list(catalog.images())) == here.ids == here.files()
        assert sum(answer["requests"].values()) <= 1.3 * least_requests(here)
        peaks[count] = answer["peak_mb"]
    assert peaks[20_000] - peaks[2_000] < 150, peaks


def harvest_in_a_process(here: Site, folder: Path) -> dict[str, Any]:
    order = {"graph": here.service.graph_url, "tiles": here.service.tiles_url, "folder": str(folder)}
    order["box"] = list(here.area.geometry.bounds)  # type: ignore[assignment]
    environment = {**os.environ, "MAPILLARY_TOKEN": FAKE_TOKEN, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEMORY_SCRIPT, json.dumps(order)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=900)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
