"""Reviews of results of the real command: a later run respects decisions until their inputs change; what is overlaid.

A street of stepped façades with known truth, harvested from a server, corrected and exported by `geocorrect run`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import PngImagePlugin
from support.chaos import Scene, make_scene, serving
from support.served import TOKEN, Served, served
from support.small_city import FOCAL_PX, HEIGHT, WIDTH, SmallCity, Walls, build_city

from geocorrect.catalog import Catalog
from geocorrect.catalog.curation.review import Reviews
from geocorrect.config import load_settings
from geocorrect.demo.mapillary_server.server import FakeMapillaryServer
from geocorrect.serve.state import ServeSettings

pytestmark = pytest.mark.long

N_PHOTOS = 12
FIRST, LAST = "10000", f"{10_000 + N_PHOTOS - 1}"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> SmallCity:
    return build_city(tmp_path_factory.mktemp("city"), N_PHOTOS)


@pytest.fixture(scope="module")
def service(city: SmallCity) -> Iterator[FakeMapillaryServer]:
    with serving(city) as service:
        yield service


def corrected(folder: Path, city: SmallCity, service: FakeMapillaryServer, url: str) -> Scene:
    """A scene after its first run."""
    scene = make_scene(folder, city, service, url, workers=1)
    os.chdir(scene.folder)  # the configuration names its files from there
    assert scene.run("run") == 0, scene.last_words()
    return scene


def in_force(catalog: Catalog) -> dict[str, str]:
    """Status by photo, with the reason of rejections."""
    return {r.image_id: r.status.value if r.reason is None else r.reason.value for r in catalog.results()}


def decide(server: Served, image_id: str, verdict: str) -> None:
    version = server.get(f"/api/review/photo?id={image_id}").value["version"]
    asked = {"image_id": image_id, "version": version, "verdict": verdict, "note": "seen", "reviewer": "ana"}
    assert server.post("/api/review/decide", asked).status == 200


def test_a_later_run_respects_decisions_until_their_inputs_change(
    city: SmallCity, service: FakeMapillaryServer, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scene = corrected(tmp_path / "scene", city, service, catalog_url)
    with Catalog.open(scene.url) as catalog, served(ServeSettings(catalog, TOKEN)) as server:
        before = in_force(catalog)
        assert {before[FIRST], before[LAST]} <= {"accepted", "review"}
        for image_id in (FIRST, LAST):
            decide(server, image_id, "reject")
        assert scene.run("run") == 0, scene.last_words()
        kept = in_force(catalog)  # of others the sequence may say something else, now that it has fewer true neighbours
        assert {kept[FIRST], kept[LAST]} == {"rejected_by_reviewer"}

        picture = city.folder / "anchors" / "a0000.png"  # the nearest to the first photo
        other = PngImagePlugin.PngInfo()
        other.add_text("taken", uuid4().hex)
        Picture.open(picture).save(picture, pnginfo=other)
        table = ["--format", "table", "--crs", "EPSG:4979", "--height-reference", "ellipsoid"]
        assert scene.run("anchors", "add", str(city.anchors_table), *table) == 0, scene.last_words()
        assert scene.run("run") == 0, scene.last_words()
        after = in_force(catalog)
        assert after[FIRST] in ("accepted", "review"), "the picture of its anchor is another one: it was computed anew"
        assert after[LAST] == "rejected_by_reviewer", "nothing of what it was found from has changed"
        assert {d.image_id: d.is_active for d in Reviews(catalog).decisions()} == {FIRST: False, LAST: True}

        last = server.get(f"/api/review/photo?id={LAST}").value
        undone = server.post("/api/review/undo", {"image_id": LAST, "version": last["version"], "reviewer": "ana"})
        assert undone.value["status"] == before[LAST]


def test_points_lie_where_the_photo_shows_them(
    city: SmallCity, service: FakeMapillaryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their distances are those that the photo sees from where it was taken, but at the steps of the façade."""
    monkeypatch.chdir(tmp_path)
    scene = corrected(tmp_path / "scene", city, service, "corrections.gpkg")
    settings = load_settings(Path("geocorrect.toml")).settings
    with (
        Catalog.open(scene.url) as catalog,
        served(ServeSettings(catalog, TOKEN, scene.folder, settings=settings)) as server,
    ):
        photo = server.get("/api/review/photo?id=10005").value
        anchor = max(photo["anchors"], key=lambda a: a["n_inliers"])["anchor_id"]
        found = server.get(f"/api/review/points?id=10005&anchor={anchor}")
        assert found.status == 200, found.body
        nobody = server.get("/api/review/points?id=10005&anchor=nobody")
        assert (nobody.status, "anchor 'nobody'" in nobody.value["error"]) == (422, True)
        decide(server, "10005", "reject")
        poseless = server.get(f"/api/review/points?id=10005&anchor={anchor}")
        assert (poseless.status, "no pose" in poseless.value["error"]) == (422, True)
    px, away_m = np.array(found.value["photo_px"]), np.array(found.value["away_m"])
    assert len(px) > 2000
    assert (np.diff(away_m) >= 0).all()
    _, depth_m = Walls(0, N_PHOTOS + 40.0).seen_from(city.truth["10005"])
    column, row = np.clip(np.rint(px).astype(int), 0, [WIDTH - 1, HEIGHT - 1]).T
    slant = np.linalg.norm((px - [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]) / FOCAL_PX, axis=1)
    truth_m = depth_m[row, column] * np.hypot(slant, 1.0)
    assert np.quantile(np.abs(away_m / truth_m - 1.0), 0.9) < 0.02
