"""`geocorrect harvest` and `geocorrect import` as a user runs them, against the fake server."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.harvest_support import SiteFactory, jpeg

from geocorrect.__main__ import run
from geocorrect.catalog.store import Catalog
from geocorrect.demo.mapillary_server.server import FakeReply
from geocorrect.harvest.mapillary.metadata import ASSUMED_FOCAL_SIGMA, DEFAULT_FOCAL_SIGMA, SFM_FOCAL_SIGMA
from geocorrect.harvest.options import HarvestOptions


@pytest.fixture
def scene(site: SiteFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A folder with a geocorrect.toml that points at a running service, as the working directory."""
    here = site()
    (tmp_path / "geocorrect.toml").write_text(
        f'[harvest]\ngraph_url = "{here.service.graph_url}"\ntiles_url = "{here.service.tiles_url}"\n'
        "private_image_hosts = true\nrequests_per_s = 1000.0\nbackoff_base_s = 0.01\nmax_tries = 2\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAPILLARY_TOKEN", here.service.token)
    return here


BOX = ["--bbox", "12.499,41.899,12.52,41.92"]


@pytest.mark.long
def test_harvest_into_the_configured_catalog(scene, tmp_path: Path, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    assert run(["harvest", *BOX, "--json"]) == 0
    answer = json.loads(capfdbinary.readouterr().out)
    assert answer["n_new"] == len(scene.ids)
    assert (answer["exit_code"], answer["holes"]) == (0, [])
    with Catalog.open(str(tmp_path / "corrections.gpkg")) as catalog:
        images = catalog.images()
    assert set(images) == scene.ids
    assert all(image.path is not None and image.path.is_file() for image in images.values())
    assert run(["harvest", *BOX]) == 0
    assert b"unchanged" in capfdbinary.readouterr().err


def test_dry_run_writes_nothing(scene, tmp_path: Path, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    before = sorted(os.listdir(tmp_path))
    assert run(["harvest", *BOX, "--dry-run", "--json"]) == 0
    answer = json.loads(capfdbinary.readouterr().out)
    assert answer["n_coverage_points"] == len(scene.ids)
    assert answer["expected_mb"] > 0
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.long
def test_limit_and_since(scene, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    assert run(["harvest", *BOX, "--limit", "7", "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["n_new"] == 7
    assert run(["harvest", *BOX, "--since", "2030-01-01", "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["n_new"] == 0


@pytest.mark.long
def test_area_from_a_file(scene, tmp_path: Path, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    ring = [[12.499, 41.899], [12.52, 41.899], [12.52, 41.92], [12.499, 41.92], [12.499, 41.899]]
    (tmp_path / "area.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert run(["harvest", "--area", "area.geojson", "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["n_new"] == len(scene.ids)


@pytest.mark.long
def test_holes_give_exit_code_9(scene, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    scene.script.rule = lambda r: FakeReply(404) if r.path.startswith("1000000000000003/") else None
    assert run(["harvest", *BOX]) == 9
    assert b"holes: 1" in capfdbinary.readouterr().err
    scene.script.rule = None
    assert run(["harvest", *BOX]) == 0


@pytest.mark.long
def test_bad_ids_are_named_and_the_next_night_repairs(scene, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    odd, failing = sorted(scene.ids)[3], sorted(scene.ids)[30]
    scene.service.data.other_types[odd] = "User"
    scene.service.data.failing.add(failing)
    assert run(["harvest", *BOX]) == 9
    said = b"".join(capfdbinary.readouterr().err.split())
    assert b"holes:2" in said
    assert b"image" + odd.encode() in said
    assert b"image" + failing.encode() in said
    scene.service.data.other_types.clear()
    scene.service.data.failing.clear()
    assert run(["harvest", *BOX]) == 0
    assert b"2newimages" in b"".join(capfdbinary.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, b"say where"),
        (["--bbox", "1,2,3"], 2, b"WEST,SOUTH,EAST,NORTH"),
        (["--bbox", "a,b,c,d"], 2, b"WEST,SOUTH,EAST,NORTH"),
        (["--bbox", "41.9,112.5,41.8,112.6"], 3, b"latitude outside"),
        (["--bbox", "12.5,41.9,12.4,42"], 3, b"swap them"),
        (["--area", "nowhere.geojson"], 3, b"nowhere.geojson"),
        (["--area", "x", "--bbox", "1,2,3,4"], 2, b"not both"),
        ([*BOX, "--since", "tomorrow"], 2, b"--since"),
        (["--bbox", "-170,-80,170,80"], 3, b"max_tiles"),
    ],
)
def test_bad_arguments(scene, capfdbinary, arguments: list[str], code: int, message: bytes) -> None:  # type: ignore[no-untyped-def]
    assert run(["harvest", *arguments]) == code
    assert message in capfdbinary.readouterr().err
    assert not scene.script.seen, "nothing was asked"


def test_missing_token_is_exit_code_4(scene, capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("MAPILLARY_TOKEN")
    assert run(["harvest", *BOX]) == 4
    assert b"MAPILLARY_TOKEN" in capfdbinary.readouterr().err


def test_refused_token_is_exit_code_8(scene, capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("MAPILLARY_TOKEN", "MLY|9|wrong-token")
    assert run(["harvest", *BOX]) == 8
    err = capfdbinary.readouterr().err
    assert b"renew MAPILLARY_TOKEN" in err
    assert b"wrong-token" not in err


def test_import_of_a_folder(scene, tmp_path: Path, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(64, 48))
    assert run(["import", "photos", "--dry-run", "--json"]) == 0
    assert not (tmp_path / "corrections.gpkg").exists()
    capfdbinary.readouterr()
    assert run(["import", "photos", "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out) == {
        "n_images": 1,
        "problems": {"position_missing": 1},
        "notes": [],
        "skipped": [],
    }
    with Catalog.open(str(tmp_path / "corrections.gpkg")) as catalog:
        assert list(catalog.images()) == ["a.jpg"]
    assert run(["import", "nowhere"]) == 3


def test_documentation_says_what_the_options_are() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "harvest.md").read_text("utf-8").split())
    options = HarvestOptions()
    for sentence in (
        f"At most {options.requests_per_s:g} metadata requests per second, {options.graph_workers} at a time, "
        f"and {options.download_workers} downloads at a time",
        f"(at most {options.backoff_cap_s:g} s)",
        f"a {options.margin_m:g} m margin",
        f"search boxes of {options.cell_deg}°",
        f"{options.batch_size} images per request",
        f"{options.max_consecutive_failures} failures in a row, or {options.max_silence_s:g} s without an answer",
        f"asked for again after {options.refresh_after_h:g} hours",
        f"did not exist after {options.retry_gone_after_days:g} days",
        f"{SFM_FOCAL_SIGMA:.0%}".replace("%", " %") + " for `sfm`",
        f"{DEFAULT_FOCAL_SIGMA:.0%}".replace("%", " %") + " for `default`",
        f"{ASSUMED_FOCAL_SIGMA:.0%}".replace("%", " %") + " where the service has no parameters",
    ):
        assert sentence in text, sentence


@pytest.mark.long
def test_clusters_are_fetched_on_request(scene, tmp_path: Path, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    scene.script.rule = lambda r: FakeReply(500) if r.query.get("fields") == "sfm_cluster" else None
    assert run(["harvest", *BOX, "--clusters"]) == 0
    err = capfdbinary.readouterr().err
    assert b"0 new clusters" in err
    assert b"no cluster: " in err


@pytest.mark.long
def test_detections_are_fetched_on_request_and_their_use_is_named(scene, tmp_path: Path, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    command = ["harvest", *BOX, "--limit", "2", "--detections"]
    assert run(command) == 0
    err = capfdbinary.readouterr().err
    assert b"0 new masks with 0 outlines of what moves; 2 photos without any detection yet" in err
    assert b'masks are not used until [localize.verify] masks = "detections" is set' in err
    with (tmp_path / "geocorrect.toml").open("a") as settings:
        settings.write('[localize.verify]\nmasks = "detections"\n')
    assert run(command) == 0
    assert b"masks are not used" not in capfdbinary.readouterr().err
