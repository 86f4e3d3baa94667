"""Figures 9 and 10: photos of catalogs with known places, as reported and as each run placed them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import catalog_world as world
from support.drawn import panels

from geocorrect.catalog import Catalog
from geocorrect.errors import InputError
from geocorrect.evaluate.vbr.corrected import corrected_pictures, read_scene

COUNT = 10


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two catalogs of the same photos; the second run placed photo 3 elsewhere."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("oracle", "network"):
        with Catalog.open(str(folder / f"{name}.gpkg"), create=True, clock=lambda: world.START) as catalog:
            world.fill(catalog, COUNT)
            if name == "network":
                catalog.begin_run(world.manifest("run-b"))
                catalog.record("run-b", [world.correction(3, enu_m=[18.0, -2.5, 1.8])])
                catalog.finish_run("run-b", duration_s=1.0)
    return [f"{name}={folder / name}.gpkg" for name in ("oracle", "network")]


def test_photos_stand_where_they_were_reported_and_placed(runs: list[str]) -> None:
    scene = read_scene(runs)
    placed = {f"{1000 + i}": [5.0 * i, -2.0] for i in range(COUNT) if i % 5 != 4}
    assert set(scene.corrected_m) == {"oracle", "network"}
    for name, places in scene.corrected_m.items():
        assert set(places) == set(placed)
        for photo, expected in placed.items():
            wanted = [18.0, -2.5] if (name, photo) == ("network", "1003") else expected
            np.testing.assert_allclose(places[photo], wanted, atol=0.01)
            np.testing.assert_allclose(scene.reported_m[photo], np.array(expected) - [4.0, 3.0], atol=0.01)
    np.testing.assert_allclose(scene.anchors_m[: COUNT + 1, 0], 5.0 * np.arange(COUNT + 1), atol=1e-6)


def test_the_figures_draw_them(runs: list[str]) -> None:
    scene = read_scene(runs)
    everything, one = (panels(picture)["0"] for picture in corrected_pictures(scene))
    drawn = {line.get_label(): line.get_xydata() for line in everything.lines if not line.get_label().startswith("_")}
    assert {name: len(points) for name, points in drawn.items()} == {
        "anchors": 2 * (COUNT + 1), "reported": 8, "oracle": 8, "network": 8
    }  # fmt: skip
    assert scene.farthest in scene.reported_m
    (reported,) = (line.get_xydata() for line in one.lines if line.get_label() == "reported")
    np.testing.assert_allclose(reported[0], scene.reported_m[scene.farthest])


def test_the_photo_that_was_moved_farthest_is_shown(runs: list[str]) -> None:
    swapped = read_scene(runs[::-1])
    assert swapped.farthest == "1003"
    assert "1003, reported and placed by network, oracle" in corrected_pictures(swapped)[1].caption


def test_catalogs_that_show_nothing_are_named(runs: list[str], tmp_path: Path) -> None:
    for texts, message in (
        ([runs[0], runs[0]], "each name once"),
        (["oracle"], "give NAME=CATALOG"),
    ):
        with pytest.raises(InputError, match=message):
            read_scene(texts)
    empty = tmp_path / "empty.gpkg"
    with Catalog.open(str(empty), create=True) as catalog:
        pass
    with pytest.raises(InputError, match="has no anchors"):
        read_scene([f"none={empty}"])
    with Catalog.open(str(empty)) as catalog:
        catalog.set_frame(world.ROME)
        catalog.add_alignment(world.alignment())
        catalog.upsert_anchors([world.anchor(0)])
    with pytest.raises(InputError, match="no photo with a reported position was corrected"):
        read_scene([f"none={empty}"])
