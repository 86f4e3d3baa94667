"""`geocorrect init --preset thesis`: the configuration of the thesis, key by key; weights named once serve both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from geocorrect.api.anchor_cache import read_anchor
from geocorrect.api.backends import build_neighbour_depth
from geocorrect.cli.app import Preset, write_starter
from geocorrect.config import Settings, load_settings
from geocorrect.depth.calibration.neighbours import NeighbourCache
from geocorrect.errors import ModelError, OutputError
from geocorrect.localize.estimators.options import OpenCvArguments
from geocorrect.match.sift import SiftMatcher
from geocorrect.networks.mast3r.rules import Orders


def test_the_thesis_preset_says_what_the_thesis_did(tmp_path: Path) -> None:
    settings = load_settings(write_starter(tmp_path, Preset.THESIS), {}).settings
    assert settings.retrieve.max_candidates == 1
    match, depth = settings.match, settings.depth
    assert (match.matcher, match.agree_px, match.mast3r.long_side_px) == ("mast3r", 0.0, 512)
    rules = match.mast3r.rules
    assert (rules.orders, rules.subsample_px, rules.border_px) == (Orders.ANCHOR_FIRST, 8, 3)
    assert (rules.min_confidence, rules.fine_long_side_px, rules.coarse_patches) == (0.0, 0, 0)
    assert (match.verify.model, match.verify.px, match.verify.min_inliers) == ("fundamental", 1.0, 200)
    assert (depth.source, depth.calibrate, depth.scale.factor) == ("mast3r", False, 1.0)
    assert (depth.mast3r.pair_with, depth.mast3r.dropped_share, depth.mast3r.keep_all) == ("query", 0.0, True)
    assert settings.localize.estimator == "opencv"
    assert settings.localize.opencv.resolved() == OpenCvArguments("iterative", 100, 8.0, 0.99)
    assert settings.localize.lift.max_edge_ratio == settings.localize.lift.max_depth_m == float("inf")
    assert not settings.sequence.enabled
    with pytest.raises(OutputError, match="exists already"):
        write_starter(tmp_path, Preset.THESIS)


@pytest.mark.parametrize("named", ["match", "depth"])
def test_a_checkpoint_named_once_serves_matching_and_depth(named: str, tmp_path: Path) -> None:
    text = f'[{named}.mast3r]\ncheckpoint = "m.pth"\n[{named}.mickey]\ncheckpoint = "k.ckpt"\nbackbone = "d.pth"'
    (tmp_path / "geocorrect.toml").write_text(text)
    shared = load_settings(tmp_path / "geocorrect.toml", {}).settings.with_shared_checkpoints()
    for section in (shared.match, shared.depth):
        assert section.mast3r.checkpoint == tmp_path / "m.pth"
        assert (section.mickey.checkpoint, section.mickey.backbone) == (tmp_path / "k.ckpt", tmp_path / "d.pth")


def test_calibration_by_neighbours_uses_the_file_that_matching_names(tmp_path: Path) -> None:
    """Else `anchors calibrate` prepares, with other weights, what no run looks for."""
    pytest.importorskip("torch")
    text = '[match.mast3r]\ncheckpoint = "m.pth"\n[depth]\nsource = "mast3r"\ncalibrate = true'
    (tmp_path / "geocorrect.toml").write_text(text)
    settings = load_settings(tmp_path / "geocorrect.toml", {}).settings
    with pytest.raises(ModelError, match=r"m\.pth: no such checkpoint"):
        build_neighbour_depth(settings, SiftMatcher(), NeighbourCache(read_anchor))


def test_two_checkpoints_stay_two() -> None:
    usual = Settings()
    match = replace(usual.match, mast3r=replace(usual.match.mast3r, checkpoint=Path("a.pth")))
    depth = replace(usual.depth, mast3r=replace(usual.depth.mast3r, checkpoint=Path("b.pth")))
    both = usual.model_copy(update={"match": match, "depth": depth}).with_shared_checkpoints()
    assert (both.match.mast3r.checkpoint, both.depth.mast3r.checkpoint) == (Path("a.pth"), Path("b.pth"))
    assert usual.with_shared_checkpoints() == usual
