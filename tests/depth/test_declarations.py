"""What depth sources declare: complete, the same with and without weights, shown to users, stored with runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from support import depth_anything_3_world, mapanything_world, mickey_world, weights_world
from support.mast3r_world import seeded_engine

from geocorrect.__main__ import run
from geocorrect.api.backends import build_depth
from geocorrect.config import Settings, load_settings, with_depth
from geocorrect.depth.base import DepthSource
from geocorrect.depth.mast3r import Mast3rDepth, Mast3rDepthOptions
from geocorrect.depth.options import MEASURED, DepthName
from geocorrect.depth.registry import SOURCES, declare_depth
from geocorrect.depth.scale import ScaleHeuristic, ScaleOptions
from geocorrect.jobs.run_identity import run_record, weights_used
from geocorrect.match.options import MatchSection, StageName
from geocorrect.match.registry import MATCHERS
from geocorrect.networks.cards import CARDS
from geocorrect.networks.mapanything import loading as mapanything_loading
from geocorrect.networks.mickey import loading as mickey_loading

NETWORKS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "depth_anything_v2": ("depth_anything_v2_outdoor_large", weights_world.depth_anything),
    "depth_anything_3": ("depth_anything_3_metric", depth_anything_3_world.write),
    "depth_pro": ("depth_pro", weights_world.depth_pro),
    "zoedepth": ("zoedepth_kitti", weights_world.zoedepth),
}


def settings_for(source: str, folder: Path) -> Settings:
    settings = with_depth(Settings(), source)
    if source in NETWORKS:
        settings = settings.model_copy(update={"models": weights_world.runtime_with(folder, *NETWORKS[source])})
    if source == "files":
        files = replace(settings.depth.files, folder=folder, licence="apple-amlr", name="net-1")
        settings = settings.model_copy(update={"depth": replace(settings.depth, files=files)})
    return settings


def with_section(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"depth": replace(settings.depth, **changes)})


def test_the_names_of_the_configuration_are_those_of_the_registries() -> None:
    assert get_args(DepthName) == tuple(SOURCES)
    assert get_args(StageName) == tuple(MATCHERS)


@pytest.mark.long
@pytest.mark.parametrize("source", sorted(set(get_args(DepthName)) - {"mast3r", "mapanything", "mickey", "pointcloud"}))
def test_a_source_is_what_was_declared_without_its_weights(source: str, tmp_path: Path) -> None:
    settings = settings_for(source, tmp_path)
    built = build_depth(settings)
    assert isinstance(built, DepthSource)
    assert built.declaration == declare_depth(settings.depth)
    assert built.declaration.needs
    assert built.declaration.is_oracle == (source == "lidar")
    if source in NETWORKS:
        assert built.declaration.licence == CARDS[NETWORKS[source][0]].licence
    if source not in MEASURED:
        for changes in (
            {"calibrate": True},
            {"scale": ScaleOptions(factor=0.5, common_log_sigma=0.07)},
            {"scale": ScaleOptions(heuristic=ScaleHeuristic.SIMILARITY), "calibrate": True},
        ):
            changed = with_section(settings, **changes)
            assert build_depth(changed).declaration == declare_depth(changed.depth)


def test_mast3r_is_what_was_declared_without_its_weights() -> None:
    built = Mast3rDepth(seeded_engine(), Mast3rDepthOptions())
    assert isinstance(built, DepthSource)
    assert built.declaration == declare_depth(with_depth(Settings(), "mast3r").depth)
    assert built.declaration.common_log_sigma == CARDS["mast3r"].relative_depth_sigma


def test_mapanything_and_mickey_are_what_was_declared_without_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapanything_loading, "load_engine", lambda *_: mapanything_world.seeded_engine())
    monkeypatch.setattr(mickey_loading, "load_engine", lambda *_: mickey_world.seeded_engine())
    for source, card in (("mapanything", "mapanything_apache"), ("mickey", "mickey")):
        settings = with_depth(Settings(), source)
        built = build_depth(settings)
        assert isinstance(built, DepthSource)
        assert built.declaration.weights == card
        assert repr(built.declaration) == repr(declare_depth(settings.depth))


def test_what_a_scale_and_a_calibration_change() -> None:
    plain = with_depth(Settings(), "depth_pro")
    stated = declare_depth(with_section(plain, scale=ScaleOptions(0.5, 0.07)).depth)
    assert (stated.valid_range_m, stated.common_log_sigma, stated.is_oracle) == ((0.15, 50.0), 0.07, False)
    measured = declare_depth(with_section(plain, scale=ScaleOptions(heuristic=ScaleHeuristic.SIMILARITY)).depth)
    assert measured.is_oracle
    assert "a laser scan of each anchor" in measured.needs
    calibrated = declare_depth(with_section(plain, calibrate=True).depth)
    assert "neighbours of each anchor" in calibrated.needs
    assert np.isnan(calibrated.common_log_sigma)
    assert not calibrated.is_oracle
    for declared in (stated, measured, calibrated):
        assert declared.licence == CARDS["depth_pro"].licence


def test_a_run_is_stored_with_the_licences_that_bind_it(tmp_path: Path) -> None:
    assert weights_used(Settings()) == []
    networks = with_depth(Settings(match=MatchSection(matcher="mast3r")), "depth_anything_v2")
    record = run_record(networks)
    assert record["match"]["matcher"] == "mast3r"
    assert [(use["purpose"], use["name"], use["commercial"]) for use in record["weights"]] == [
        ("matching", "mast3r", False),
        ("depth", "depth_anything_v2_outdoor_large", False),
    ]
    assert record["weights"][1]["licence"] == "CC-BY-NC-4.0"
    assert json.loads(json.dumps(record)) == record
    (maps,) = weights_used(settings_for("files", tmp_path))
    assert (maps["name"], maps["licence"], maps["commercial"]) == ("net-1", "apple-amlr", False)


def test_the_list_shows_every_source_on_a_narrow_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("geocorrect.toml").write_text("[depth.depth_anything_v2]\nsize = 'small'\n")
    assert run(["depth", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in get_args(DepthName))
    assert "neighbours" in shown
    assert run(["depth", "list", "--json"]) == 0
    rows = {row["source"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["depth_anything_v2"]["weights"] == "depth_anything_v2_outdoor_small"
    assert rows["depth_anything_v2"]["licence"] == "Apache-2.0"
    assert (rows["depth_pro"]["valid_range_m"], rows["depth_pro"]["common_log_sigma"]) == ([0.3, 100.0], 0.3)
    assert rows["files"]["valid_range_m"] == [0.0, None]
    settings = load_settings(Path("geocorrect.toml"), {}).settings
    assert declare_depth(with_depth(settings, "depth_anything_v2").depth).weights in rows["depth_anything_v2"]["needs"]
