"""MapAnything and MicKey through `geocorrect run` with small random weights: nothing is accepted wrongly."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import mapanything_world, mickey_world
from support.world_cache import cached_demo

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.errors import Status
from geocorrect.networks.cards import CARDS
from geocorrect.networks.mapanything import loading as mapanything_loading
from geocorrect.networks.mickey import loading as mickey_loading
from geocorrect.records import Correction
from geocorrect.report.truth import read_truth_file

pytestmark = pytest.mark.long

DEPTH = {"GEOCORRECT__DEPTH__SOURCE": "mapanything"}
ALL_MICKEY = {
    "GEOCORRECT__MATCH__MATCHER": "mickey",
    "GEOCORRECT__DEPTH__SOURCE": "mickey",
    "GEOCORRECT__LOCALIZE__ESTIMATOR": "mickey",
}
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "depth": (DEPTH, {"depth": "mapanything_apache"}),
    "depth with hints": (
        {**DEPTH, "GEOCORRECT__DEPTH__MAPANYTHING__HINTS": "lidar"},
        {"depth": "mapanything_apache"},
    ),
    "pose": ({"GEOCORRECT__LOCALIZE__ESTIMATOR": "mapanything"}, {"pose": "mapanything_apache"}),
    "focal length": ({"GEOCORRECT__CAMERA__FOCAL": "mapanything"}, {"focal length": "mapanything_apache"}),
    "mickey": (ALL_MICKEY, {"matching": "mickey", "depth": "mickey", "pose": "mickey"}),
}
"""Settings, and the networks whose licences must stand in the run's record, by purpose."""


@pytest.fixture(autouse=True)
def _random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    mapanything, mickey = mapanything_world.seeded_engine(), mickey_world.seeded_engine(long_side_px=320)
    monkeypatch.setattr(mapanything_loading, "load_engine", lambda *_: mapanything)
    monkeypatch.setattr(mickey_loading, "load_engine", lambda *_: mickey)


@pytest.mark.parametrize("case", CASES)
def test_random_weights_are_refused_by_the_gate(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment, networks = CASES[case]
    out = cached_demo()
    for name, value in {**environment, "GEOCORRECT__BATCH__ENGINE": "in-process"}.items():
        monkeypatch.setenv(name, value)
    shutil.copy(out / "geocorrect.toml", tmp_path / "geocorrect.toml")
    with sqlite3.connect(out / "corrections.gpkg") as source, sqlite3.connect(tmp_path / "corrections.gpkg") as target:
        source.backup(target)
    capsys.readouterr()
    assert run(["-c", str(tmp_path / "geocorrect.toml"), "run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["correct"]
    assert report["n_computed"] == 4, report
    with Catalog.open(str(tmp_path / "corrections.gpkg")) as catalog:
        newest = next(stored for stored in catalog.runs() if stored.run_key == report["run_key"])
        frame = catalog.frame()
        results = [found.result for found in catalog.current() if found.run_key == report["run_key"]]
    assert len(results) == report["n_computed"]
    recorded: list[dict[str, Any]] = newest.config["weights"]
    assert {entry["purpose"]: entry["name"] for entry in recorded} == networks
    for entry in recorded:
        assert entry["licence"] == CARDS[entry["name"]].licence.name
    truth = read_truth_file(out / "world" / "truth.json")
    assert frame is not None
    accepted = [r for r in results if isinstance(r, Correction) and r.status is Status.ACCEPTED]
    for result in accepted:
        place = truth.places[result.image_id]
        true_m = frame.enu_from_wgs84(place.lon_deg, place.lat_deg, place.height_m)
        assert np.linalg.norm(result.world_from_cam.translation_m[:2] - true_m[:2]) < 0.3
    if case in ("depth", "mickey"):
        assert not any("lidar" in result.evidence.depth for result in results)
