"""Our endpoints, fields, tile URLs and authorisation against those of the `mapillary` SDK.

The SDK is an independent statement of the same API. It is never imported at run time (importing it writes log files
into site-packages and prints the token); here a copy of it runs in a process of its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.harvest_support import SiteFactory

from geocorrect.demo.mapillary_server.answers import KNOWN_FIELDS
from geocorrect.harvest.mapillary.metadata import ALL_FIELDS
from geocorrect.harvest.mapillary.tiles import LAYERS
from geocorrect.harvest.options import HarvestOptions

ASK = """
import json, sys
from unittest import mock
sys.path.insert(0, sys.argv[1])
from mapillary.config.api.entities import Entities
from mapillary.config.api.general import General
from mapillary.config.api.vector_tiles import VectorTiles
from mapillary.models.client import Client

sent = []
def send(self, request, **options):
    sent.append(dict(request.headers))
    return mock.MagicMock(status_code=200, raw=mock.MagicMock(version=11))
with mock.patch("requests.Session.send", send):
    with mock.patch("requests.get"), mock.patch.object(Client, "_Client__check_token_validity"):
        Client.set_token("T")
        Client().get("https://graph.mapillary.com/1")
answer = {
    "fields": Entities.get_image_fields(),
    "entity": Entities.get_image("123", ["id"]),
    "batch": Entities.get_images(["1", "2"], ["id"]),
    "box": Entities.search_for_images(bbox=[1, 2, 3, 4], limit=10, fields=["id"]),
    "sequence": Entities.get_sequence("KEY"),
    "raw": VectorTiles.get_image_layer(1, 2, 14),
    "computed": VectorTiles.get_computed_image_layer(1, 2, 14),
    "graph": General.get_tile_metadata(),
    "tiles": General.get_vector_tiles(),
    "authorization": sent[0].get("Authorization"),
}
print("ANSWER" + json.dumps(answer))
"""

FIELDS_ONLY_WE_ASK = {"is_pano": "a filter and a served field that the SDK's list lacks; it rejects it as invalid"}
FIELDS_WE_NEVER_ASK = {
    "mesh": "heavy, makes batch calls fail",
    "sfm_cluster": "heavy, one image per call only",
}
URL_DIFFERENCES = {
    "trailing slash": "the SDK asks /ID/?fields= and /z/x/y/; documentation and viewer write none",
    "batch": "the SDK's /ids=1,2?fields= is malformed (no question mark); the viewer uses /images?image_ids=1,2",
    "sequence search": "the SDK filters boxes by sequence_id; we list a sequence by /image_ids?sequence_id= instead",
}


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the SDK says, from a copy of the package that may write its log files where it likes."""
    found = importlib.util.find_spec("mapillary")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the mapillary SDK is not installed: pip install 'geocorrect[dev]'")
    copy = tmp_path_factory.mktemp("sdk")
    shutil.copytree(Path(found.submodule_search_locations[0]), copy / "mapillary")
    command = [sys.executable, "-c", ASK, str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ), timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWER"))
    answer: dict[str, Any] = json.loads(line.removeprefix("ANSWER"))
    return answer


def test_fields(sdk: dict[str, Any]) -> None:
    theirs = set(sdk["fields"])
    assert set(ALL_FIELDS) - theirs == set(FIELDS_ONLY_WE_ASK)
    assert theirs - set(ALL_FIELDS) == set(FIELDS_WE_NEVER_ASK)
    assert theirs <= KNOWN_FIELDS, "the fake server serves everything the SDK knows"


def test_roots(sdk: dict[str, Any]) -> None:
    assert f"{HarvestOptions().graph_url}/" == sdk["graph"]
    assert f"{HarvestOptions().tiles_url}/" == sdk["tiles"]


def test_end_points(sdk: dict[str, Any], site: SiteFactory) -> None:
    here = site()
    with here.client() as client:
        client.image_ids("KEY")
        client.images_in_box((12.5, 41.9, 12.501, 41.901), ["id"], 10)
        client.entity("1000000000000001", ["id"])
        for layer in LAYERS:
            client.tile(layer, 14, 1, 2)
    sequence, box, entity, raw, computed = [request for _, request in here.script.seen]
    for ours, theirs in ((sequence, "sequence"), (box, "box")):
        parts = urlsplit(sdk[theirs])
        assert parts.path == f"/{ours.path}"
        assert set(ours.query) <= {*parse_qs(parts.query), "fields"}
    assert urlsplit(sdk["entity"]).path.rstrip("/").replace("123", "1000000000000001") == f"/{entity.path}"
    assert urlsplit(sdk["raw"]).path.rstrip("/") == f"/{raw.path}"
    assert urlsplit(sdk["computed"]).path.rstrip("/") == f"/{computed.path}"


def test_batches_differ_on_purpose(sdk: dict[str, Any]) -> None:
    assert "/ids=1,2?" in sdk["batch"], URL_DIFFERENCES["batch"]


def test_authorisation(sdk: dict[str, Any], site: SiteFactory) -> None:
    here = site()
    with here.client() as client:
        client.image_ids("KEY")
        client.tile(LAYERS[0], 14, 1, 2)
    graph, tile = [request for _, request in here.script.seen]
    assert graph.headers["Authorization"] == sdk["authorization"].replace("OAuth T", f"OAuth {here.service.token}")
    assert "access_token" not in graph.query
    assert tile.query["access_token"] == here.service.token
    assert "Authorization" not in tile.headers


@pytest.mark.long
def test_the_sdk_is_not_imported_by_the_package() -> None:
    code = "import sys, geocorrect.harvest.harvest, geocorrect.cli.harvest; print('mapillary' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
