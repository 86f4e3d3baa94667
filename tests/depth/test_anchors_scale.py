"""`geocorrect anchors scale`: anchors with laser scans, a network of known scale error, and what runs make of it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.depth_world import NETWORK, NETWORK_SCALE, DepthWorld, write_depth_world, write_scan
from support.docs_page import block

from geocorrect.__main__ import run
from geocorrect.api.backends import build_depth
from geocorrect.catalog.store import Catalog
from geocorrect.config import load_settings, with_depth
from geocorrect.depth.scale import ScaleHeuristic
from geocorrect.errors import ExitCode
from geocorrect.geometry.pose import Pose
from geocorrect.records import LidarScan

TOO_FAR = {"a0": 1.25, "a1": 1.30, "a2": 1.20, "a3": 1.35, "a4": 1.28}
"""What each anchor's true depth is multiplied by in the network's map."""
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "depth.md").read_text(encoding="utf-8")
ADD = "anchors add anchors.csv --format table --crs EPSG:4326 --height-reference ellipsoid"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> DepthWorld:
    world = write_depth_world(tmp_path_factory.mktemp("scans") / "scene")
    text = (world.folder / "geocorrect.toml").read_text()
    assert run(["init", str(world.folder), "--force"]) == 0
    (world.folder / "geocorrect.toml").write_text(text.replace("calibrate = true", ""))
    with working_in(world.folder):
        assert run(ADD.split()) == 0
        assert run(["import", "photos"]) == 0
    with Catalog.open(str(world.folder / "corrections.gpkg")) as catalog:
        anchors = catalog.anchors(list(TOO_FAR)).values()
        scans = {a.id: LidarScan(write_scan(world.folder, a.id), "kitti_bin", Pose.identity()) for a in anchors}
        catalog.upsert_anchors([replace(a, lidar=scans[a.id], drive_id=drive_of(a.id)) for a in anchors])
    for anchor_id, factor in TOO_FAR.items():
        wave = 1.0 + 0.08 * np.cos(np.pi * np.arange(320) / 320)[None, :]
        path = world.folder / "depth" / f"{anchor_id}.npy"
        np.save(path, (np.load(path) / (NETWORK_SCALE * wave) * factor).astype(np.float32))
    return world


def drive_of(anchor_id: str) -> str:
    return "first" if anchor_id in ("a0", "a1") else "second"


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.fixture
def scene(prepared: DepthWorld, monkeypatch: pytest.MonkeyPatch) -> DepthWorld:
    monkeypatch.chdir(prepared.folder)
    return prepared


def survey(capsys: pytest.CaptureFixture[str], *more: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["anchors", "scale", "--json", *more]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.long
def test_every_anchor_and_the_medians(scene: DepthWorld, capsys: pytest.CaptureFixture[str]) -> None:
    answer = survey(capsys)
    assert answer["depth"].startswith(NETWORK)
    for anchor_id, factor in TOO_FAR.items():
        for heuristic in ScaleHeuristic:
            found = answer["anchors"][anchor_id][heuristic]
            np.testing.assert_allclose(found["factors_xyz"], 1 / factor, rtol=2e-3)
            assert found["is_oracle"]
            assert found["n"] > 1500
    for heuristic in ScaleHeuristic:
        median = answer["train_set"][heuristic]
        np.testing.assert_allclose(median["factors_xyz"], 1 / 1.28, rtol=2e-3)
        assert not median["is_oracle"]
        assert (median["n"], median["common_log_sigma"]) == (5, pytest.approx(1.4826 * np.log(1.28 / 1.25), rel=0.5))
    part = survey(capsys, "--drive", "first")
    assert sorted(part["anchors"]) == ["a0", "a1"]
    assert part["train_set"]["similarity"]["common_log_sigma"] is None


def test_the_printed_setting_applies_the_median(
    scene: DepthWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["anchors", "scale"]) == 0
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [row["anchor_id"] for row in rows] == sorted(TOO_FAR)
    assert float(rows[3]["per_axis_l1_z"]) == pytest.approx(1 / 1.35, rel=2e-3)
    assert float(rows[3]["similarity"]) == pytest.approx(1 / 1.35, rel=2e-3)
    assert "per_axis_l2: x 0.78" in said.err
    (setting,) = re.findall(r"to apply it: \[depth\] (scale = .*)", said.err)
    config = scene.folder / "geocorrect.toml"
    scaled_config = tmp_path / "geocorrect.toml"
    scaled_config.write_text(config.read_text().replace("[depth]", f"[depth]\n{setting}", 1))
    settings = load_settings(scaled_config, {}).settings
    settings = settings.model_copy(
        update={"depth": replace(settings.depth, files=replace(settings.depth.files, folder=scene.folder / "depth"))}
    )
    source = build_depth(settings)
    assert source.fingerprint != build_depth(load_settings(config, {}).settings).fingerprint
    with Catalog.open(str(scene.folder / "corrections.gpkg")) as catalog:
        anchor = catalog.anchors(["a4"])["a4"]
    found = source.depth(anchor, np.zeros((240, 320, 3), np.uint8))
    raw = np.load(scene.folder / "depth" / "a4.npy")
    np.testing.assert_allclose(found.z_m, raw / 1.28, rtol=2e-3)
    assert not found.is_oracle
    assert found.common_log_sigma < 0.06
    assert with_depth(settings, "depth_pro").depth.scale.factor == 1.0, "a factor belongs to its own source"
    assert with_depth(settings, "files").depth.scale.factor != 1.0


@pytest.mark.long
def test_a_run_scaled_by_the_anchors_own_scans_is_labelled_an_oracle(
    scene: DepthWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
    monkeypatch.setenv("GEOCORRECT__RETRIEVE__MAX_CANDIDATES", "1")
    monkeypatch.setenv("GEOCORRECT__DEPTH__SCALE__HEURISTIC", "per_axis_l1")
    assert run(["correct"]) == 0
    with Catalog.open(str(scene.folder / "corrections.gpkg")) as catalog:
        evidence = [stored.result.evidence for stored in catalog.current()]
        weights = catalog.runs()[-1].config["weights"]
    assert len(evidence) == 4
    assert {e.depth for e in evidence} == {f"{NETWORK}*per_axis_l1"}
    assert all(e.depth_is_oracle for e in evidence)
    assert [(use["purpose"], use["name"], use["licence"]) for use in weights] == [("depth", NETWORK, "not stated")]
    # What the scans teach is measured on the network's own metres, whatever the configuration makes of them.
    assert survey(capsys)["train_set"]["similarity"]["factors_xyz"][2] == pytest.approx(1 / 1.28, rel=2e-3)


def test_anchors_that_give_no_scale_are_named(
    scene: DepthWorld, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a0", "a1"):
        (tmp_path / f"{name}.npy").write_bytes((scene.folder / "depth" / f"{name}.npy").read_bytes())
    np.save(tmp_path / "a2.npy", np.full((240, 320), np.nan, np.float32))
    monkeypatch.setenv("GEOCORRECT__DEPTH__FILES__FOLDER", str(tmp_path))
    answer = survey(capsys, code=ExitCode.INPUT)
    assert sorted(answer["anchors"]) == ["a0", "a1"]
    assert [message.partition(":")[0] for message in answer["unusable"]] == ["anchor a2", "anchor a3", "anchor a4"]
    assert "0 common points" in answer["unusable"][0]
    assert "a3.npy: no such depth file" in answer["unusable"][1]


@pytest.mark.parametrize(
    ("more", "code", "fragment"),
    [
        (["--depth", "lidar"], ExitCode.CONFIG, "has no scale to correct"),
        (["--depth", "sonar"], ExitCode.USAGE, "sonar"),
        (["--drive", "third"], ExitCode.INPUT, "no anchor of these has a laser scan"),
    ],
)
def test_wrong_use_is_explained(
    more: list[str], code: int, fragment: str, scene: DepthWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["anchors", "scale", *more]) == code
    assert fragment in " ".join(capsys.readouterr().err.split())


def test_the_page_is_right(scene: DepthWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in block(PAGE, "scale").splitlines():
        command, _, rest = line.partition(" > ")
        assert command.startswith("geocorrect ")
        assert rest
        assert run(command.split()[1:]) == 0
    for name, oracle in (("scale settings", False), ("scale oracle", True)):
        (tmp_path / "geocorrect.toml").write_text(block(PAGE, name))
        scale = load_settings(tmp_path / "geocorrect.toml", {}).settings.depth.scale
        assert (scale.heuristic is not None) is oracle
    for heuristic in ScaleHeuristic:
        assert f"`{heuristic}`" in PAGE
