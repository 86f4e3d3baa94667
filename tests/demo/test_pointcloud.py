"""The main job with a surveyor's point cloud in place of the anchors' own scans."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.street_clouds import in_utm, street_points, write_e57, write_las, write_ply
from support.world_cache import cached_demo

from geocorrect.__main__ import run
from geocorrect.catalog.store import Catalog
from geocorrect.demo.world.build import open_world
from geocorrect.demo.world.plan import SIZES, WorldPlan
from geocorrect.errors import ExitCode
from geocorrect.records import Correction

pytestmark = pytest.mark.long

UNDULATION_M = 48.3
MOVING = 64


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small demo's catalog, corrected again from four tiles: LAS, LAZ, PLY, E57; heights above sea level."""
    folder = tmp_path_factory.mktemp("pointcloud")
    demo = cached_demo()
    shutil.copy(demo / "corrections.gpkg", folder)
    text = (demo / "geocorrect.toml").read_text().replace('"lidar"', '"pointcloud"')
    (folder / "geocorrect.toml").write_text(text + 'engine = "in-process"\n')
    xyz = in_utm(street_points(WorldPlan(7, SIZES["small"]), 60.0, seed=2), UNDULATION_M)
    tile = np.searchsorted(np.quantile(xyz[:, 0], [0.25, 0.5, 0.75]), xyz[:, 0])
    ghosts = xyz[tile == 0] - [0.0, 0.0, 1.0]  # a layer of moving things one metre off
    classes = np.repeat(np.uint8([1, MOVING]), len(ghosts))
    write_las(folder / "a.laz", np.concatenate([xyz[tile == 0], ghosts]), classes)
    write_las(folder / "b.las", xyz[tile == 1], crs=None)
    write_ply(folder / "c.ply", xyz[tile == 2])
    write_e57(folder / "d.e57", xyz[tile == 3])
    config = ["-c", str(folder / "geocorrect.toml")]
    meaning = ["--crs", "EPSG:32633", "--height-reference", "orthometric", "--geoid-undulation", str(UNDULATION_M)]
    assert run([*config, "depth", "pointcloud", str(folder), *meaning, "--leave-out", str(MOVING)]) == 0
    assert json.loads((folder / "pointcloud" / "index.json").read_text())["left_out"] == {str(MOVING): len(ghosts)}
    assert run([*config, "correct"]) == 0
    return folder


def errors_m(catalog_file: Path) -> dict[str, float]:
    """Distance from the truth of every accepted photo."""
    truth = open_world(cached_demo() / "world").truth
    with Catalog.open(str(catalog_file)) as catalog:
        return {
            stored.result.image_id: float(
                np.linalg.norm(
                    stored.result.world_from_cam.translation_m
                    - truth.photos[stored.result.image_id].world_from_cam.translation_m
                )
            )
            for stored in catalog.current()
            if isinstance(stored.result, Correction)
        }


def test_photos_are_about_as_exact_as_with_the_anchors_own_scans(finished: Path) -> None:
    """Three photos say no more than about: one and the same photo moves by 1 cm from cloud to cloud."""
    ours, scans = errors_m(finished / "corrections.gpkg"), errors_m(cached_demo() / "corrections.gpkg")
    assert set(ours) == set(scans)
    assert len(scans) == 3
    assert max(ours.values()) <= 0.05
    assert np.median(list(ours.values())) <= 2.0 * np.median(list(scans.values()))


def test_results_say_that_depth_was_measured(finished: Path) -> None:
    with Catalog.open(str(finished / "corrections.gpkg")) as catalog:
        evidence = [stored.result.evidence for stored in catalog.current()]
        manifest = catalog.runs()[-1]
    assert {e.depth for e in evidence if e.depth} == {"pointcloud"}
    assert all(e.depth_is_oracle for e in evidence if e.depth)
    assert manifest.depth.startswith("pointcloud-")


def test_an_index_of_another_scene_is_refused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its points would be displaced without any sign."""
    shutil.copytree(finished, tmp_path / "moved")
    described = tmp_path / "moved" / "pointcloud" / "index.json"
    index = json.loads(described.read_text())
    index["frame"]["height_m"] += 0.5
    described.write_text(json.dumps(index))
    assert run(["-c", str(tmp_path / "moved" / "geocorrect.toml"), "correct"]) == ExitCode.CONFIG
    assert "another origin" in " ".join(capsys.readouterr().err.split())
