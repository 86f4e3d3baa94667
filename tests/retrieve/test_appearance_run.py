"""Retrieval by appearance from the command line, with a tiny network, against known positions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.appearance_world import ORIGIN, AppearanceWorld, build, east_m, take_photo

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.errors import ExitCode
from geocorrect.records import Correction

pytestmark = pytest.mark.long


class Job:
    """The command line in this world."""

    def __init__(self, world: AppearanceWorld, capsys: pytest.CaptureFixture[str]) -> None:
        self.world = world
        self._capsys = capsys

    def __call__(self, *arguments: str) -> dict[str, Any]:
        code = run(["-c", str(self.world.config), *arguments, "--json"])
        output = self._capsys.readouterr()
        assert code == ExitCode.OK, output.err
        return json.loads(output.out)

    def refused(self, *arguments: str) -> tuple[int, str]:
        code = run(["-c", str(self.world.config), *arguments])
        return code, self._capsys.readouterr().err

    def error_m(self, image_id: str, number: int) -> float:
        """Distance of the newest correction from anchor `number`; nan when the photo was rejected."""
        with Catalog.open(str(self.world.folder / "corrections.gpkg")) as catalog:
            stored = {found.result.image_id: found.result for found in catalog.results(ResultFilter())}
            frame = catalog.frame()
        result = stored[image_id]
        assert frame is not None
        if not isinstance(result, Correction):
            return float("nan")
        truth = frame.enu_from_wgs84(*ORIGIN.wgs84_from_enu(np.array([east_m(number), 0.0, 0.0])))
        return float(np.linalg.norm(result.world_from_cam.translation_m - truth))


@pytest.fixture
def job(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Job:
    """Anchors and three photos: one reported 26 m from where it was taken, one half a kilometre, one nowhere."""
    monkeypatch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
    world = build(tmp_path)
    take_photo(world, "elsewhere.jpg", 8, reported_east_m=east_m(1) + 2.0)
    take_photo(world, "far.jpg", 10, reported_east_m=500.0)
    take_photo(world, "nowhere.jpg", 10, reported_east_m=None)
    world.configure('mode = "off"')
    job = Job(world, capsys)
    job(
        "anchors",
        "add",
        str(world.anchors),
        "--format",
        "table",
        "--crs",
        "EPSG:4326",
        "--height-reference",
        "ellipsoid",
    )
    job("import", str(world.photos))
    return job


def test_appearance_finds_what_place_alone_does_not(job: Job) -> None:
    off = job("correct")
    assert off["n_accepted"] + off["n_review"] == 0
    assert off["reasons"]["position_missing"] == 1

    job.world.configure('mode = "rerank"')
    reranked = job("correct")
    assert reranked["run_key"] != off["run_key"]
    assert reranked["n_computed"] == 3
    assert reranked["reasons"] == {"position_missing": 1, "no_anchor_nearby": 1}
    assert job.error_m("elsewhere.jpg", 8) < 0.05

    job.world.configure('mode = "search"')
    searched = job("correct")
    assert searched["run_key"] not in {off["run_key"], reranked["run_key"]}
    assert searched["reasons"] == {}
    assert job.error_m("elsewhere.jpg", 8) < 0.05
    assert job.error_m("far.jpg", 10) < 0.05
    assert job.error_m("nowhere.jpg", 10) < 0.05
    assert job("correct")["n_due"] == 0

    kept = list((job.world.folder / "appearance").rglob("*.descriptor"))
    assert len(kept) == 12  # a descriptor per anchor, written by the first run that needed it


def test_a_new_anchor_anywhere_makes_photos_without_a_place_due(job: Job) -> None:
    job.world.configure('mode = "search"\ncandidates = 4')
    assert job("correct")["n_computed"] == 3
    rows = job.world.anchors.read_text().splitlines()
    far = rows[1].replace("a0,", "far,").replace(",12.5", ",12.6")
    (job.world.folder / "depth" / "far.npy").write_bytes((job.world.folder / "depth" / "a0.npy").read_bytes())
    job.world.anchors.write_text("\n".join([*rows, far]) + "\n")
    job(
        "anchors",
        "add",
        str(job.world.anchors),
        "--format",
        "table",
        "--crs",
        "EPSG:4326",
        "--height-reference",
        "ellipsoid",
    )
    assert job("correct", "--dry-run")["n_due"] == 2


def test_a_scene_too_large_is_not_searched(job: Job) -> None:
    job.world.configure('mode = "search"\nmax_scene_anchors = 11')
    assert job("correct")["reasons"] == {"position_missing": 1, "no_anchor_nearby": 1}


def test_a_matcher_that_computes_nothing_of_single_photos_is_refused_at_once(job: Job) -> None:
    text = job.world.config.read_text()
    job.world.config.write_text(text.replace('"mast3r"', '"eloftr"', 1).replace('"off"', '"rerank"'))
    code, message = job.refused("correct")
    assert code == ExitCode.CONFIG
    assert str(job.world.config) in message
    assert '"eloftr" has none' in message


def test_sift_compares_photos_without_a_network(job: Job) -> None:
    """A photo that is reported one anchor's width away has four candidates and matches the two most alike."""
    text = job.world.config.read_text()
    job.world.config.write_text(text.replace('"mast3r"', '"sift"', 1).replace('"off"', '"search"'))
    assert job("correct")["n_computed"] == 3
    assert len(list((job.world.folder / "appearance").glob("words-*.npy"))) == 1
    assert len(list((job.world.folder / "appearance").rglob("*.descriptor"))) == 12
    assert job.error_m("nowhere.jpg", 10) < 0.05

    # Damaged words are the fault of no anchor: one error, whoever asks, and no photo is judged.
    (words,) = (job.world.folder / "appearance").glob("words-*.npy")
    words.write_bytes(words.read_bytes()[:200])
    job.world.config.write_text(f"{job.world.config.read_text()}candidates = 5\n")
    code, message = job.refused("correct")
    assert code == ExitCode.INPUT
    assert f"{words}: the visual words" in message
    assert "unusable" not in message
    words.unlink()
    assert job("correct")["n_computed"] == 3


def test_an_absent_whitening_is_named(job: Job) -> None:
    job.world.configure('mode = "rerank"\nwhitening = "absent.pth"')
    code, message = job.refused("correct")
    assert code == ExitCode.MODEL
    assert f"{job.world.folder / 'absent.pth'}: the whitening cannot be read" in message
